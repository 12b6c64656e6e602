"""The schedule in steps: the target must be reached, however short the fine-tuning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.errors import DoesNotFit, InvalidParams
from intake.keras_env import keras2, tfmot
from measure.export import convert
from measure.facts import Fact, WeightOf
from measure.weights import WeightTensor, of_layer, read_weights
from optimizers import facts_of, technique
from optimizers.apply import Optimized, apply_recipe
from optimizers.fine_tuning import TrainingPlan
from optimizers.pruning_params import PruningParams
from optimizers.pruning_schedule import schedule_steps
from optimizers.recipe import Recipe, RecipeStep
from optimizers.sparse_patterns import (
    fewest_in_groups_kept,
    largest_blocks_kept,
    largest_kept,
    zeros_for,
    zeros_in_whole_blocks,
)
from runs.service import check_layers
from tests.conftest import CLASSES, EasyData, convolutional_model

QUICK = {"epochs": 1, "batch_size": 32}
plans = st.builds(TrainingPlan, epochs=st.integers(1, 20), steps_per_epoch=st.integers(1, 500))


@given(plan=plans, begin=st.floats(0, 0.95), length=st.floats(0.01, 1), frequency=st.integers(1, 1000))
def test_polynomial_schedule_updates_its_mask_at_the_end_step(
    plan: TrainingPlan, begin: float, length: float, frequency: int
) -> None:
    end = min(1.0, begin + length)
    steps = schedule_steps(PruningParams(begin=begin, end=end, frequency=frequency), plan)
    assert 0 <= steps.begin_step < steps.end_step <= plan.total_steps
    assert (steps.end_step - steps.begin_step) % steps.frequency == 0
    assert steps.frequency <= frequency


@given(plan=plans, begin=st.floats(0, 0.99), frequency=st.integers(1, 1000))
def test_constant_schedule_updates_its_mask_at_least_once(plan: TrainingPlan, begin: float, frequency: int) -> None:
    steps = schedule_steps(PruningParams(schedule="ConstantSparsity", begin=begin, frequency=frequency), plan)
    assert 1 <= steps.begin_step <= plan.total_steps


@pytest.mark.parametrize("schedule", ["PolynomialDecay", "ConstantSparsity"])
@pytest.mark.parametrize("batch_size", [8, 64, 1024])
def test_target_is_reached_however_few_the_steps(
    trained_model: Any, easy_data: EasyData, schedule: str, batch_size: int
) -> None:
    params = {"schedule": schedule, "final_sparsity": 0.7, "target_sparsity": 0.7, "initial_sparsity": 0.1}
    recipe = Recipe.single("pruning", params, {"epochs": 1, "batch_size": batch_size})
    outcome = apply_recipe(trained_model, recipe, easy_data, lambda *_: None, lambda *_: None)
    tensors = read_weights(convert(outcome.to_convert, outcome.conversion))
    assert all(fact.met for fact in outcome.claims[0].verify(tensors))


def test_small_kernels_stay_dense(trained_model: Any, easy_data: EasyData) -> None:
    recipe = Recipe.single("pruning", {"smallest_kernel": 100})
    outcome = apply_recipe(trained_model, recipe, easy_data, lambda *_: None, lambda *_: None)
    head = of_layer(
        read_weights(convert(outcome.to_convert, outcome.conversion)),
        "head",
        outcome.plain.get_layer("head").kernel.shape.num_elements(),
    )
    assert head is not None
    assert head.zero_share == 0
    assert {weight.layer for weight in outcome.claims[0].weights} == {"hidden"}


def test_live_sparsity_rises_to_the_target(trained_model: Any, easy_data: EasyData) -> None:
    seen: list[float] = []
    apply_recipe(
        trained_model, Recipe.single("pruning", {}, {"batch_size": 16}), easy_data,
        lambda _step, _total, values: seen.append(values()["sparsity"]), lambda *_: None,
    )  # fmt: skip
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(0.8, abs=0.01)


def test_contradicting_values_are_refused_together() -> None:
    with pytest.raises(InvalidParams) as caught:
        Recipe.single("pruning", {"begin": 0.9, "end": 0.1, "initial_sparsity": 0.9, "final_sparsity": 0.5})
    assert len(caught.value.problems) == 2


@given(sparsity=st.floats(0, 0.99), size=st.integers(2, 200), different=st.integers(1, 5))
def test_equal_weights_do_not_keep_the_target_from_being_reached(sparsity: float, size: int, different: int) -> None:
    weights = (np.arange(size) % different + 1).astype(np.float32)
    mask = largest_kept(weights, sparsity)
    zeros = int((mask == 0).sum())
    assert zeros == size - 1 or zeros / size >= sparsity - 1e-6
    assert (zeros - 1) / size < sparsity
    assert weights[mask == 0].max(initial=0) <= weights[mask == 1].min()


@pytest.mark.parametrize(("size", "zeros"), [(144, 116), (1000, 800), (10_000_000, 8_000_000), (3, 2), (2, 1)])
def test_a_share_from_float32_asks_for_no_weight_more_and_none_less(size: int, zeros: int) -> None:
    assert zeros_for(float(np.float32(0.8)), size) == zeros_for(0.8, size) == zeros


def test_one_zero_too_few_is_a_target_missed() -> None:
    values = np.ones((1, 144), np.float32)
    values[0, :115] = 0
    weight = WeightOf(layer="hidden", weight="kernel", size=144, shape=(144, 1))

    def fact() -> Fact:
        tensors = [WeightTensor("hidden/MatMul", "float32", values, 576, np.empty(0, np.int64), 0)]
        return technique("pruning").verify(PruningParams(), [weight], tensors)[0]

    assert (fact().asked, fact().measured, fact().met) == ("at least 80.0% zeros", "79.86% zeros", False)
    values[0, 115] = 0
    assert fact().met


@pytest.mark.parametrize(
    ("params", "size", "asked"),
    [
        ({"final_sparsity": 0.9995}, 10_000, "at least 99.95% zeros"),
        ({"final_sparsity": 0.9995}, 100, "zeros but for one weight"),
        ({"structure": "blocks"}, 1024, "80.0% zeros in whole blocks of 4x4, to the nearest block"),
    ],
)
def test_what_is_asked_is_what_is_held_to(params: dict[str, Any], size: int, asked: str) -> None:
    weight = WeightOf(layer="hidden", weight="kernel", size=size, shape=(size // 4, 4))
    (fact,) = technique("pruning").verify(PruningParams(**params), [weight], [])
    assert fact.asked == asked


# --- what becomes zero together, as the exported file shows it -------------------------------------------------------


def mixed_model() -> Any:
    """A convolution on 1 channel, one on 6 with BatchNormalization, a 1x1 one, and dense kernels with odd sides."""
    layers = keras2().layers
    keras2().utils.set_random_seed(0)
    inputs = keras2().Input((8, 8, 1))
    x = layers.Conv2D(6, 3, strides=2, name="stem")(inputs)
    x = layers.Conv2D(10, 2, use_bias=False, name="conv")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="bn")(x))
    x = layers.Conv2D(12, 1, name="pointwise")(x)
    x = layers.Dense(18, activation="relu", name="hidden")(layers.Flatten()(x))
    return keras2().Model(inputs, layers.Dense(CLASSES, activation="softmax", name="head")(x))


def pruned(data: EasyData, model: Any, *others: RecipeStep, **params: Any) -> tuple[Optimized, list[WeightTensor]]:
    """The outcome of pruning, then other steps; and the weights of the exported file."""
    first = RecipeStep(technique="pruning", params={"smallest_kernel": 2, **params}, fine_tuning=QUICK)
    recipe = Recipe.checked([first, *others])
    outcome = apply_recipe(model, recipe, data, lambda *_: None, lambda *_: None)
    count = outcome.conversion.representative_samples
    samples = data.representative(count, 0) if count else None
    return outcome, read_weights(convert(outcome.to_convert, outcome.conversion, samples))


def verdicts(params: dict[str, Any], weights: list[WeightOf], tensors: list[WeightTensor]) -> dict[str, bool | None]:
    """Name of a layer -> whether the file shows what is asked of it."""
    entry = technique("pruning")
    return {fact.layer: fact.met for fact in entry.verify(entry.Params.checked(params), weights, tensors)}


def zeros_of(tensors: list[WeightTensor], model: Any, layer: str) -> np.ndarray:
    found = of_layer(tensors, layer, model.get_layer(layer).kernel.shape.num_elements())
    assert found is not None
    return found.zeros


@pytest.fixture(scope="module")
def one_by_one(easy_data: EasyData) -> tuple[Optimized, list[WeightTensor]]:
    """The mixed model pruned to a half, weight by weight."""
    return pruned(easy_data, mixed_model(), schedule="ConstantSparsity", target_sparsity=0.5)


@pytest.mark.slow
def test_blocks_are_zero_as_a_whole_in_the_file(
    easy_data: EasyData, one_by_one: tuple[Optimized, list[WeightTensor]]
) -> None:
    model, found = mixed_model(), []
    for pooling in ("AVG", "MAX"):
        asked = {"structure": "blocks", "block_height": 5, "block_width": 4, "block_pooling_type": pooling}
        outcome, tensors = pruned(easy_data, model, schedule="ConstantSparsity", target_sparsity=0.5, **asked)
        weights = outcome.claims[0].weights
        half = {**asked, "schedule": "ConstantSparsity", "target_sparsity": 0.5}
        assert set(verdicts(half, weights, tensors).values()) == {True}
        hidden = zeros_of(tensors, model, "hidden").T
        blocks = [hidden[row : row + 5, column : column + 4] for row in range(0, 48, 5) for column in range(0, 18, 4)]
        assert {block.mean() for block in blocks} == {0.0, 1.0}
        assert zeros_of(tensors, model, "conv").mean() == pytest.approx(0.5, abs=0.01)  # weight by weight
        assert verdicts(half, weights, one_by_one[1])["hidden"] is False
        found.append(hidden)
    assert not np.array_equal(found[0], found[1])


def test_the_pooling_decides_which_block_goes() -> None:
    weights = np.array([[3, 3, 5, 0], [3, 3, 0, 0]], np.float32)
    assert largest_blocks_kept(weights, 0.5, (2, 2), "AVG").tolist() == [[1, 1, 0, 0]] * 2
    assert largest_blocks_kept(weights, 0.5, (2, 2), "MAX").tolist() == [[0, 0, 1, 1]] * 2


@given(
    sparsity=st.floats(0, 0.95), shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    block=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)  # fmt: skip
def test_whole_blocks_come_within_half_a_block_of_the_target(
    sparsity: float, shape: tuple[int, int], block: tuple[int, int]
) -> None:
    params = PruningParams(structure="blocks", block_height=block[0], block_width=block[1], layer_sparsity={"a": 0.5})
    weights = np.random.default_rng(0).normal(0, 1, shape)
    mask = largest_blocks_kept(weights, sparsity, block)
    assert mask.shape == shape
    assert mask.any()
    assert zeros_in_whole_blocks(mask == 0, block) == pytest.approx(1 - mask.mean())
    half = block[0] * block[1] / 2 / weights.size
    if params.model_copy(update={"layer_sparsity": {"a": sparsity}}).takes_blocks("a", shape):
        assert 1 - mask.mean() == pytest.approx(sparsity, abs=half + 1e-9)


@pytest.mark.slow
def test_m_by_n_holds_in_the_file_whatever_follows(easy_data: EasyData) -> None:
    model = mixed_model()
    others = [
        RecipeStep(technique="clustering", params={"number_of_clusters": 8}, fine_tuning=QUICK),
        RecipeStep(technique="post_training_quantization", params={"mode": "int8"}),
    ]
    outcome, tensors = pruned(easy_data, model, *others, structure="m_by_n")
    weights = outcome.claims[0].weights
    assert {weight.layer for weight in weights} == {"conv", "pointwise", "hidden", "head"}
    assert {tensor.dtype for tensor in tensors if tensor.values.ndim == 4} == {"int8"}
    for layer in ("conv", "pointwise", "hidden"):
        inputs = zeros_of(tensors, model, layer)
        full = inputs.shape[-1] // 4 * 4
        assert inputs[..., :full].reshape(-1, 4).sum(1).min() >= 2, layer
    assert verdicts({"structure": "m_by_n"}, weights, tensors) == dict.fromkeys(
        ("conv", "pointwise", "hidden", "head"), True
    )
    assert False in verdicts({"structure": "m_by_n", "sparsity_m": 3}, weights, tensors).values()


@pytest.mark.slow
def test_m_by_n_is_more_than_as_many_zeros(one_by_one: tuple[Optimized, list[WeightTensor]]) -> None:
    outcome, tensors = one_by_one
    shown = verdicts({"structure": "m_by_n"}, outcome.claims[0].weights, tensors)
    assert (shown["conv"], shown["hidden"]) == (False, False)


@given(inputs=st.integers(1, 20), n=st.integers(2, 8), m=st.integers(1, 7), axis=st.integers(0, 2))
def test_a_group_keeps_its_largest(inputs: int, n: int, m: int, axis: int) -> None:
    m = min(m, n - 1)
    weights = np.moveaxis(np.random.default_rng(1).normal(0, 1, (3, 2, inputs)), -1, axis)
    mask = np.moveaxis(fewest_in_groups_kept(weights, m, n, axis), axis, -1)
    magnitudes = np.abs(np.moveaxis(weights, axis, -1))
    for start in range(0, inputs, n):
        group, kept = magnitudes[..., start : start + n], mask[..., start : start + n]
        assert (kept.sum(-1) == min(n - m, group.shape[-1])).all()
        assert (np.where(kept == 1, group, np.inf).min(-1) >= np.where(kept == 0, group, 0).max(-1)).all()


def test_kernels_without_a_full_group_are_left_with_a_reason() -> None:
    entry, facts = technique("pruning"), facts_of(mixed_model())
    asked = {"structure": "m_by_n", "smallest_kernel": 2}
    found = {one.layer: one for one in entry.treatments(facts, entry.Params.checked(asked))}
    assert found["stem"].verdict == "left"
    assert found["stem"].reason == "It has 1 input channel, which make no full group of 4."
    assert found["conv"].reason == "2 of every 4 weights along its 6 input channels become zero."


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["weights", "blocks"])
def test_each_layer_reaches_its_own_target(easy_data: EasyData, structure: str) -> None:
    model = mixed_model()
    asked = {"structure": structure, "layer_sparsity": {"conv": 0.3, "hidden": 0.9}, "smallest_kernel": 2}
    outcome, tensors = pruned(easy_data, model, **asked)
    assert zeros_of(tensors, model, "conv").mean() == pytest.approx(0.3, abs=0.01)
    assert zeros_of(tensors, model, "hidden").mean() == pytest.approx(0.9, abs=0.01)
    assert zeros_of(tensors, model, "pointwise").mean() == pytest.approx(0.8, abs=0.01)
    weights = outcome.claims[0].weights
    assert set(verdicts(asked, weights, tensors).values()) == {True}
    assert verdicts({**asked, "layer_sparsity": {"conv": 0.5}}, weights, tensors)["conv"] is False


def test_a_target_of_its_own_is_said_and_prunes_a_small_kernel_too() -> None:
    entry, facts = technique("pruning"), facts_of(mixed_model())
    found = {
        one.layer: one for one in entry.treatments(facts, entry.Params.checked({"layer_sparsity": {"head": 0.25}}))
    }
    assert found["head"].reason == "25% of its kernel become zero."
    assert found["pointwise"].verdict == "left"


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"structure": "m_by_n", "layer_sparsity": {"conv": 0.5}}, "`layer_sparsity` cannot go with structure m_by_n"),
        ({"structure": "m_by_n", "sparsity_m": 4}, "`sparsity_m` must be below `sparsity_n`"),
        ({"structure": "blocks", "policy": "xnnpack"}, "Choose policy none"),
        ({"layer_sparsity": {"conv": 0.5}, "leave_as_is": ["conv"]}, "leave_as_is` leaves as they are: conv"),
    ],
)
def test_what_cannot_go_together_is_refused(params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidParams, match=sentence):
        Recipe.single("pruning", params)


def test_a_second_pruning_may_raise_one_layer_alone() -> None:
    step = RecipeStep(technique="pruning")
    Recipe.checked([step, RecipeStep(technique="pruning", params={"layer_sparsity": {"conv": 0.95}})])
    with pytest.raises(InvalidParams, match="higher sparsity"):
        Recipe.checked([step, RecipeStep(technique="pruning", params={"layer_sparsity": {"conv": 0.7}})])


# --- the policy for XNNPACK's sparse inference ------------------------------------------------------------------------


def suited_to_xnnpack(stem_padding: str = "valid", between: Any = None) -> Any:
    """What TFMOT's policy asks for: padded stem on 3 channels, 1x1 and depthwise convolutions, global pooling."""
    layers = keras2().layers
    inputs = keras2().Input((8, 8, 3))
    x = layers.ZeroPadding2D(1, name="pad")(inputs)
    x = layers.Conv2D(8, 3, strides=2, padding=stem_padding, name="stem")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Conv2D(32, 1, name="pointwise")(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x))
    x = x if between is None else between(x)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    return keras2().Model(inputs, layers.Dense(CLASSES, name="head")(layers.Flatten()(x)))


