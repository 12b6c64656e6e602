"""Budgets: what keeps them, which run to take, and the sentence that says so. No server, no TensorFlow."""

from __future__ import annotations

import pandas as pd
import pytest

from runs.records import RunRecord
from tests.test_charts import ACCURACY, ERROR, a_recipe, result, run_of
from ui.budget import LOSSES, Budget, best_within, limit_of, limit_text, limits_between, loss_text, verdict, within
from ui.charts import Axes, tradeoff_figure
from ui.frames import baseline_of, runs_frame, with_changes
from ui.quantities import OTHERS, SIZES, Quantity, metric_of

TFLITE = SIZES[0]
SPARSITY = next(quantity for quantity in OTHERS if quantity.field == "sparsity")


@pytest.fixture
def runs() -> list[RunRecord]:
    """A baseline of 100 kB and 98 %, and three smaller runs that lose 0.5, 3 and 8 points."""
    return [
        run_of("Baseline", None, result(0.98, 100_000)),
        run_of("close", a_recipe(), result(0.975, 50_000)),
        run_of("middle", a_recipe(), result(0.95, 30_000)),
        run_of("*tiny*", a_recipe(), result(0.90, 20_000)),
        run_of("waiting", a_recipe()),
    ]


def frame_of(runs: list[RunRecord], x: Quantity = TFLITE) -> pd.DataFrame:
    baseline = baseline_of(runs)
    return with_changes(runs_frame(runs), x, baseline.result if baseline else None)


def names_within(runs: list[RunRecord], budget: Budget) -> list[str]:
    frame = frame_of(runs, budget.x)
    return list(frame[within(frame, budget, ACCURACY, 0.98)]["name"])


def test_a_limit_keeps_what_is_at_most_as_large(runs: list[RunRecord]) -> None:
    assert names_within(runs, Budget(TFLITE, 30.0)) == ["middle", "*tiny*"]


def test_a_loss_is_counted_in_points_and_the_limit_itself_is_kept(runs: list[RunRecord]) -> None:
    assert names_within(runs, Budget(TFLITE, None, 0.5)) == ["Baseline", "close"]
    assert names_within(runs, Budget(TFLITE, None, 0.4)) == ["Baseline"]


def test_a_loss_of_an_error_is_relative(runs: list[RunRecord]) -> None:
    errors = [run_of("Baseline", None, result(2.0, 9)), run_of("worse", a_recipe(), result(2.1, 8))]
    frame = frame_of(errors)
    assert list(within(frame, Budget(TFLITE, None, 5.0), ERROR, 2.0)) == [True, True]
    assert list(within(frame, Budget(TFLITE, None, 4.0), ERROR, 2.0)) == [True, False]


def test_where_more_is_better_the_limit_is_a_least(runs: list[RunRecord]) -> None:
    sparse = run_of("sparse", a_recipe(), result(0.97, 9, nonzero_parameters=200))
    assert names_within([*runs, sparse], Budget(SPARSITY, 50.0)) == ["sparse"]


def test_best_is_the_most_accurate_in_reach_or_the_smallest_that_keeps_the_loss(runs: list[RunRecord]) -> None:
    frame = frame_of(runs)
    found = []
    for budget in (Budget(TFLITE, 30.0), Budget(TFLITE, None, 3.0), Budget(TFLITE, 60.0, 10.0)):
        best = best_within(frame, within(frame, budget, ACCURACY, 0.98), budget, ACCURACY)
        found.append(best["name"] if best else None)
    assert found == ["middle", "middle", "*tiny*"]


def test_verdict_names_the_run_as_text_with_its_figures(runs: list[RunRecord]) -> None:
    frame, budget = frame_of(runs), Budget(TFLITE, 20.0)
    said = verdict(frame, within(frame, budget, ACCURACY, 0.98), budget, ACCURACY)
    assert r"**\*tiny\***" in said
    assert r"20\.0 kB" in said
    assert r"\-8\.00 points" in said
    assert said.startswith("1 of 4 runs keeps")


def test_verdict_says_where_nothing_or_only_the_baseline_remains(runs: list[RunRecord]) -> None:
    frame = frame_of(runs)
    nothing, baseline = Budget(TFLITE, 10.0), Budget(TFLITE, None, 0.0)
    assert "none of 4 remains" in verdict(frame, within(frame, nothing, ACCURACY, 0.98), nothing, ACCURACY)
    assert "only the baseline" in verdict(frame, within(frame, baseline, ACCURACY, 0.98), baseline, ACCURACY)


def test_what_misses_the_budget_is_grey_and_no_longer_in_the_front(runs: list[RunRecord]) -> None:
    frame = frame_of(runs)
    kept = within(frame, Budget(TFLITE, None, 5.0), ACCURACY, 0.98)
    figure = tradeoff_figure(frame, Axes(TFLITE, metric_of(ACCURACY)), ACCURACY, kept=kept)
    traces = {trace.name: trace for trace in figure.data}
    assert [ids[0] for ids in traces["Misses the budget"].customdata] == ["id-*tiny*"]
    assert list(traces["Pareto front"].x) == [30.0, 50.0, 100.0]
    assert "id-*tiny*" not in {ids[0] for ids in traces[a_recipe().title].customdata}


def test_beaten_points_are_fainter(runs: list[RunRecord]) -> None:
    beaten = run_of("beaten", a_recipe(), result(0.89, 60_000))
    figure = tradeoff_figure(frame_of([*runs, beaten]), Axes(TFLITE, metric_of(ACCURACY)), ACCURACY)
    trace = next(trace for trace in figure.data if trace.name == a_recipe().title)
    opacity = {ids[0]: value for ids, value in zip(trace.customdata, trace.marker.opacity, strict=True)}
    assert opacity["id-beaten"] < opacity["id-close"] == 1.0


@pytest.mark.parametrize(("low", "high"), [(3.3, 97.1), (0.004, 0.9), (0, 80), (85, 85), (12_345, 9_876_543)])
def test_limits_are_round_and_reach_from_the_least_to_the_most(low: float, high: float) -> None:
    limits = limits_between(low, high)
    assert limits == sorted(set(limits))
    assert limits[0] <= max(low, high / 1000)
    assert limits[-1] >= high
    assert len({limit_text(TFLITE, limit) for limit in limits}) == len(limits)


@pytest.mark.parametrize("text", ["7 bananas", "", "kB", "-3 kB", "inf kB", "nan kB", "3 ms", "1e3 kB"])
def test_what_is_no_limit_of_the_axis_is_none(text: str) -> None:
    assert limit_of(TFLITE, "1,200 kB") == 1200
    assert limit_of(TFLITE, text) is None


def test_there_are_no_limits_of_nothing() -> None:
    assert limits_between(float("nan"), float("nan")) == []
    assert limits_between(0, 0) == []


def test_limits_and_losses_are_told_apart() -> None:
    assert (limit_text(TFLITE, 1200), limit_text(SPARSITY, 0.5)) == ("1,200 kB", "0.5 %")
    assert [loss_text(ACCURACY, 0.5), loss_text(ACCURACY, 1), loss_text(ERROR, 5)] == ["0.5 points", "1 point", "5 %"]
    assert len({loss_text(ACCURACY, loss) for loss in LOSSES}) == len(LOSSES)
