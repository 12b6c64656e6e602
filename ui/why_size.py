"""Why a file is not smaller than it is, in sentences made from its own figures. No Streamlit."""

from __future__ import annotations

from collections.abc import Sequence

from measure.layer_bytes import owner_of
from measure.layers import TensorRow
from runs.layer_outcomes import LayerOutcome
from runs.records import Result
from runs.report import RunReport
from ui.formatting import as_text, kilobytes, percent

STANDS_STILL = 0.03
"""A size that changed by less than this share is said to have not moved."""
_BYTES = {
    "float32": "four bytes",
    "float16": "two bytes",
    "int16": "two bytes",
    "int8": "one byte",
    "int4": "half a byte",
}
_ZEROS = 0.1
_FEW_VALUES = 256
_LARGE_SHARE = 0.3
_HARDLY_PACKED = 0.85


def size_reasons(result: Result, baseline: Result, report: RunReport | None) -> list[str]:
    """Return why the file has the size it has, the most important first; no Markdown in it.

    Args:
        result: of the run.
        baseline: that it is compared with.
        report: of the run; None where it left none.
    """
    tensors = report.tensors if report else ()
    said = [_raw(result, baseline, _main_dtype(tensors))]
    if tensors:
        said += [
            _left_in_float(result, tensors, report.layers if report else ()),
            _one_tensor(result, tensors),
            _not_weights(result, tensors),
        ]
    said.append(_packed(result, baseline))
    return [sentence for sentence in said if sentence]


def _main_dtype(tensors: Sequence[TensorRow]) -> str:
    """Type of most of the bytes; float32 where there is no table."""
    totals: dict[str, int] = {}
    for row in tensors:
        totals[row.dtype] = totals.get(row.dtype, 0) + row.stored_bytes
    return max(totals, key=lambda dtype: totals[dtype], default="float32")


def _raw(result: Result, baseline: Result, dtype: str) -> str:
    change = result.tflite_bytes / baseline.tflite_bytes - 1
    if change <= -STANDS_STILL:
        return ""
    why = _alike(result, dtype)
    head = (
        "The raw .tflite did not shrink" if change < STANDS_STILL else f"The raw .tflite grew by {percent(change, 1)}"
    )
    packed = _times(result.gzip_bytes, baseline.gzip_bytes)
    if not why:
        return f"{head}: its weights have as many different values as before, and each is stored as {dtype}."
    said = [f"{head}: {why}."]
    if packed:
        said.append(f"In gzip it is {packed} than the baseline.")
    if dtype == "float32":
        said.append("A step after it that stores weights in fewer bits shrinks the raw file too.")
    return " ".join(said)


def _alike(result: Result, dtype: str) -> str:
    zeros = 1 - result.nonzero_parameters / result.parameters if result.parameters else 0.0
    each = _BYTES.get(dtype, "as many bytes as any")
    if zeros >= _ZEROS:
        return f"{percent(zeros, 1)} of its weights are zero, but a zero takes {each}, as every weight does"
    if result.distinct_weights <= _FEW_VALUES:
        return (
            f"no kernel has more than {result.distinct_weights:,} different values, but each weight still takes {each}"
        )
    return ""


def _times(new: int, old: int) -> str:
    """ "3.3 times smaller", or "" where that is not so."""
    return f"{old / new:.1f} times smaller" if new and old / new >= 1.05 else ""


def _left_in_float(result: Result, tensors: Sequence[TensorRow], layers: Sequence[LayerOutcome]) -> str:
    floats = sum(row.stored_bytes for row in tensors if row.dtype == "float32")
    share = floats / result.tflite_bytes
    if share < _LARGE_SHARE or _main_dtype(tensors) == "float32" == _only_dtype(tensors):
        return ""
    said = f"{percent(share, 0)} of the file is weights that were left in float32."
    left = [layer for layer in layers if layer.dtype == "float32" and layer.bytes_after]
    if left:
        most = max(left, key=lambda layer: layer.bytes_after or 0)
        of_file = (most.bytes_after or 0) / result.tflite_bytes
        said += f" {percent(of_file, 0)} is the layer {most.layer}: {_reason(most)}"
    return said


def _only_dtype(tensors: Sequence[TensorRow]) -> str:
    """The type of all kernels; "" where they have several."""
    found = {row.dtype for row in tensors if len(row.shape) > 1}
    return found.pop() if len(found) == 1 else ""


def _reason(layer: LayerOutcome) -> str:
    last = layer.treatments[-1]
    return f"{last.reason} {last.fix}".strip()


def _one_tensor(result: Result, tensors: Sequence[TensorRow]) -> str:
    largest = max(tensors, key=lambda row: row.stored_bytes)
    share = largest.stored_bytes / result.tflite_bytes
    if share < _LARGE_SHARE or len(tensors) == 1:
        return ""
    return (
        f"{percent(share, 0)} of the file is one kernel, that of {owner_of(largest.name)} ({largest.dtype}, {kilobytes(largest.stored_bytes)}): "
        "what is gained there counts most."
    )


def _not_weights(result: Result, tensors: Sequence[TensorRow]) -> str:
    rest = result.tflite_bytes - sum(row.stored_bytes for row in tensors)
    share = rest / result.tflite_bytes
    if share < _LARGE_SHARE:
        return ""
    return (
        f"{percent(share, 0)} of the file ({kilobytes(rest)}) is not weights: it says how layers are joined, with names and "
        "scales, and no technique shrinks it."
    )


def _packed(result: Result, baseline: Result) -> str:
    if result.gzip_bytes < _HARDLY_PACKED * result.tflite_bytes or result.tflite_bytes >= baseline.tflite_bytes:
        return ""
    saved = 1 - result.gzip_bytes / result.tflite_bytes
    return (
        f"gzip takes off only {percent(max(0.0, saved), 0)} more: it finds repetitions, and weights that are neither zero nor "
        "of few values have none."
    )


def as_markdown(sentences: Sequence[str]) -> str:
    """Return the answer with its question, safe to show."""
    return f"**Why is it not smaller?** {as_text(' '.join(sentences))}"
