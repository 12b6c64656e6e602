"""Run records to table to figure: fronts, changes, what users typed. No server, no TensorFlow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from intake.fit import Fit
from optimizers import TECHNIQUES
from optimizers.recipe import Recipe
from runs.records import Result, RunRecord
from ui.charts import Axes, curve_figures, hover_cards, tradeoff_figure
from ui.formatting import as_text, change_percent, kilobytes, metric_change, seconds, sentences, shape_text
from ui.frames import (
    baseline_of,
    best_run,
    changed_settings,
    curve_tables,
    pareto_front,
    runs_frame,
    with_changes,
)
from ui.palette import look_of
from ui.quantities import SIZES, metric_of
from ui.run_table import column_choices, csv_text, table_frame, usual_columns

ACCURACY = Fit(task="classification", loss="sparse_categorical_crossentropy", metric_name="accuracy")
ERROR = Fit(task="regression", loss="mean_squared_error", metric_name="mae")
AXES = Axes(SIZES[0], metric_of(ACCURACY))


def result(metric: float, size_bytes: int, **changed: Any) -> Result:
    """A measured outcome with an interval of one hundredth to each side."""
    values: dict[str, Any] = {
        **dict.fromkeys(("gzip_bytes", "uploaded_format_gzip_bytes", "entropy_floor_bytes"), size_bytes // 2),
        **{"tflite_bytes": size_bytes, "uploaded_format_bytes": size_bytes + 500},
        **{"parameters": 1000, "nonzero_parameters": 900, "distinct_weights": 800},
        **{"metric_name": "accuracy", "metric": metric, "metric_low": metric - 0.01, "metric_high": metric + 0.01},
        **{"keras_metric": metric, "latency_ms": 0.5, "test_samples": 360, "duration_s": 9.0, "training_s": 4.0},
    }
    return Result(**{**values, **changed})


def run_of(name: str, recipe: Recipe | None = None, measured: Result | None = None, **changed: Any) -> RunRecord:
    """A run, finished where it was measured; without a recipe it is a baseline."""
    values: dict[str, Any] = {
        **{"run_id": f"id-{name}", "project_id": "1", "name": name, "recipe": recipe or Recipe()},
        **{"is_baseline": recipe is None, "state": "finished" if measured else "queued"},
        **{"created_at": datetime(2026, 1, 1, tzinfo=UTC), "result": measured},
    }
    return RunRecord(**{**values, **changed})


def a_recipe(**params: Any) -> Recipe:
    """The last technique of the registry: it trains nothing."""
    return Recipe.single(TECHNIQUES[-1].name, params)


@pytest.fixture
def runs() -> list[RunRecord]:
    """A baseline, a smaller run, a smallest but worse run, one that is beaten by both, one still queued."""
    return [
        run_of("Baseline", None, result(0.98, 100_000)),
        run_of("small", a_recipe(), result(0.975, 30_000)),
        run_of("tiny", a_recipe(), result(0.90, 20_000)),
        run_of("beaten", a_recipe(), result(0.89, 40_000)),
        run_of("waiting", a_recipe()),
    ]


def frame_of(runs: list[RunRecord]) -> pd.DataFrame:
    baseline = baseline_of(runs)
    return with_changes(runs_frame(runs), SIZES[0], baseline.result if baseline else None)


def test_front_holds_what_nothing_beats_smallest_first(runs: list[RunRecord]) -> None:
    assert pareto_front(frame_of(runs), "tflite_bytes", True) == ["id-tiny", "id-small", "id-Baseline"]


def test_front_where_lower_is_better(runs: list[RunRecord]) -> None:
    assert pareto_front(frame_of(runs), "tflite_bytes", False) == ["id-tiny", "id-beaten"]


def test_front_of_equal_runs_is_one_of_them() -> None:
    twins = [run_of(name, a_recipe(), result(0.9, 10_000)) for name in ("first", "second")]
    assert pareto_front(runs_frame(twins), "tflite_bytes", True) == ["id-first"]


def test_front_of_nothing_is_empty() -> None:
    assert pareto_front(runs_frame([]), "tflite_bytes", True) == []


def test_changes_are_against_the_newest_baseline(runs: list[RunRecord]) -> None:
    again = run_of("again", None, result(0.97, 50_000))
    row = frame_of([*runs, again]).set_index("name").loc["small"]
    assert row["size_change"] == pytest.approx(-0.4)
    assert row["metric_change"] == pytest.approx(0.005)
    assert row["size"] == pytest.approx(30.0)


def test_without_a_baseline_there_are_no_changes(runs: list[RunRecord]) -> None:
    frame = frame_of(runs[1:])
    assert frame["size_change"].isna().all()
    assert frame["metric_change"].isna().all()


def test_unmeasured_runs_stand_in_the_table_but_not_in_the_chart(runs: list[RunRecord]) -> None:
    frame = frame_of(runs)
    figure = tradeoff_figure(frame, AXES, ACCURACY)
    drawn = {str(ids[0]) for trace in figure.data if trace.customdata is not None for ids in trace.customdata}
    assert "waiting" in list(table_frame(frame, usual_columns(ACCURACY), ACCURACY, runs[0].result)["Run"])
    assert drawn == {"id-Baseline", "id-small", "id-tiny", "id-beaten"}


def test_accuracy_is_drawn_in_percent_and_errors_upside_down(runs: list[RunRecord]) -> None:
    in_percent = tradeoff_figure(frame_of(runs), AXES, ACCURACY)
    upside_down = tradeoff_figure(frame_of(runs), Axes(SIZES[0], metric_of(ERROR)), ERROR)
    assert max(in_percent.data[-1].y) > 1
    assert upside_down.layout.yaxis.autorange == "reversed"
    assert max(upside_down.data[-1].y) < 1


def test_selected_run_is_ringed_and_still_carries_its_id(runs: list[RunRecord]) -> None:
    ring = tradeoff_figure(frame_of(runs), AXES, ACCURACY, selected=["id-tiny"]).data[-1]
    assert ring.marker.symbol == "circle-open"
    assert ring.customdata[0][0] == "id-tiny"


def test_hover_card_shows_typed_markup_as_text() -> None:
    frame = frame_of([run_of("<b>x</b><a href='http://a'>y", a_recipe(), result(0.9, 10_000))])
    card = hover_cards(frame, AXES, ACCURACY)[0]
    assert "&lt;b&gt;x&lt;/b&gt;" in card
    assert "<a" not in card


def test_hover_card_names_what_is_not_at_its_default() -> None:
    entry = TECHNIQUES[0]
    recipe = Recipe.single(entry.name, {}, {"epochs": 7} if entry.fine_tuning else None)
    assert changed_settings(recipe) == ["epochs 7"]
    frame = frame_of([run_of("x", recipe, result(0.9, 10_000))])
    assert "epochs 7" in hover_cards(frame, AXES, ACCURACY)[0]


def test_hover_card_has_figures_and_changes_against_the_baseline(runs: list[RunRecord]) -> None:
    cards = dict(zip(frame_of(runs)["name"], hover_cards(frame_of(runs), AXES, ACCURACY), strict=True))
    for part in ("Accuracy 90.00 % (89.00 % to 91.00 %)", ".tflite: 20.0 kB", "-8.00 points", "-80.0 % .tflite"):
        assert part in cards["tiny"]
    assert "Against" not in cards["Baseline"]


def test_rows_follow_the_record(runs: list[RunRecord]) -> None:
    assert list(runs_frame(runs)["name"]) == list(runs_frame(runs)["name"])
    renamed = runs[1].model_copy(update={"name": "other"})
    row = runs_frame([renamed]).iloc[0]
    assert row["name"] == "other"
    assert "<b>other</b>" in row["card"]


def test_best_run_is_the_smallest_that_loses_nothing_beyond_noise(runs: list[RunRecord]) -> None:
    best = best_run(runs, ACCURACY)
    assert best is not None
    assert best.name == "small"
    assert best_run(runs[1:], ACCURACY) is None


def test_csv_has_every_run_and_no_formulas(runs: list[RunRecord]) -> None:
    named = [*runs, run_of("=HYPERLINK(1)", a_recipe())]
    text = csv_text(table_frame(frame_of(named), usual_columns(ACCURACY), ACCURACY, runs[0].result))
    assert text.count("\n") == len(named) + 1
    assert "'=HYPERLINK(1)" in text


def test_every_size_can_be_drawn_and_formatted(runs: list[RunRecord]) -> None:
    baseline = runs[0].result
    for kind in SIZES:
        frame = with_changes(runs_frame(runs), kind, baseline)
        axes = Axes(kind, metric_of(ACCURACY), log_x=True)
        assert tradeoff_figure(frame, axes, ACCURACY).layout.xaxis.type == "log"
        table = table_frame(frame, [kind.label], ACCURACY, baseline)
        assert list(table.columns) == ["Run", kind.heading, f"{kind.label}, change in %"]
        assert table[kind.heading].isna().tolist() == [*[False] * 4, True] or table[kind.heading].isna().all()


def test_an_empty_project_can_be_drawn() -> None:
    frame = with_changes(runs_frame([]), SIZES[0], None)
    assert not tradeoff_figure(frame, AXES, ACCURACY).data
    assert table_frame(frame, column_choices(ACCURACY), ACCURACY, None).empty


def test_every_technique_has_a_look_of_its_own() -> None:
    looks = [look_of((entry.name,)) for entry in TECHNIQUES]
    assert len({(look.colour, look.symbol) for look in looks}) == len(TECHNIQUES)


def test_a_pair_looks_like_its_first_and_is_outlined_like_its_last() -> None:
    first, last = TECHNIQUES[0].name, TECHNIQUES[-1].name
    look = look_of((first, last))
    assert (look.colour, look.symbol) == (look_of((first,)).colour, look_of((first,)).symbol)
    assert look.outline == look_of((last,)).colour


def test_curves_of_one_quantity_share_a_figure() -> None:
    figures = curve_figures({"train/loss": [(1, 2.0), (2, 1.0)], "validation/loss": [(2, 1.5)], "train/x": [(1, 0.0)]})
    assert list(figures) == ["loss", "x"]
    assert [trace.name for trace in figures["loss"].data] == ["train", "validation"]


def test_curves_of_shares_are_in_percent_and_others_as_they_are() -> None:
    curves = {"train/loss": [(1, 0.5)], "train/accuracy": [(1, 0.5)], "train/sparsity": [(1, 0.5)]}
    figures, tables = curve_figures(curves), curve_tables(curves)
    assert {name: figure.data[0].y[0] for name, figure in figures.items()} == {
        "loss": 0.5,
        "accuracy": 50,
        "sparsity": 50,
    }
    assert figures["accuracy"].layout.yaxis.ticksuffix == " %"
    assert figures["accuracy"].data[0].hovertemplate.startswith("step %{x:,}: %{y:.2f} %<")
    assert figures["loss"].data[0].hovertemplate.startswith("step %{x:,}: %{y:.4g}<")
    assert {name: table["Value"][0] for name, table in tables.items()} == {"loss": 0.5, "accuracy": 50, "sparsity": 50}


def test_curves_at_work_are_one_table_per_quantity_loss_first() -> None:
    tables = curve_tables({"train/accuracy": [(1, 0.5)], "train/loss": [(1, 2.0)], "validation/loss": [(2, 1.5)]})
    assert list(tables) == ["loss", "accuracy"]
    assert list(tables["loss"].itertuples(index=False, name=None)) == [("train", 1, 2.0), ("validation", 2, 1.5)]


def test_typed_text_cannot_become_markdown() -> None:
    assert as_text("![x](http://a) **b**") == r"\!\[x\]\(http\://a\) \*\*b\*\*"


def test_sentences_keep_code_spans_and_nothing_else() -> None:
    assert sentences(["`epochs` must be *1*"]) == r"`epochs` must be \*1\*"
    assert sentences(["one ` alone"]) == r"one \` alone"
    assert sentences(["first", "second"]).count("\n") == 1


def test_numbers_read_well() -> None:
    assert kilobytes(1_234_567) == "1,234.6 kB"
    assert metric_change("accuracy", -0.0028) == "-0.28 points"
    assert metric_change("mae", 0.0123) == "+0.0123"
    assert change_percent(26, 100) == "-74.0 %"
    assert seconds(125) == "2 min 05 s"
    assert shape_text((None, 28, 28, 1)) == "28 × 28 × 1"
