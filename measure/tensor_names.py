"""Short names for the tensors of a `.tflite` file: the layers they come from, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from measure.flatbuffer import can_be_packed, packed, unpacked
from measure.weights import buffer_bytes

_NUMBER = re.compile(r"#\d+$")
"""What tells tensors of the same layers apart."""


def with_short_names(tflite: bytes, model: Any, *, is_final: bool) -> bytes:
    """Return the file with each tensor named after the layers it comes from: "conv", "relu;bn;conv", "relu#1".

    The converter names a tensor after every graph node that went into it
    ("model/relu/Relu;model/bn/FusedBatchNormV3;model/conv/Conv2D"), which is 7 % of a small network's 4-bit file
    and tells nothing that the layers do not. Inputs, outputs and what comes from no layer keep their names.

    Args:
        tflite: what `model` became, from the converter or from LiteRT's quantizer.
        model: tf_keras model, wrappers of quantization-aware training included.
        is_final: name all but kernels after one layer only. Not for a float32 file, whose quantizer must find every
            layer of an operation.
    """
    content = unpacked(tflite)
    if not can_be_packed(content):
        return tflite
    layers = _Layers(model)
    ends = [{int(index) for index in (*graph.inputs, *graph.outputs)} for graph in content.subgraphs]
    graphs = list(zip(content.subgraphs, ends, strict=True))
    # unique in the whole file, loops included: the quantizer finds a tensor by its name alone
    taken = {graph.tensors[index].name.decode() for graph, own in graphs for index in own}
    for graph, own in graphs:
        for index, tensor in enumerate(graph.tensors):
            if index not in own:
                names = layers.of(tensor.name.decode())
                is_computed = not len(buffer_bytes(tflite, content.buffers[tensor.buffer]))
                shown = _final(names, tensor, is_computed) if is_final else names
                tensor.name = _unused(";".join(shown), taken).encode()
    return packed(content)


def _final(names: Sequence[str], tensor: Any, is_computed: bool) -> Sequence[str]:
    """Of names with the last layer first: what is computed has the last one's, a bias that of its kernel, the first."""
    if is_computed:
        return names[:1]
    return names[-1:] if tensor.shape is not None and len(tensor.shape) == 1 else names


class _Layers:
    """The layers of a model, as the names of the file's tensors have them."""

    def __init__(self, model: Any) -> None:
        wrapped = {layer.name: layer.layer.name for layer in model.layers if hasattr(layer, "quantize_config")}
        self._shown = {layer.name: wrapped.get(layer.name, layer.name) for layer in model.layers}
        self._root = f"{model.name}/"

    def of(self, name: str) -> Sequence[str]:
        """Return the layers of a tensor, the last one first; its name without numbers where it comes from none."""
        plain = _NUMBER.sub("", name)
        found = dict.fromkeys(layer for part in plain.split(";") if (layer := self._of_part(part)))
        return list(found) or [plain]

    def _of_part(self, part: str) -> str:
        words = part.removeprefix(self._root).split("/")
        for end in range(len(words), 0, -1):  # a layer's own name may have a slash
            if (candidate := "/".join(words[:end])) in self._shown:
                return self._shown[candidate]
        return ""


def _unused(name: str, taken: set[str]) -> str:
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}#{number}"
    taken.add(candidate)
    return candidate
