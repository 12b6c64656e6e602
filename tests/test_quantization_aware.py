"""Quantization-aware training in fewer than 8 bits: what the file holds, how it answers, what is refused and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intake.errors import InvalidParams
from intake.keras_env import keras2, tensorflow
from measure.export import convert
from measure.litert import predict
from measure.weights import WeightTensor, of_layer, read_weights
from optimizers import facts_of, technique
from optimizers.apply import Optimized, apply_recipe
from optimizers.emulated_layers import emulated_layers
from optimizers.layer_facts import KernelFacts, LayerFacts
from optimizers.quantization_scheme import WeightScheme, quantization_aware
from optimizers.recipe import Recipe, RecipeStep
from optimizers.weight_bits import in_bits
from optimizers.weight_ranges import least_error_end
from tests.conftest import CLASSES, EasyData

NAME = "quantization_aware_training"
QAT = technique(NAME)
QUICK = {"epochs": 3, "batch_size": 32, "learning_rate": 1e-3}


def carried_out(
    model: Any, data: EasyData, params: dict[str, Any], before: tuple[RecipeStep, ...] = ()
) -> tuple[Optimized, bytes]:
    step = RecipeStep(technique=NAME, params={"representative_samples": 64, **params}, fine_tuning=QUICK)
    outcome = apply_recipe(model, Recipe.checked([*before, step]), data, lambda *_: None, lambda *_: None)
    return outcome, convert(outcome.to_convert, outcome.conversion, data.representative(64, 0))


def missed(outcome: Optimized, tensors: list[WeightTensor]) -> list[Any]:
    return [fact for claim in outcome.claims for fact in claim.verify(tensors) if not fact.met]


def mixed_model() -> Any:
    """What can have few bits, what cannot, and a BatchNormalization in each of its places."""
    layers = keras2().layers
    inputs = keras2().Input((8, 8, 1))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    left = layers.Conv2D(6, 1, name="left")(x)
    right = layers.Conv2D(6, 3, padding="same", groups=2, activation="relu", name="right")(x)
    x = layers.Concatenate(name="both")([left, right])
    x = layers.Conv2DTranspose(4, 3, name="up")(x)
    x = layers.Dense(4, activation="relu", name="of_pixels")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(16, activation="relu", name="hidden")(x)
    x = layers.BatchNormalization(name="late_bn")(x)
    x = layers.Dense(12, activation="relu", name="scaled")(x)
    return keras2().Model(inputs, layers.Dense(CLASSES, activation="softmax", name="head")(x))


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "dtype"), [(2, "int4"), (3, "int4"), (4, "int4"), (6, "int8")])
def test_the_file_holds_so_many_bits_and_answers_as_the_trained_model(
    bits: int, dtype: str, trained_model: Any, easy_data: EasyData
) -> None:
    outcome, tflite = carried_out(trained_model, easy_data, {"weight_bits": bits, "weight_range": "mse"})
    tensors = read_weights(tflite)
    assert missed(outcome, tensors) == []
    kernels = [tensor for tensor in tensors if tensor.values.ndim >= 2]
    assert {tensor.dtype for tensor in kernels} == {dtype}
    assert all(tensor.distinct_per_channel < 2**bits for tensor in kernels)
    keras_says = outcome.to_convert.predict(easy_data.x_test, verbose=0)
    for batch_size in (1, 32):
        answers = predict(tflite, [easy_data.x_test], batch_size=batch_size)[0]
        np.testing.assert_allclose(answers, keras_says, atol=0.1)
        assert (answers.argmax(1) == easy_data.y_test).mean() > 0.9


@pytest.mark.slow
def test_layers_have_their_own_bits_and_what_must_have_eight_keeps_them(easy_data: EasyData) -> None:
    keras2().utils.set_random_seed(0)
    model = mixed_model()
    bits = {"left": 2, "right": 3, "head": 8}
    outcome, tflite = carried_out(model, easy_data, {"weight_bits": 4, "layer_weight_bits": bits})
    tensors = read_weights(tflite)
    assert missed(outcome, tensors) == []
    found = {weight.layer: of_layer(tensors, weight.layer, weight.size) for weight in outcome.claims[0].weights}
    dtypes = {name: tensor.dtype for name, tensor in found.items() if tensor is not None}
    assert dtypes == {
        "conv": "int4", "depthwise": "int8", "left": "int4", "right": "int4", "up": "int8", "of_pixels": "int8",
        "hidden": "int8", "scaled": "int8", "head": "int8",
    }  # fmt: skip
    assert found["left"].distinct_per_channel <= 3  # type: ignore[union-attr]
    assert found["right"].distinct_per_channel <= 7  # type: ignore[union-attr]


def test_a_treatment_says_which_layer_keeps_eight_bits_and_why() -> None:
    reasons = {
        t.layer: t.reason for t in QAT.treatments(facts_of(mixed_model()), QAT.Params.checked({"weight_bits": 4}))
    }
    assert reasons["conv"] == "Trained with 4-bit rounding of its weights, stored in int4."
    assert "DepthwiseConv2D layer in 8 bits only" in reasons["depthwise"]
    assert "on sequences or images" in reasons["of_pixels"]
    assert "BatchNormalization after it" in reasons["hidden"]
    assert "BatchNormalization before it" in reasons["scaled"]
    assert "cannot calibrate" in reasons["up"]


@pytest.mark.slow
@pytest.mark.parametrize("names", [("pruning",), ("pruning", "clustering")], ids="+".join)
def test_what_earlier_steps_won_is_in_a_4_bit_file(
    names: tuple[str, ...], trained_model: Any, easy_data: EasyData
) -> None:
    before = tuple(RecipeStep(technique=name, fine_tuning={"epochs": 2, "batch_size": 32}) for name in names)
    outcome, tflite = carried_out(trained_model, easy_data, {"weight_bits": 4, "weight_range": "mse"}, before)
    tensors = read_weights(tflite)
    assert len(outcome.claims) == len(names) + 1
    assert missed(outcome, tensors) == []
    hidden = of_layer(tensors, "hidden", trained_model.get_layer("hidden").kernel.shape.num_elements())
    assert hidden is not None
    assert hidden.zero_share > 0.7
    assert hidden.distinct <= 16


def loop_facts() -> LayerFacts:
    kernel = KernelFacts(name="kernel", size=4096)
    return LayerFacts(name="lstm", class_name="LSTM", parameters=4096, kernels=(kernel,), becomes_a_loop=True)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"weight_bits": 4, "per_axis": False}, "`per_axis` off is possible only with 8 bits, got 4"),
        ({"layer_weight_bits": {"head": 2}, "per_axis": False}, "`per_axis` off is possible only with 8 bits, got 2"),
        ({"weight_bits": 4, "leave_as_is": ("head",)}, "`leave_as_is` is possible only with 8 bits, got 4"),
        ({"layer_weight_bits": {"head": 8}, "leave_as_is": ("head",)}, "leaves in float32: head"),
    ],
)
def test_parameters_that_cannot_go_together_say_why(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParams, match=message):
        Recipe.single(NAME, params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"layer_weight_bits": {"depthwise": 4}}, "gives depthwise 4 bits, which is not possible. LiteRT has"),
        ({"layer_weight_bits": {"relu": 4}}, "gives relu 4 bits, which is not possible. It has no kernel"),
        ({"layer_weight_bits": {"nowhere": 4}}, "that this model does not have: nowhere"),
    ],
)
def test_bits_that_a_layer_cannot_have_say_why(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParams, match=message):
        QAT.treatments(facts_of(mixed_model()), QAT.Params.checked(params))


def test_a_loop_has_eight_bits_only() -> None:
    with pytest.raises(InvalidParams, match="becomes a loop"):
        QAT.treatments([loop_facts()], QAT.Params.checked({"weight_bits": 4}))
    assert QAT.treatments([loop_facts()], QAT.Params())[0].verdict == "acts"


def test_a_range_of_least_error_is_better_than_one_to_the_largest_weight() -> None:
    kernel = np.random.default_rng(0).normal(0, 1, (1000, 6)).astype(np.float32)
    kernel[:, 5] = 0
    for bits in (2, 3, 4):
        levels = 2 ** (bits - 1) - 1
        ends = least_error_end(tensorflow().constant(kernel), bits, per_axis=True).numpy()
        largest = np.abs(kernel).max(axis=0)
        assert (ends[:5] < largest[:5]).all()
        assert ends[5] > 0
        errors = [
            ((np.clip(np.rint(kernel / step), -levels, levels) * step - kernel) ** 2)[:, :5].sum(0)
            for step in (ends / levels, np.maximum(largest, 1e-6) / levels)
        ]
        assert (errors[0] < errors[1]).all()


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("least_error", [False, True])
def test_a_simulation_has_codes_of_so_many_bits(bits: int, least_error: bool) -> None:
    values = np.random.default_rng(0).normal(0, 1, (6, 500)).astype(np.float32)
    values[:, ::5] = 0
    stored = in_bits(values, bits, least_error=least_error)
    assert stored.dtype.name == ("int4" if bits <= 4 else "int8")
    codes = stored.astype(np.int8)
    assert abs(codes).max() == 2 ** (bits - 1) - 1
    assert (codes[:, ::5] == 0).all()


def test_every_weight_quantizer_has_the_bits_of_its_layer_and_ranges_start_from_samples() -> None:
    from optimizers.activation_ranges import set_activation_ranges

    model = mixed_model()
    bits = {name: 8 for name in emulated_layers(model, ())} | {"conv": 4, "left": 2, "right": 3, "head": 6}
    wrapped = quantization_aware(model, WeightScheme(bits, per_axis=True, weight_range="min_max"))
    set_activation_ranges(wrapped, model, [np.random.default_rng(0).normal(0, 1, (8, 8, 8, 1)).astype(np.float32)])
    found = {
        layer.layer.name: quantizer.num_bits
        for layer in wrapped.layers
        for _, quantizer, _ in getattr(layer, "_weight_vars", [])
    }
    assert found == {
        "conv": 4, "depthwise": 8, "left": 2, "right": 3, "of_pixels": 8, "hidden": 8, "scaled": 8, "head": 6,
    }  # fmt: skip
    ranges = [
        float(weight.numpy())
        for layer in wrapped.layers
        for weight in layer.weights
        if weight.name.endswith(("activation_max:0", "output_max:0"))
    ]
    assert ranges
    assert 6.0 not in ranges
