"""What counts as clustered in the exported file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intake.errors import InvalidParams
from intake.keras_env import keras2, tensorflow, tfmot
from measure.export import Conversion, convert
from measure.facts import WeightOf
from measure.weights import WeightTensor, of_layer, read_weights
from optimizers import facts_of, technique
from optimizers.advice import advice_on
from optimizers.apply import Optimized, apply_recipe
from optimizers.recipe import Recipe, RecipeStep
from optimizers.shared_weights import SharedKernel, SharedWeights
from optimizers.sweep import expand
from tests.conftest import CLASSES, EasyData, convolutional_model, dense_model


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


# --- values of each channel, and numbers of single layers, as the exported file shows them ---------------------------


def convolutions() -> Any:
    """Convolutions of several kinds, none with a bias where TFMOT would want one."""
    layers = keras2().layers
    keras2().utils.set_random_seed(0)
    inputs = keras2().Input((8, 8, 1))
    x = layers.Conv2D(12, 3, use_bias=False, name="conv")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.SeparableConv2D(10, 3, use_bias=False, name="separable")(x)
    x = layers.Conv2DTranspose(6, 3, use_bias=False, name="transposed")(x)
    return keras2().Model(inputs, layers.Dense(CLASSES, name="head", activation="softmax")(layers.Flatten()(x)))


def clustered(data: EasyData, model: Any, *before: RecipeStep, **params: Any) -> tuple[Optimized, list[WeightTensor]]:
    """The outcome of clustering after other steps, and the weights of the exported file."""
    step = RecipeStep(technique="clustering", params=params, fine_tuning={"epochs": 1, "batch_size": 64})
    outcome = apply_recipe(model, Recipe.checked([*before, step]), data, lambda *_: None, lambda *_: None)
    return outcome, read_weights(convert(outcome.to_convert, outcome.conversion))


@pytest.mark.slow
@pytest.mark.parametrize("init", ["LINEAR", "KMEANS_PLUS_PLUS"])
def test_each_output_channel_keeps_values_of_its_own(easy_data: EasyData, init: str) -> None:
    model = convolutions()
    outcome, tensors = clustered(
        easy_data, model, cluster_per_channel=True, number_of_clusters=4, cluster_centroids_init=init
    )
    assert {fact.met for fact in outcome.claims[0].verify(tensors)} == {True}
    by_layer = {weight.layer: weight for weight in outcome.claims[0].weights}
    assert {name for name, weight in by_layer.items() if weight.is_per_channel} == {"conv", "separable", "transposed"}
    assert outcome.claims[0].verify(tensors)[0].asked == "at most 4 values in each channel"
    for name, channels in (("conv", 12), ("separable", 10), ("transposed", 6)):
        found = of_layer(tensors, name, by_layer[name].size)
        assert found is not None
        assert found.distinct_per_channel <= 4
        assert found.distinct > 4 * channels / 2, "the channels share their values"


@pytest.mark.slow
def test_values_of_each_channel_leave_zeros_where_they_are(easy_data: EasyData) -> None:
    first = RecipeStep(
        technique="pruning", params={"smallest_kernel": 2, "final_sparsity": 0.6}, fine_tuning={"epochs": 1}
    )
    outcome, tensors = clustered(easy_data, convolutions(), first, cluster_per_channel=True, number_of_clusters=3)
    facts = [fact for claim in outcome.claims for fact in claim.verify(tensors)]
    assert {fact.claim for fact in facts} == {"sparsity", "distinct weights"}
    assert {fact.met for fact in facts} == {True}


@pytest.mark.slow
def test_each_layer_keeps_its_own_number_of_values(easy_data: EasyData) -> None:
    model = dense_model()
    asked = {"number_of_clusters": 16, "layer_number_of_clusters": {"hidden": 3}}
    outcome, tensors = clustered(easy_data, model, **asked)
    by_layer = {fact.layer: fact for fact in outcome.claims[0].verify(tensors)}
    assert (by_layer["hidden"].asked, by_layer["hidden"].met) == ("at most 3 values", True)
    assert by_layer["head"].met
    head = of_layer(tensors, "head", model.get_layer("head").kernel.shape.num_elements())
    assert head is not None
    assert head.distinct > 3


def test_what_happens_to_each_layer_follows_the_parameters() -> None:
    entry, facts = technique("clustering"), facts_of(convolutions())
    params = entry.Params.checked({"cluster_per_channel": True, "layer_number_of_clusters": {"conv": 9}})
    found = {one.layer: one for one in entry.treatments(facts, params)}
    assert found["conv"].reason == "Each output channel of its kernel has 9 weights, not more than there are clusters."
    assert found["conv"].fix == "Lower `layer_number_of_clusters` below 9."
    assert found["transposed"].reason == "Each output channel of its kernel keeps 16 different values."
    assert found["head"].reason == "Its kernel keeps 16 different values."
    with pytest.raises(InvalidParams, match="leaves as they are: conv"):
        Recipe.single("clustering", {"layer_number_of_clusters": {"conv": 4}, "leave_as_is": ["conv"]})


def test_kernels_of_no_more_weights_than_clusters_share_fewer_where_there_are_no_larger(easy_data: EasyData) -> None:
    layers = keras2().layers
    inputs = keras2().Input((8, 8, 1))
    x = layers.Conv2D(1, 4, name="conv")(inputs)
    model = keras2().Model(inputs, layers.Dense(CLASSES, name="head")(layers.GlobalAveragePooling2D()(x)))
    outcome, tensors = clustered(easy_data, model)
    facts = {fact.layer: fact for fact in outcome.claims[0].verify(tensors)}
    assert facts["conv"].asked == "at most 8 values"
    assert {fact.met for fact in facts.values()} == {True}


@pytest.mark.parametrize("count", [2, 5, 80])
def test_sharing_gives_each_weight_the_nearest_value_and_moves_values_by_the_mean(count: int) -> None:
    tf = tensorflow()
    init = tfmot().clustering.keras.CentroidInitialization.LINEAR
    random = np.random.default_rng(0)
    start = random.normal(0, 1, (300, 300)).astype(np.float32)  # enough weights for the compiled comparison
    update = random.normal(0, 0.01, start.shape).astype(np.float32)
    variable = tf.Variable(start)
    shared = SharedWeights([SharedKernel(variable, count)], init)
    shared.share()
    values = np.linspace(start.min(), start.max(), count, dtype=np.float32)
    nearest = np.abs(start[..., None] - values).argmin(-1)
    np.testing.assert_allclose(variable.numpy(), values[nearest], rtol=1e-6)
    variable.assign_add(update)
    shared.follow()
    sums, counts = np.bincount(nearest.reshape(-1), update.reshape(-1), count), np.bincount(nearest.reshape(-1))
    moved = np.sort(values + sums / np.maximum(np.pad(counts, (0, count - len(counts))), 1))
    found = np.abs(np.unique(variable.numpy())[:, None] - moved).min(1)
    assert found.max() < 1e-5


def test_fewer_free_weights_than_values_are_all_kept() -> None:
    tf = tensorflow()
    weights = np.zeros((4, 40), np.float32)
    weights[0, :2] = 1, 2
    variable = tf.Variable(weights)
    for init in tfmot().clustering.keras.CentroidInitialization:
        SharedWeights([SharedKernel(variable, 8, weights == 0)], init).share()
        np.testing.assert_array_equal(variable.numpy(), weights)


@pytest.mark.parametrize(
    ("optimizer", "rate", "advised"), [("sgd", 0.003, True), ("sgd", 0.001, False), ("adam", 0.01, False)]
)
def test_sgd_that_is_too_fast_is_advised_against(optimizer: str, rate: float, advised: bool) -> None:
    step = RecipeStep(technique="clustering", fine_tuning={"optimizer": optimizer, "learning_rate": rate})
    found = advice_on(expand([step]))
    assert [sentence for sentence in found if "Clustering with `optimizer` sgd often goes astray" in sentence] == found
    assert bool(found) == advised


def test_advice_for_some_points_of_a_grid_names_them() -> None:
    step = RecipeStep(technique="clustering", fine_tuning={"optimizer": "sgd", "learning_rate": [0.001, 0.01]})
    (found,) = advice_on(expand([step]))
    assert found.startswith("At learning_rate 0.01: Clustering with `optimizer` sgd often goes astray")
