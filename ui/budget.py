"""What a user can afford: so much of the x axis, so much of the metric. Plain data, no Streamlit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from intake.fit import Fit
from ui.formatting import as_text, metric_change, metric_text
from ui.quantities import Quantity
from ui.wording import METRICS

NO_LIMIT = "any"
LOSSES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0)
"""Points of a share, or % of an error."""
_MANTISSAS = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0)


@dataclass(frozen=True)
class Budget:
    """Two limits; None: no limit."""

    x: Quantity
    limit: float | None = None
    """Of the x axis in its unit: at most, or at least where more is better."""
    loss: float | None = None
    """Of the metric against the baseline: points of a share, or % of an error."""

    @property
    def is_set(self) -> bool:
        """True where there is something to keep."""
        return self.limit is not None or self.loss is not None


def limits_between(low: float, high: float) -> list[float]:
    """Return round numbers from just under `low` to `high` or just above it, closer together where they are small."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= 0:
        return []
    first = math.floor(math.log10(low)) if low > 0 else math.floor(math.log10(high)) - 3
    last = math.floor(math.log10(high))
    grid = [float(f"{mantissa}e{power}") for power in range(first, last + 2) for mantissa in _MANTISSAS]
    below = max((value for value in grid if value <= low), default=grid[0])
    above = min(value for value in grid if value >= high)
    return [value for value in grid if below <= value <= above]


def limit_text(x: Quantity, value: float) -> str:
    """Return a limit for people: "30 kB", "1,200 kB"."""
    number = f"{value:,.0f}" if value >= 100 else f"{value:g}"
    return f"{number} {x.unit}".strip()


def limit_of(x: Quantity, text: str) -> float | None:
    """Return the limit that somebody wrote, like `limit_text`; None where it is none of this axis."""
    number = text.removesuffix(x.unit).strip().replace(",", "")
    try:
        value = float(number)
    except ValueError:
        return None
    return value if value > 0 and math.isfinite(value) and limit_text(x, value) == text else None


def loss_text(fit: Fit, value: float) -> str:
    """Return a loss for people: "0.5 points", "5 %"."""
    unit = "%" if not fit.is_share else "point" if value == 1 else "points"
    return f"{value:g} {unit}"


def losses_of(frame: pd.DataFrame, fit: Fit, baseline_metric: float) -> pd.Series:
    """Return how much each run loses, in the unit of the budget; below 0 where it gains, 0 for baselines."""
    lost = -frame["metric_change"] if fit.higher_is_better else frame["metric_change"]
    scale = 1.0 if fit.is_share else abs(baseline_metric) or float("nan")
    return (lost * 100 / scale).mask(frame["is_baseline"], 0.0)


def within(frame: pd.DataFrame, budget: Budget, fit: Fit, baseline_metric: float) -> pd.Series:
    """Return for each row of `ui.frames.with_changes` whether it keeps the budget; False where it was not measured."""
    kept = frame["size"].notna() & frame["metric"].notna()
    if budget.limit is not None:
        kept &= frame["size"] >= budget.limit if budget.x.higher_is_better else frame["size"] <= budget.limit
    if budget.loss is not None:
        kept &= losses_of(frame, fit, baseline_metric) <= budget.loss + 1e-9
    return kept


def best_within(frame: pd.DataFrame, kept: pd.Series, budget: Budget, fit: Fit) -> dict[str, Any] | None:
    """Return the row to take: the best x of those that keep the loss, else the best metric of those that are in reach.

    None where nothing keeps the budget.
    """
    remaining = frame[kept]
    if remaining.empty:
        return None
    by_metric, by_x = ("metric", not fit.higher_is_better), ("size", not budget.x.higher_is_better)
    order = (by_metric, by_x) if budget.loss is None else (by_x, by_metric)
    ordered = remaining.sort_values([name for name, _ in order], ascending=[ascending for _, ascending in order])
    best: dict[str, Any] = ordered.to_dict("records")[0]
    return best


def verdict(frame: pd.DataFrame, kept: pd.Series, budget: Budget, fit: Fit) -> str:
    """Return as Markdown, names escaped, how many runs keep the budget and which of them is best."""
    measured = int(frame["size"].notna().sum())
    asked = " and ".join(_asked(budget, fit))
    best = best_within(frame, kept, budget, fit)
    if best is None:
        return f"No run {asked}: none of {measured:,} remains. Move a slider to the right, or try a stronger recipe."
    if best["is_baseline"]:
        return f"Of {measured:,} runs only the baseline {asked}."
    count = int(kept.sum())
    first = "Highest" if fit.higher_is_better else "Lowest"
    what = f"{first} {METRICS[fit.metric_name].lower()}" if budget.loss is None else f"Best by {budget.x.label}"
    return (
        f"{count:,} of {measured:,} runs {'keep' if count > 1 else 'keeps'} the budget. {as_text(what)}: "
        f"**{as_text(str(best['name']))}** with {as_text(_figures(best, budget, fit))}."
        f"{' Its file does not keep all that its steps promised.' * (best['verified_met'] < best['verified_count'])}"
    )


def _asked(budget: Budget, fit: Fit) -> list[str]:
    texts = []
    if budget.limit is not None:
        bound = "at least" if budget.x.higher_is_better else "at most"
        texts.append(as_text(f"has {bound} {limit_text(budget.x, budget.limit)} ({budget.x.label})"))
    if budget.loss is not None:
        texts.append(f"loses at most {as_text(loss_text(fit, budget.loss))}")
    return texts


def _figures(row: dict[str, Any], budget: Budget, fit: Fit) -> str:
    metric = metric_text(fit.metric_name, row["metric"])
    low, high = (metric_text(fit.metric_name, row[key]) for key in ("metric_low", "metric_high"))
    words = f"{budget.x.text(row[budget.x.field])}, {METRICS[fit.metric_name].lower()} {metric} (95 % interval {low} to {high})"
    if pd.isna(row["metric_change"]):
        return words
    return f"{words}, {metric_change(fit.metric_name, row['metric_change'])} against the baseline"
