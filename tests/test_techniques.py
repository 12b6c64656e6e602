"""The contract of every technique in the registry. A new technique is tested by being listed there."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from intake.errors import InvalidParams
from measure.export import Conversion, convert
from measure.litert import predict
from measure.weights import read_weights
from optimizers import TECHNIQUES
from optimizers.apply import Optimized, apply_recipe
from optimizers.declaration import ParameterSpec, specs
from optimizers.recipe import Recipe, RecipeStep
from optimizers.technique import Technique, clone_with_weights
from tests.conftest import EasyData
from ui.parameter_list import parameter_list

every_technique = pytest.mark.parametrize("entry", TECHNIQUES, ids=lambda entry: entry.name)
every_parameter = pytest.mark.parametrize(
    ("entry", "spec"),
    [(entry, spec) for entry in TECHNIQUES for spec in specs(entry.Params)],
    ids=lambda value: value.name,
)


def default_recipe(entry: Technique) -> Recipe:
    return Recipe.single(entry.name)


def optimized_afresh(model: Any, entry: Technique, data: EasyData) -> Optimized:
    return apply_recipe(model, default_recipe(entry), data, lambda *_: None, lambda *_: None)


def exported_afresh(outcome: Optimized, data: EasyData) -> bytes:
    count = outcome.conversion.representative_samples
    return convert(outcome.to_convert, outcome.conversion, data.representative(count, 0) if count else None)


_OUTCOMES: dict[tuple[str, int], tuple[Optimized, bytes]] = {}


def outcome_of(model: Any, entry: Technique, data: EasyData) -> tuple[Optimized, bytes]:
    """The outcome and the exported file, made once for each technique and model: most tests only look at them."""
    key = (entry.name, id(model))
    if key not in _OUTCOMES:
        outcome = optimized_afresh(model, entry, data)
        _OUTCOMES[key] = (outcome, exported_afresh(outcome, data))
    return _OUTCOMES[key]


def optimized(model: Any, entry: Technique, data: EasyData) -> Optimized:
    return outcome_of(model, entry, data)[0]


def exported(model: Any, entry: Technique, data: EasyData) -> bytes:
    return outcome_of(model, entry, data)[1]


def bad_values(spec: ParameterSpec) -> list[Any]:
    """Values that the declared range must refuse."""
    if spec.choices:
        return ["no such choice", None]
    bad: list[Any] = [float("nan"), float("inf"), "word", None]
    if spec.kind in ("layer_number", "layer_integer"):
        assert spec.low is not None
        return [{"conv": spec.low - 1}, {"conv": "word"}, {"conv": float("nan")}, "word", None]
    if spec.low is not None:
        bad += [spec.low - 1, *([spec.low] if spec.low_open else [])]
    if spec.high is not None:
        bad += [spec.high + 1, *([spec.high] if spec.high_open else [])]
    return bad


@every_technique
def test_words_for_people_are_there(entry: Technique) -> None:
    for text in (entry.title, entry.summary, entry.use_when, entry.avoid_when, entry.shrinks, entry.source):
        assert len(text) > 3


@every_parameter
def test_every_parameter_has_a_label_and_one_line_of_help(entry: Technique, spec: ParameterSpec) -> None:
    assert spec.label
    assert spec.help.endswith(".")
    assert "\n" not in spec.help


@every_parameter
def test_values_out_of_range_are_refused_by_name(entry: Technique, spec: ParameterSpec) -> None:
    for value in bad_values(spec):
        with pytest.raises(InvalidParams, match=f"`{spec.name}`"):
            Recipe.single(entry.name, {spec.name: value})


@every_technique
def test_undeclared_parameter_is_refused(entry: Technique) -> None:
    with pytest.raises(InvalidParams, match="`nonsense` is not a parameter"):
        Recipe.single(entry.name, {"nonsense": 1})


@every_technique
def test_recipe_survives_yaml_and_json(entry: Technique) -> None:
    recipe = default_recipe(entry)
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    assert Recipe.model_validate(json.loads(recipe.model_dump_json())) == recipe


@every_technique
def test_input_model_is_left_untouched(entry: Technique, trained_model: Any, easy_data: EasyData) -> None:
    before = [weight.copy() for weight in trained_model.get_weights()]
    optimized_afresh(trained_model, entry, easy_data)
    for old, new in zip(before, trained_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@every_technique
def test_exported_file_keeps_what_was_promised(entry: Technique, trained_model: Any, easy_data: EasyData) -> None:
    outcome, tflite = outcome_of(trained_model, entry, easy_data)
    tensors = read_weights(tflite)
    facts = [fact for claim in outcome.claims for fact in claim.verify(tensors)]
    assert facts
    assert [fact for fact in facts if fact.met is False] == []
    assert any(fact.met for fact in facts)


@every_technique
def test_untouched_model_does_not_pass_verification(entry: Technique, trained_model: Any, easy_data: EasyData) -> None:
    outcome = optimized(trained_model, entry, easy_data)
    untouched = read_weights(convert(clone_with_weights(trained_model), Conversion()))
    assert not all(fact.met for claim in outcome.claims for fact in claim.verify(untouched))


@every_technique
def test_exported_file_still_solves_the_task(entry: Technique, trained_model: Any, easy_data: EasyData) -> None:
    answers = predict(exported(trained_model, entry, easy_data), [easy_data.x_test])[0]
    assert answers.shape == (90, 3)
    assert np.isfinite(answers).all()
    assert (answers.argmax(axis=1) == easy_data.y_test).mean() > 0.9


@every_technique
def test_plain_model_has_the_uploaded_architecture(entry: Technique, trained_model: Any, easy_data: EasyData) -> None:
    plain = optimized(trained_model, entry, easy_data).plain
    assert [layer.name for layer in plain.layers] == [layer.name for layer in trained_model.layers]
    assert [weight.shape for weight in plain.get_weights()] == [weight.shape for weight in trained_model.get_weights()]
    accuracy = (plain.predict(easy_data.x_test, verbose=0).argmax(axis=1) == easy_data.y_test).mean()
    assert accuracy > 0.9


@every_technique
def test_same_seed_gives_the_same_file(entry: Technique, trained_model: Any, easy_data: EasyData) -> None:
    first = exported(trained_model, entry, easy_data)
    second = exported_afresh(optimized_afresh(trained_model, entry, easy_data), easy_data)
    tensors = zip(read_weights(first), read_weights(second), strict=True)
    assert all(np.array_equal(one.values, other.values) for one, other in tensors)


@every_technique
def test_progress_reaches_the_last_step(entry: Technique, trained_model: Any, easy_data: EasyData) -> None:
    steps: list[tuple[int, int]] = []
    apply_recipe(
        trained_model,
        default_recipe(entry),
        easy_data,
        lambda step, total, _: steps.append((step, total)),
        lambda *_: None,
    )
    if entry.fine_tuning is None:
        assert steps == []
    else:
        taken = [step for step, _ in steps]
        assert taken == sorted(set(taken))
        assert taken[0] == 1
        assert taken[-1] == steps[-1][1]


@every_technique
def test_a_recipe_cannot_repeat_a_step_as_it_is(entry: Technique) -> None:
    step = RecipeStep(technique=entry.name)
    with pytest.raises(InvalidParams):
        Recipe.checked([step, step])


@every_technique
def test_the_help_page_lists_every_parameter_with_its_default(entry: Technique) -> None:
    lines = parameter_list(entry.Params).replace("\\", "").split("\n- ")
    assert len(lines) == max(1, len(specs(entry.Params)))
    for line, spec in zip(lines, specs(entry.Params), strict=False):
        assert f"**`{spec.name}`**: {spec.help}" in line
        assert f"{spec.range_text()}; default " in line