def test_the_policy_prunes_only_pointwise_convolutions() -> None:
    entry = technique("pruning")
    params = entry.Params.checked({"policy": "xnnpack", "smallest_kernel": 2})
    facts = facts_of(suited_to_xnnpack())
    assert {weight.layer for weight in entry.weights_of(facts, params)} == {"pointwise"}
    assert {weight.layer for weight in entry.weights_of(facts, params.model_copy(update={"policy": "none"}))} > {"stem"}


@pytest.mark.parametrize(
    ("options", "layer", "rule"),
    [
        ({"stem_padding": "same"}, "pad", "3x3 Conv2D on 3 channels"),
        ({"between": lambda x: keras2().layers.Conv2D(8, 3, name="wide")(x)}, "wide", "must be 1x1"),
        ({"between": lambda x: keras2().layers.MaxPooling2D(name="max")(x)}, "max", "there may be only"),
        ({"between": lambda x: keras2().layers.Activation("tanh", name="tanh")(x)}, "tanh", "must be relu, relu6"),
    ],
)
def test_a_model_that_does_not_qualify_is_refused_by_rule_and_layer(options: Any, layer: str, rule: str) -> None:
    facts = facts_of(suited_to_xnnpack(**options))
    recipe = Recipe.single("pruning", {"policy": "xnnpack"})
    with pytest.raises(DoesNotFit, match=f"because of {layer}: .*{rule}"):
        check_layers(recipe, facts)
    check_layers(Recipe.single("pruning"), facts)


def test_our_verdict_is_that_of_the_library() -> None:
    policy = tfmot().sparsity.keras.PruneForLatencyOnXNNPack()
    models = [suited_to_xnnpack(), suited_to_xnnpack("same"), mixed_model(), convolutional_model()]
    for model in models:
        try:
            policy.ensure_model_supports_pruning(model)
            suits = True
        except ValueError:
            suits = False
        assert suits == (not any(layer.sparse_inference_obstacle for layer in facts_of(model)))
