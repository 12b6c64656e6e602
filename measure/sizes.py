"""How big a file is, in the several ways that matter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from measure.packed_files import PACKINGS, gzip_packed
from measure.weights import WeightTensor


class Sizes(BaseModel):
    """Sizes of one exported model. All of files on disk except the entropy floor."""

    model_config = ConfigDict(frozen=True)

    tflite_bytes: int
    gzip_bytes: int
    """The `.tflite` in gzip, level 9."""
    zstd_bytes: int | None = None
    """The `.tflite` in zstd; None where a run is older than this figure."""
    xz_bytes: int | None = None
    """The `.tflite` in xz; None where the file is too large for it, or the run older than this figure."""
    compact_bytes: int | None = None
    """The `.tflite` as compact file; None as for xz."""
    uploaded_format_bytes: int
    """The model in the format that was uploaded, wrappers stripped, without optimizer state."""
    uploaded_format_gzip_bytes: int
    entropy_floor_bytes: int
    """Sum over weight tensors of n * H(w) / 8: no coder that takes each weight by itself can go below it.

    Leaves out which values a tensor has, and all of the file that is not weights. A coder that looks at neighbours, as
    the compact file does, can go below.
    """
    parameters: int
    """Weights in the `.tflite` (BatchNormalization is folded away there, so it can be less than Keras counts)."""
    nonzero_parameters: int
    distinct_weights: int
    """Largest number of different values in any one weight tensor of two or more dimensions."""


def gzip_bytes(content: bytes) -> int:
    """Return the length of the content in gzip, level 9, without a file name or time stamp."""
    return len(gzip_packed(content))


def measure_sizes(
    tflite: bytes, packed: Mapping[str, bytes], tensors: list[WeightTensor], uploaded_format: Path
) -> Sizes:
    """Return all sizes of a `.tflite` and of the model in the uploaded format.

    Args:
        tflite: content of the file.
        packed: the same as `measure.packed_files.packed_files` packs it.
        tensors: its weights.
        uploaded_format: file of the model in the uploaded format.
    """
    uploaded = uploaded_format.read_bytes()
    kernels = [tensor for tensor in tensors if tensor.values.ndim >= 2] or tensors
    return Sizes(
        tflite_bytes=len(tflite),
        **{entry.field: len(packed[entry.file_name]) for entry in PACKINGS if entry.file_name in packed},
        uploaded_format_bytes=len(uploaded),
        uploaded_format_gzip_bytes=gzip_bytes(uploaded),
        entropy_floor_bytes=math.ceil(sum(tensor.entropy_bits for tensor in tensors) / 8),
        parameters=sum(tensor.size for tensor in tensors),
        nonzero_parameters=sum(tensor.nonzero for tensor in tensors),
        distinct_weights=max((tensor.distinct for tensor in kernels), default=0),
    )
