"""The table of all runs of a project. Numbers are formatted with thousands separators and still sort as numbers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from intake.fit import Fit
from ui.frames import SizeKind
from ui.wording import METRICS, STATES


def table_frame(frame: pd.DataFrame, size: SizeKind, fit: Fit) -> pd.DataFrame:
    """Return the columns on the page, units in their names, a row per row of `ui.frames.with_changes`."""
    is_share = fit.is_share
    factor = 100 if is_share else 1
    metric = METRICS[fit.metric_name]
    tags = {"Tags": frame["tags"].map(", ".join)} if frame["tags"].map(bool).any() else {}
    return pd.DataFrame(
        {
            "Run": frame["name"],
            "Technique": frame["title"],
            "State": frame["state"].map(lambda state: STATES[state]),
            f"{size.label}, {size.unit}": frame["size"],
            "Size, %": frame["size_change"] * 100,
            f"{metric}, %" if is_share else metric: frame["metric"] * factor,
            "Points" if is_share else f"{metric}, change": frame["metric_change"] * factor,
            "Latency, ms": frame["latency_ms"],
            "Verified": [_verified(row) for row in frame.to_dict("records")],
            "Duration, s": frame["duration_s"],
            **tags,
        }
    )


def _verified(row: dict[str, Any]) -> str:
    if not row["verified_count"]:
        return ""
    mark = "✓" if row["verified_met"] == row["verified_count"] else "✗"
    return f"{mark} {row['verified_met']}/{row['verified_count']}"


def styled(table: pd.DataFrame, size: SizeKind, fit: Fit) -> Any:
    """Return the table with its number formats."""
    metric = METRICS[fit.metric_name]
    formats = {
        f"{size.label}, {size.unit}": "{:,.1f}" if size.is_bytes else "{:,.0f}",
        "Size, %": "{:+,.1f}",
        f"{metric}, %": "{:,.2f}",
        metric: "{:,.4g}",
        "Points": "{:+.2f}",
        f"{metric}, change": "{:+.4g}",
        "Latency, ms": "{:,.3f}",
        "Duration, s": "{:,.1f}",
    }
    return table.style.format({name: form for name, form in formats.items() if name in table}, na_rep="")
