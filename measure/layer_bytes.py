"""How many bytes the weights of each layer take in an exported file."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from measure.weights import WeightTensor

_NUMBER = re.compile(r"#\d+$")


def owner_of(tensor_name: str, weighted: Collection[str] = ()) -> str:
    """Return the layer that a weight tensor comes from: the first of those it was merged with, named last.

    Args:
        tensor_name: as in the file.
        weighted: names of the layers that have weights, where they are known: a padding that was merged into the
            convolution behind it has none, and is named after it.
    """
    names = _NUMBER.sub("", tensor_name).split(";")
    return next((name for name in reversed(names) if name in weighted), names[-1])


def layer_bytes(tensors: Sequence[WeightTensor], weighted: Collection[str] = ()) -> dict[str, int]:
    """Return layer -> stored bytes of its kernels and biases; a BatchNormalization that was folded has none."""
    found: dict[str, int] = {}
    for tensor in tensors:
        owner = owner_of(tensor.name, weighted)
        found[owner] = found.get(owner, 0) + tensor.stored_bytes
    return found
