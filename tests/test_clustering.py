"""What counts as clustered in the exported file."""

from __future__ import annotations

from typing import Any

from intake.keras_env import tensorflow
from measure.export import Conversion, convert
from measure.facts import WeightOf
from measure.weights import read_weights
from optimizers import facts_of, technique
from optimizers.apply import apply_recipe
from optimizers.recipe import Recipe
from tests.conftest import EasyData, convolutional_model, dense_model


def verdicts(model: Any, weights: list[WeightOf], clusters: int) -> list[bool | None]:
    entry = technique("clustering")
    params = entry.Params.checked({"number_of_clusters": clusters})
    return [fact.met for fact in entry.verify(params, weights, read_weights(convert(model, Conversion())))]


def test_small_channels_prove_nothing_without_a_batch_normalization() -> None:
    weights = [WeightOf(layer="hidden", weight="kernel", size=64 * 24)]
    assert verdicts(dense_model(), weights, 128) == [False]


def test_folded_kernels_with_small_channels_are_left_open() -> None:
    model = convolutional_model()
    bn = model.get_layer("bn")
    bn.set_weights([values + 0.1 * number for number, values in enumerate(bn.get_weights())])
    entry = technique("clustering")
    weights = [
        weight for weight in entry.weights_of(facts_of(model), entry.Params.checked({})) if weight.layer == "conv"
    ]
    assert weights[0].is_rescaled
    assert verdicts(model, weights, 16) == [None]
    assert verdicts(model, weights, 4) == [False]


def test_random_centroids_depend_on_the_seed_alone(easy_data: EasyData) -> None:
    model = dense_model()
    recipe = Recipe.single("clustering", {"cluster_centroids_init": "RANDOM"}, {"epochs": 1, "batch_size": 64})
    kernels = []
    for other_state in (1, 2):
        tensorflow().random.set_seed(other_state)
        outcome = apply_recipe(model, recipe, easy_data, lambda *_: None, lambda *_: None)
        kernels.append(outcome.plain.get_layer("hidden").get_weights()[0])
    assert (kernels[0] == kernels[1]).all()
