"""No technique fails because of one layer, and what is promised of each layer beforehand holds afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.corpus_data import few_samples, store_samples
from intake.keras_env import keras2
from intake.model_info import ModelInfo
from intake.models import inspect_model, load_prepared
from measure.export import Conversion, convert
from measure.litert import predict
from measure.weights import read_weights
from optimizers import TECHNIQUES, facts_of, technique
from optimizers.apply import apply_recipe
from optimizers.kernels import kernels_of
from optimizers.recipe import Recipe
from optimizers.technique import Technique
from runs.execution import ProjectData
from tests.awkward_models import AWKWARD

INT8 = {"post_training_quantization": {"mode": "int8", "representative_samples": 8}}
"""The most demanding settings where the defaults are not."""


@pytest.fixture(scope="module", params=sorted(AWKWARD))
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ProjectData]:
    """A model as intake hands it on, and a few random samples for it."""
    folder = tmp_path_factory.mktemp("awkward")
    AWKWARD[request.param]().save(folder / "model.h5")
    info: ModelInfo = inspect_model(folder / "model.h5", folder / "prepared")
    keras2().backend.clear_session()  # conversion slows down with every graph that Keras remembers
    model = load_prepared(folder / "prepared")
    store_samples(model, info, folder / "prepared")
    return model, few_samples(model, folder / "prepared", folder / "teacher")


@pytest.mark.parametrize("entry", TECHNIQUES, ids=lambda entry: entry.name)
def test_no_technique_fails_because_of_one_layer(prepared: tuple[Any, ProjectData], entry: Technique) -> None:
    model, data = prepared
    settings = {"epochs": 1, "batch_size": 16} if entry.fine_tuning else None
    recipe = Recipe.single(entry.name, INT8.get(entry.name, {}), settings)
    outcome = apply_recipe(model, recipe, data, lambda *_: None, lambda *_: None)
    count = outcome.conversion.representative_samples
    tflite = convert(outcome.to_convert, outcome.conversion, data.representative(count, 0) if count else None)
    _, inputs = next(data.test_inputs(2**20))
    answers = predict(tflite, inputs)
    assert [answer.shape[1:] for answer in answers] == [tuple(output.shape[1:]) for output in model.outputs]
    assert all(np.isfinite(answer).all() for answer in answers)
    facts = [fact for claim in outcome.claims for fact in claim.verify(read_weights(tflite))]
    assert [fact for fact in facts if fact.met is False] == []
    assert [layer.name for layer in outcome.plain.layers] == [layer.name for layer in model.layers]


def test_the_float_file_answers_as_keras_does_sample_by_sample(prepared: tuple[Any, ProjectData]) -> None:
    model, data = prepared
    _, inputs = next(data.test_inputs(2**20))
    wanted = model.predict(inputs[0] if len(inputs) == 1 else list(inputs), verbose=0)
    answers = predict(convert(model, Conversion()), inputs)
    for answer, expected in zip(answers, wanted if isinstance(wanted, list) else [wanted], strict=True):
        np.testing.assert_allclose(answer, expected, atol=1e-4)


def test_every_layer_has_a_treatment_with_a_reason(prepared: tuple[Any, ProjectData]) -> None:
    model, _ = prepared
    facts = facts_of(model)
    for entry in TECHNIQUES:
        treatments = entry.treatments(facts, entry.Params())
        assert [treatment.layer for treatment in treatments] == [layer.name for layer in facts]
        assert all(treatment.reason.endswith(".") for treatment in treatments)
        assert all(bool(treatment.weights) <= (treatment.verdict == "acts") for treatment in treatments)


@pytest.mark.parametrize("name", ["pruning", "clustering"])
def test_every_kernel_that_is_acted_on_is_found_in_the_model(prepared: tuple[Any, ProjectData], name: str) -> None:
    model, _ = prepared
    entry = technique(name)
    for weight in entry.weights_of(facts_of(model), entry.Params()):
        names = [kernel.name for kernel in kernels_of(model.get_layer(weight.layer))]
        assert names.count(weight.weight) == 1
