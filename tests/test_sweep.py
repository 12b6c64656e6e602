"""Sweeps: what a list or range means, which recipes a grid stands for, and how long they will take."""

from __future__ import annotations

import contextlib
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.errors import InvalidParams
from optimizers import TECHNIQUES
from optimizers.declaration import ParameterSpec, specs
from optimizers.fine_tuning import FineTuning, suggested
from optimizers.presets import presets, steps_named
from optimizers.recipe import Recipe, RecipeStep, with_suggested_epochs
from optimizers.sweep import MOST_POINTS, expand, first_point, values_of
from runs.durations import expected_seconds
from tests.test_charts import result, run_of

NUMBER = ParameterSpec("share", "number", "Share", "", 0.5)
WHOLE = ParameterSpec("count", "integer", "Count", "", 2)
CHOICE = ParameterSpec("mode", "choice", "Mode", "", "a", choices=("a", "b"))
decimals = st.decimals(min_value=-1000, max_value=1000, places=3)


@pytest.mark.parametrize(
    ("text", "spec", "values"),
    [
        ("0.5, 0.7, 0.9", NUMBER, (0.5, 0.7, 0.9)),
        ("0.5..0.9 step 0.1", NUMBER, (0.5, 0.6, 0.7, 0.8, 0.9)),
        ("0.5..0.9:0.1", NUMBER, (0.5, 0.6, 0.7, 0.8, 0.9)),
        ("0.5..0.8:0.2", NUMBER, (0.5, 0.7)),
        ("1e-4..1e-2 x10", NUMBER, (0.0001, 0.001, 0.01)),
        ("8..64 x2", WHOLE, (8, 16, 32, 64)),
        ("8..64:x2", WHOLE, (8, 16, 32, 64)),
        ("1..3, 8, 3", WHOLE, (1, 2, 3, 8)),
        ("a,b", CHOICE, ("a", "b")),
    ],
)
def test_lists_and_ranges_are_read(text: str, spec: ParameterSpec, values: tuple[Any, ...]) -> None:
    found = values_of(text, spec)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("text", "spec", "words"),
    [
        ("", NUMBER, "has no value"),
        ("half", NUMBER, "cannot be read from 'half'"),
        ("0.5..0.9", NUMBER, "needs a step"),
        ("0.9..0.5:0.1", NUMBER, "lower end"),
        ("1..9:0", WHOLE, "above 0"),
        ("0..9 x2", WHOLE, "begin above 0"),
        ("0..1:0.0001", NUMBER, f"more than {MOST_POINTS}"),
        ("1e999999..2e999999 x2", NUMBER, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_a_sentence_with_the_way_out(text: str, spec: ParameterSpec, words: str) -> None:
    with pytest.raises(InvalidParams, match=words) as refused:
        values_of(text, spec)
    assert f"`{spec.name}`" in refused.value.problems[0]


@given(low=decimals, count=st.integers(0, 40), step=st.decimals(min_value="0.001", max_value=50, places=3))
def test_a_range_holds_both_ends_and_even_steps(low: Decimal, count: int, step: Decimal) -> None:
    found = values_of(f"{low}..{low + count * step} step {step}", NUMBER)
    assert found == tuple(float(low + index * step) for index in range(count + 1))


@given(st.lists(st.floats(allow_nan=False, min_value=-1e6, max_value=1e6), min_size=1, max_size=20, unique=True))
def test_a_list_of_numbers_reads_back(numbers: list[float]) -> None:
    expected = dict.fromkeys(number for number in numbers)
    readable = [number for number in expected if number == 0 or abs(math.log10(abs(number))) < 15]
    if readable:
        assert values_of(", ".join(map(str, readable)), NUMBER) == tuple(readable)


@given(st.text(max_size=30))
def test_no_text_breaks_the_reader(text: str) -> None:
    found: tuple[Any, ...] = ()
    with contextlib.suppress(InvalidParams):
        found = values_of(text, NUMBER)
    assert len(found) <= len(text) * MOST_POINTS
    assert all(isinstance(value, float) for value in found)


sparsities = st.lists(st.integers(50, 95), min_size=1, max_size=4, unique=True)
epochs = st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True)


@given(sparsities, epochs)
def test_a_grid_has_each_combination_once(percents: list[int], epochs: list[int]) -> None:
    wanted = [percent / 100 for percent in percents]
    step = RecipeStep(technique="pruning", params={"final_sparsity": wanted}, fine_tuning={"epochs": epochs})
    points = expand([step])
    found = [(p.recipe.steps[0].params["final_sparsity"], p.recipe.steps[0].settings.epochs) for p in points]  # type: ignore[union-attr]
    assert found == [(share, count) for share in wanted for count in epochs]
    assert len({point.label for point in points}) == len(points)


@pytest.mark.parametrize("entry", TECHNIQUES, ids=lambda entry: entry.name)
def test_without_several_values_a_grid_is_the_recipe(entry: Any) -> None:
    (point,) = expand([RecipeStep(technique=entry.name)])
    assert (point.recipe, point.label) == (Recipe.single(entry.name), "")


@pytest.mark.parametrize("entry", TECHNIQUES, ids=lambda entry: entry.name)
def test_every_choice_of_every_technique_can_be_swept(entry: Any) -> None:
    for spec in specs(entry.Params):
        if spec.kind == "choice" and spec.only_if is None:
            points = expand([RecipeStep(technique=entry.name, params={spec.name: ",".join(map(str, spec.choices))})])
            assert [point.recipe.steps[0].params[spec.name] for point in points] == list(spec.choices)


def test_what_another_setting_switches_off_is_not_varied_there() -> None:
    step = RecipeStep(
        technique="post_training_quantization",
        params={"mode": "float16, int8", "representative_samples": "10, 20", "io_dtype": "int8"},
    )
    assert [point.label for point in expand([step])] == [
        "mode float16",
        "mode int8, representative_samples 10",
        "mode int8, representative_samples 20",
    ]


def test_all_illegal_points_are_named_at_once() -> None:
    step = RecipeStep(
        technique="pruning", params={"initial_sparsity": "0.2, 0.6", "final_sparsity": "0.4, 0.7"}, fine_tuning={}
    )
    with pytest.raises(InvalidParams) as refused:
        expand([step, RecipeStep(technique="clustering", params={"number_of_clusters": "nine"})])
    assert "`number_of_clusters`" in refused.value.problems[0]
    with pytest.raises(InvalidParams) as refused:
        expand([step])
    (problem,) = refused.value.problems
    assert problem.startswith("At initial_sparsity 0.6, final_sparsity 0.4: `initial_sparsity` must not be above")


def test_what_is_wrong_everywhere_is_said_without_points() -> None:
    steps = [
        RecipeStep(technique="post_training_quantization"),
        RecipeStep(technique="pruning", params={"begin": "0, 0.1"}),
    ]
    with pytest.raises(InvalidParams) as refused:
        expand(steps)
    assert refused.value.problems == (
        "Post-training quantization must be the last step: it decides how the file is written. Move it to the end.",
    )


def test_a_grid_that_nobody_can_want_is_refused() -> None:
    step = RecipeStep(technique="pruning", params={"frequency": "1..40"}, fine_tuning={"seed": "0..19"})
    with pytest.raises(InvalidParams, match="800 points"):
        expand([step])


def test_the_first_point_has_one_value_for_each_setting() -> None:
    step = RecipeStep(technique="clustering", params={"number_of_clusters": "8..64 x2"}, fine_tuning={"epochs": [3, 4]})
    first = first_point(step)
    assert (first.params["number_of_clusters"], first.fine_tuning) == (8, {"epochs": 3})


# --- presets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_every_preset_is_a_legal_recipe_that_says_what_it_does(preset: Any) -> None:
    recipe = Recipe.checked(preset.steps())
    assert recipe.steps
    assert recipe.steps[-1].entry.converts
    assert 20 < len(preset.description) < 100
    assert steps_named(preset.name) == steps_named(str(preset.path))


def test_presets_are_ordered_from_safe_to_small() -> None:
    assert [preset.title for preset in presets()] == ["Fast and safe", "Small", "Smallest"]


def test_a_recipe_that_does_not_say_how_long_gets_what_the_dataset_needs() -> None:
    steps = [
        RecipeStep(technique="pruning", fine_tuning={"batch_size": 32}),
        RecipeStep(technique="clustering", fine_tuning={"epochs": 3}),
        RecipeStep(technique="post_training_quantization"),
    ]
    filled = with_suggested_epochs(steps, 500)
    needed = suggested(FineTuning(batch_size=32), 500).epochs
    assert needed > 2
    assert [step.fine_tuning for step in filled] == [{"batch_size": 32, "epochs": needed}, {"epochs": 3}, None]


# --- how long -----------------------------------------------------------------------------------------------------


def test_how_long_a_grid_takes_is_told_by_runs_before() -> None:
    quick, trained = Recipe.single("post_training_quantization"), Recipe.single("pruning", {}, {"epochs": 2})
    earlier = [
        run_of("a", quick, result(0.9, 1000, duration_s=3.0, training_s=0.0)),
        run_of("b", trained, result(0.9, 1000, duration_s=23.0, training_s=20.0)),
    ]
    longer = Recipe.single("pruning", {}, {"epochs": 4})
    assert expected_seconds([quick, longer], earlier, 1280) == pytest.approx(3 + 3 + 40)
    assert expected_seconds([longer], earlier[:1], 1280) is None
    assert expected_seconds([quick], [], 1280) is None
