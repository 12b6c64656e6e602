"""What selected runs differ in: only that, and an axis for each. No server, no TensorFlow."""

from __future__ import annotations

import pytest

from optimizers import TECHNIQUES
from optimizers.declaration import specs
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import Recipe, RecipeStep
from runs.records import RunRecord
from tests.test_charts import ACCURACY, ERROR, a_recipe, result, run_of
from ui.comparison import (
    ABSENT,
    MOST,
    Dimension,
    column_names,
    differences,
    dimensions,
    parallel_figure,
    settings_of,
    usual_dimensions,
)
from ui.palette import NEUTRAL

TRAINS = next(entry for entry in TECHNIQUES if entry.fine_tuning)
EPOCHS = f"{TRAINS.title}: {next(spec.label for spec in specs(FineTuning) if spec.name == 'epochs')}"


def trained(epochs: int) -> Recipe:
    return Recipe.single(TRAINS.name, {}, {"epochs": epochs})


@pytest.fixture
def runs() -> list[RunRecord]:
    """Two runs that differ in one setting, accuracy and latency only."""
    return [
        run_of("short", trained(3), result(0.95, 50_000)),
        run_of("long", trained(7), result(0.97, 50_000, latency_ms=0.75)),
    ]


def test_only_what_differs_is_shown(runs: list[RunRecord]) -> None:
    table = differences(runs, ACCURACY, result(0.98, 100_000))
    assert list(table.columns) == ["", "short", "long"]
    assert list(table[""]) == [EPOCHS, "Accuracy", "Accuracy, 95 % interval", "Latency"]
    assert table.loc[0].tolist()[1:] == ["3", "7"]
    assert table.loc[1].tolist()[1:] == ["95.00 %, -3.00 points", "97.00 %, -1.00 points"]
    assert table.loc[2].tolist()[1:] == ["94.00 % to 96.00 %", "96.00 % to 98.00 %"]
    assert table.loc[3, "long"] == "0.750 ms, +50.0 %"


def test_a_default_that_an_older_run_did_not_store_is_no_difference(runs: list[RunRecord]) -> None:
    step = runs[0].recipe.steps[0]
    old = runs[0].model_copy(
        update={
            "run_id": "id-old",
            "recipe": Recipe(steps=(RecipeStep(technique=step.technique, fine_tuning={"epochs": 3}),)),
        }
    )
    assert differences([runs[0], old], ACCURACY, None).empty


def test_settings_of_other_techniques_are_absent(runs: list[RunRecord]) -> None:
    other = run_of("other", a_recipe(), result(0.96, 20_000))
    table = differences([runs[0], other], ACCURACY, None).set_index("")
    assert table.loc["Techniques"].tolist() == [TRAINS.title, a_recipe().title]
    assert table.loc[EPOCHS].tolist() == ["3", ABSENT]


def test_defaults_of_a_technique_that_the_others_lack_are_left_out(runs: list[RunRecord]) -> None:
    table = differences([runs[0], run_of("other", a_recipe(), result(0.96, 20_000))], ACCURACY, None)
    assert [name for name in table[""] if ": " in name] == [EPOCHS]


def test_a_run_without_result_can_be_compared(runs: list[RunRecord]) -> None:
    table = differences([runs[0], run_of("waiting", trained(3))], ACCURACY, None).set_index("")
    assert table.loc["State"].tolist() == ["finished", "queued"]
    assert table.loc["Latency"].tolist() == ["0.500 ms", ABSENT]


def test_runs_of_one_name_are_told_apart() -> None:
    twins = [run_of("twin", a_recipe(), run_id=run_id) for run_id in ("abcdef12", "12345678")]
    assert column_names(twins) == ["twin (abcdef)", "twin (123456)"]


def test_a_technique_that_comes_twice_keeps_both_settings() -> None:
    steps = tuple(RecipeStep(technique=TRAINS.name, fine_tuning={"epochs": epochs}) for epochs in (2, 5))
    found = settings_of(Recipe(steps=steps))
    assert (found[EPOCHS], found[f"2 · {EPOCHS}"]) == (2, 5)


def test_axes_are_what_varies(runs: list[RunRecord]) -> None:
    found = {dimension.label: dimension for dimension in dimensions(runs, ACCURACY)}
    assert list(found) == [EPOCHS, "Accuracy, %", "Latency, ms"]
    assert found[EPOCHS] == Dimension(EPOCHS, (3.0, 7.0))
    assert found["Accuracy, %"].values == pytest.approx((95.0, 97.0))


def test_words_and_absent_values_become_named_places(runs: list[RunRecord]) -> None:
    mixed = [runs[1], run_of("other", a_recipe(), result(0.96, 20_000)), runs[0]]
    found = {dimension.label: dimension for dimension in dimensions(mixed, ACCURACY)}
    assert found[EPOCHS].ticks == (ABSENT, "3", "7")
    assert found[EPOCHS].values == (2.0, 0.0, 1.0)
    assert len(found["Techniques"].ticks) == 2


def test_few_runs_have_a_name_and_a_colour_each_many_are_coloured_by_metric(runs: list[RunRecord]) -> None:
    few = parallel_figure(runs, dimensions(runs, ACCURACY), ACCURACY).data[0]
    assert list(few.dimensions[0].ticktext) == ["short", "long"]
    assert list(few.line.color) == [0, 1]
    many = [run_of(str(n), trained(n), result(0.9 + n / 100, 1000 * n)) for n in range(1, MOST + 2)]
    drawn = parallel_figure(many, dimensions(many, ACCURACY), ACCURACY).data[0]
    assert drawn.dimensions[0].label != "Run"
    assert list(drawn.line.color) == pytest.approx([90.0 + n for n in range(1, MOST + 2)])


def test_axes_write_figures_as_the_tables_do_and_have_a_line_that_is_seen_in_the_dark(runs: list[RunRecord]) -> None:
    figure = parallel_figure(runs, dimensions(runs, ACCURACY), ACCURACY)
    written = {axis.label: axis.tickformat for axis in figure.data[0].dimensions}
    assert written == {"Run": None, "Epochs": ",.4~g", "Accuracy, %": ",.2f", "Latency, ms": ",.3f"}
    assert [line.x0 for line in figure.layout.shapes] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert {line.line.color for line in figure.layout.shapes} == {NEUTRAL}


def test_typed_markup_in_names_stays_text() -> None:
    named = [run_of(f"<b>{n}</b>", trained(n), result(0.9, 1000 * n)) for n in (1, 2)]
    drawn = parallel_figure(named, dimensions(named, ERROR), ERROR).data[0]
    assert drawn.dimensions[0].ticktext[0] == "&lt;b&gt;1&lt;/b&gt;"


def test_axes_to_begin_with_are_few_and_among_those_that_vary(runs: list[RunRecord]) -> None:
    found = dimensions([*runs, run_of("other", a_recipe(), result(0.96, 20_000))], ACCURACY)
    usual = usual_dimensions(found, ACCURACY)
    assert set(usual) <= {dimension.label for dimension in found}
    assert 2 <= len(usual) <= 5
