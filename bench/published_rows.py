"""The rows of the published tables, ours beside theirs: means over the seeds, as printed and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.table import markdown_table


@dataclass(frozen=True)
class PublishedRow:
    """One recipe: means over the seeds, spreads as standard deviations."""

    network: str
    recipe: str
    theirs: str
    seeds: int
    tflite_bytes: int
    smallest_download: str
    """Which of the downloads is the smallest, most often."""
    download_bytes: int
    entropy_floor_bytes: int
    measure: str
    """Which file `times` is about: "gzip", ".tflite" or "smallest download"."""
    times: float
    """How many times smaller than the baseline."""
    times_spread: float
    baseline_accuracy: float
    accuracy: float
    accuracy_spread: float
    loss: float
    """Percentage points."""
    loss_spread: float
    seconds: float
    target: str
    ok: str
    """ "yes" or "no"."""


HEADINGS = (
    "recipe", "theirs", "target", "times smaller", ".tflite", "smallest download", "entropy floor", "baseline",
    "accuracy", "loss in points", "s", "met",
)  # fmt: skip


def published_tables(rows: Sequence[PublishedRow], heading: str = "###") -> str:
    """Return a Markdown table for each network under a heading of its own, and how many targets were met."""
    parts = [
        f"{heading} {network}\n\n{markdown_table(HEADINGS, [_cells(row) for row in rows if row.network == network])}"
        for network in dict.fromkeys(row.network for row in rows)
    ]
    met = f"{sum(row.ok == 'yes' for row in rows)} of {len(rows)} targets met."
    return "\n\n".join([*parts, f"{met} {_duration(rows)}".strip()])


def _duration(rows: Sequence[PublishedRow]) -> str:
    """How long the runs took together, without the training of the networks that they start from."""
    if not rows:
        return ""
    once, minutes = sum(row.seconds for row in rows), sum(row.seconds * row.seeds for row in rows) / 60
    return f"The runs of these rows take {once:,.0f} s for one seed, {minutes:.0f} minutes for all."


def _cells(row: PublishedRow) -> list[str]:
    return [
        f"`{row.recipe}`",
        row.theirs,
        row.target,
        f"**{row.times:.1f}** ± {row.times_spread:.1f}",
        f"{row.tflite_bytes:,}",
        f"{row.download_bytes:,} ({row.smallest_download})",
        f"{row.entropy_floor_bytes:,}",
        f"{row.baseline_accuracy:.2%}",
        f"{row.accuracy:.2%} ± {row.accuracy_spread:.2%}",
        f"{row.loss:+.2f} ± {row.loss_spread:.2f}",
        f"{row.seconds:.0f}",
        row.ok,
    ]
