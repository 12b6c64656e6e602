"""Per-layer table of an exported file: bytes, zeros, distinct values, dtype of each weight tensor."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from measure.weights import WeightTensor


class TensorRow(BaseModel):
    """One weight tensor of the exported file."""

    model_config = ConfigDict(frozen=True)

    name: str
    shape: tuple[int, ...]
    dtype: str
    stored_bytes: int
    zero_share: float
    """0 to 1."""
    distinct: int


def tensor_rows(tensors: list[WeightTensor]) -> list[TensorRow]:
    """Return a row for each weight tensor, largest first."""
    rows = [
        TensorRow(
            name=tensor.name,
            shape=tuple(int(side) for side in tensor.values.shape),
            dtype=tensor.dtype,
            stored_bytes=tensor.stored_bytes,
            zero_share=tensor.zero_share,
            distinct=tensor.distinct,
        )
        for tensor in tensors
    ]
    return sorted(rows, key=lambda row: -row.stored_bytes)
