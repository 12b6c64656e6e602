"""How many bytes the weights of each layer take in an exported file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from measure.weights import WeightTensor

_NUMBER = re.compile(r"#\d+$")


def owner_of(tensor_name: str) -> str:
    """Return the layer that a weight tensor comes from: the first of those it was merged with, named last."""
    return _NUMBER.sub("", tensor_name).split(";")[-1]


def layer_bytes(tensors: Sequence[WeightTensor]) -> dict[str, int]:
    """Return layer -> stored bytes of its kernels and biases; a BatchNormalization that was folded has none."""
    found: dict[str, int] = {}
    for tensor in tensors:
        owner = owner_of(tensor.name)
        found[owner] = found.get(owner, 0) + tensor.stored_bytes
    return found
