"""Time of each operation of a run beside the baseline's, as tables and a figure. Pure; drawn by `ui.run_operations`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from measure.operation_times import OperationTime, OperationTimes
from ui.formatting import as_hover, milliseconds, percent
from ui.palette import COLOURS, NEUTRAL

MOST_BARS = 12
RUN, BASELINE = "This run, ms", "Baseline, ms"


@dataclass(frozen=True)
class Pair:
    """An operation of the run, and that of the baseline that does the same; one of them can be missing."""

    run: OperationTime | None
    baseline: OperationTime | None

    @property
    def either(self) -> OperationTime:
        """The run's, or the baseline's where the run has none."""
        found = self.run or self.baseline
        assert found is not None
        return found

    @property
    def label(self) -> str:
        """For people: "CONV_2D of conv_1"."""
        return f"{self.either.kind} of {self.either.layer}" if self.either.layer else self.either.kind


def pairs(measured: Sequence[OperationTimes]) -> list[Pair]:
    """Return the operations of the run in their order, then those that only the baseline has.

    Two do the same where kind and layer are the same; where a layer has several of a kind, in their order.
    """
    if len(measured) < 2:
        return [Pair(operation, None) for operation in measured[0].operations]
    others = dict(_known(measured[1].operations))
    found = [Pair(operation, others.pop(key, None)) for key, operation in _known(measured[0].operations)]
    return [*found, *(Pair(None, operation) for operation in others.values())]


def _known(operations: Sequence[OperationTime]) -> Iterator[tuple[tuple[str, str, int], OperationTime]]:
    seen: Counter[tuple[str, str]] = Counter()
    for operation in operations:
        key = operation.kind, operation.layer
        yield (*key, seen[key]), operation
        seen[key] += 1


def whole_sentence(times: OperationTimes) -> str:
    """Return how what the operations add up to compares with a call of the whole file."""
    return (
        f"A call of the whole file took {milliseconds(times.call_ms)}. By themselves its {len(times.operations):,} "
        f"operations take {milliseconds(times.sum_ms)} together, {percent(times.sum_ms / times.call_ms, 0)} of that."
    )


def operation_table(measured: Sequence[OperationTimes]) -> pd.DataFrame:
    """Return a row for each operation: kind, layer, ms, share of the run's sum (0 to 1), ms in the baseline."""
    found, whole = pairs(measured), measured[0].sum_ms
    table = pd.DataFrame(
        {
            "Operation": [
                pair.either.kind + (" (with all it repeats)" if pair.either.is_loop else "") for pair in found
            ],
            "Layer": [pair.either.layer for pair in found],
            RUN: [pair.run.median_ms if pair.run else None for pair in found],
            "Share": [pair.run.median_ms / whole if pair.run and whole else None for pair in found],
        }
    )
    if len(measured) > 1:
        table[BASELINE] = [pair.baseline.median_ms if pair.baseline else None for pair in found]
    return table


def kind_table(measured: Sequence[OperationTimes]) -> pd.DataFrame:
    """Return a row for each kind of operation, the one that takes longest first: how many, ms together, share."""
    columns: dict[str, dict[str, float]] = {}
    for name, times in zip((RUN, BASELINE), measured, strict=False):
        counts, sums = Counter(one.kind for one in times.operations), Counter[str]()
        for operation in times.operations:
            sums[operation.kind] += operation.median_ms  # type: ignore[assignment]
        columns["Operations" if name == RUN else "Operations in the baseline"] = dict(counts)
        columns[name] = dict(sums)
        if name == RUN:
            columns["Share"] = {kind: value / times.sum_ms if times.sum_ms else 0 for kind, value in sums.items()}
    table = pd.DataFrame(columns).rename_axis("Kind").sort_values(RUN, ascending=False, na_position="last")
    return table.reset_index()


def largest_figure(measured: Sequence[OperationTimes]) -> go.Figure:
    """Return bars of the operations that take longest in either file, the longest at the top; none that is too short to tell."""
    ranked = sorted(filter(_longest, pairs(measured)), key=_longest, reverse=True)[:MOST_BARS]
    labels = _told_apart([as_hover(pair.label) for pair in ranked])
    figure = go.Figure()
    series = [("This run", COLOURS[0], [pair.run for pair in ranked])]
    if len(measured) > 1:
        series.insert(0, ("Baseline", NEUTRAL, [pair.baseline for pair in ranked]))
    for name, colour, operations in series:
        figure.add_bar(
            y=labels, x=[None if one is None else one.median_ms for one in operations], name=name, orientation="h",
            marker={"color": colour}, hovertemplate="%{y}: %{x:.3g} ms<extra>" + name + "</extra>",
        )  # fmt: skip
    figure.update_layout(
        barmode="group",
        bargap=0.3,
        height=90 + 36 * len(ranked),
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        dragmode=False,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "left", "x": 0, "traceorder": "reversed"},
        showlegend=len(series) > 1,
        xaxis={"title": "Median of a call, ms", "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "automargin": True},
    )
    return figure


def _longest(pair: Pair) -> float:
    return max(one.median_ms for one in (pair.run, pair.baseline) if one is not None)


def _told_apart(labels: list[str]) -> list[str]:
    """Bars of the same label would be drawn as one."""
    seen: Counter[str] = Counter()
    found = []
    for label in labels:
        seen[label] += 1
        found.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return found


def layer_shares(times: OperationTimes) -> dict[str, float]:
    """Return layer -> share (0 to 1) of what all operations take together; layers without an operation are left out."""
    found: dict[str, float] = {}
    for operation in times.operations:
        if operation.layer and times.sum_ms:
            found[operation.layer] = found.get(operation.layer, 0.0) + operation.median_ms / times.sum_ms
    return found
