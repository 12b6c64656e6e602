"""The rows that every measurement gives, printed and written in one way."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

R = TypeVar("R")


@dataclass(frozen=True)
class Row:
    """One run beside the baseline of its project."""

    pair: str
    """Which model and dataset."""
    technique: str
    seed: int
    tflite_bytes: int
    gzip_bytes: int
    tflite_times: float
    """How many times smaller than the baseline's .tflite."""
    gzip_times: float
    """The same of the two in gzip."""
    metric: str
    value: float
    loss: float
    """Percentage points of accuracy lost; for errors, per cent by which the error grew."""
    verified: str
    """Claims met on the exported file, of all: "4/4"."""
    seconds: float
    target: str = ""
    ok: str = ""
    """ "yes" or "no" where there is a target."""


HEADINGS = ("technique", ".tflite", "gzip", ".tflite ÷", "gzip ÷", "metric", "loss", "verified", "s", "target", "ok")
SUMMARY_HEADINGS = ("technique", ".tflite ÷", "gzip ÷", "metric", "loss", "target", "ok")


def table_of(rows: Sequence[Row]) -> str:
    """Return a Markdown table for each pair and seed, and mean and spread where there is more than one seed."""
    parts = []
    for pair in dict.fromkeys(row.pair for row in rows):
        of_pair = [row for row in rows if row.pair == pair]
        for seed in dict.fromkeys(row.seed for row in of_pair):
            table = markdown_table(HEADINGS, [_cells(row) for row in of_pair if row.seed == seed])
            parts.append(f"{pair}, seed {seed}\n\n{table}")
        if (seeds := len({row.seed for row in of_pair})) > 1:
            table = markdown_table(SUMMARY_HEADINGS, _summary_cells(of_pair))
            parts.append(f"{pair}, mean ± standard deviation over {seeds} seeds\n\n{table}")
    judged = [row for row in rows if row.ok]
    parts.append(f"{sum(row.ok == 'yes' for row in judged)} of {len(judged)} targets met.")
    return "\n\n".join(parts)


def write_rows(rows: Sequence[Any], path: Path) -> None:
    """Write instances of one dataclass as CSV, with one header line."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(rows[0])] if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    print(f"\n{len(rows)} rows in {path}")


def read_rows(kind: type[R], path: Path) -> list[R]:
    """Return what `write_rows` wrote, as instances of that dataclass."""
    with path.open(newline="", encoding="utf-8") as file:
        return [TypeAdapter(kind).validate_python(line) for line in csv.DictReader(file)]


def _cells(row: Row) -> list[str]:
    return [
        row.technique,
        f"{row.tflite_bytes:,}",
        f"{row.gzip_bytes:,}",
        f"{row.tflite_times:.2f}",
        f"{row.gzip_times:.2f}",
        _metric(row.metric, row.value),
        f"{row.loss:+.2f}",
        row.verified,
        f"{row.seconds:.0f}",
        row.target,
        row.ok,
    ]


def _metric(name: str, value: float) -> str:
    return f"{value:.2%}" if name == "accuracy" else f"{name} {value:.4g}"


def _summary_cells(rows: Sequence[Row]) -> list[list[str]]:
    cells = []
    for technique in dict.fromkeys(row.technique for row in rows):
        same = [row for row in rows if row.technique == technique]
        scale = 100 if same[0].metric == "accuracy" else 1
        met = sum(row.ok == "yes" for row in same)
        cells.append(
            [
                technique,
                _spread([row.tflite_times for row in same]),
                _spread([row.gzip_times for row in same]),
                _spread([row.value * scale for row in same]),
                _spread([row.loss for row in same]),
                same[0].target,
                f"{met} of {len(same)}" if same[0].ok else "",
            ]
        )
    return cells


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with its columns aligned."""
    widths = [max(len(line[i]) for line in [headings, *rows]) for i in range(len(headings))]
    lines = [headings, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
