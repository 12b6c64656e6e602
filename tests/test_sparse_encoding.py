"""Sparse encoding: zeros take no bytes of the raw file, which still runs and says what its weights are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intake.errors import InvalidParams
from intake.keras_env import keras2
from measure.conversion import Conversion, WeightQuantization
from measure.export import convert
from measure.litert import predict
from measure.weights import WeightTensor, read_weights
from optimizers.recipe import Recipe, RecipeStep


@pytest.fixture(scope="module")
def pruned() -> Any:
    """Convolutions, depthwise too, and dense layers with 85 % of the weights at zero."""
    layers, random = keras2().layers, np.random.default_rng(0)
    keras2().utils.set_random_seed(0)
    inputs = keras2().Input((8, 8, 4))
    x = layers.Conv2D(32, 3, activation="relu", name="conv")(inputs)
    x = layers.Conv2D(48, 3, name="wide")(layers.DepthwiseConv2D(3, name="depthwise")(x))
    x = layers.Dense(32, activation="relu", name="hidden")(layers.GlobalAveragePooling2D()(x))
    model = keras2().Model(inputs, layers.Dense(10, name="head")(x))
    for layer in model.layers:
        if layer.weights:
            kernel, *rest = layer.get_weights()
            layer.set_weights([kernel * (random.random(kernel.shape) > 0.85), *rest])
    return model


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(20, 8, 8, 4)).astype(np.float32)


def kernels(tflite: bytes) -> list[WeightTensor]:
    found = [tensor for tensor in read_weights(tflite) if tensor.values.ndim >= 2]
    return sorted(found, key=lambda tensor: (tensor.size, tensor.nonzero))


@pytest.mark.parametrize("number_format", ["float32", "float16", "int8"])
def test_a_sparse_file_is_smaller_runs_and_decodes_to_the_dense_weights(
    number_format: Any, pruned: Any, samples: np.ndarray
) -> None:
    dense = convert(pruned, Conversion(number_format=number_format, representative_samples=20), [samples])
    asked = Conversion(number_format=number_format, representative_samples=20, sparse=True, after_training=True)
    sparse = convert(pruned, asked, [samples])
    assert len(sparse) < len(dense)
    for one, other in zip(kernels(sparse), kernels(dense), strict=True):
        np.testing.assert_array_equal(one.values, other.values)
    assert sum(one.stored_bytes for one in kernels(sparse)) < sum(other.stored_bytes for other in kernels(dense))
    for batch_size in (1, 8):
        answers, wanted = predict(sparse, [samples], batch_size)[0], predict(dense, [samples], batch_size)[0]
        np.testing.assert_allclose(answers, wanted, atol=np.abs(wanted).max() * 0.02)


def chain(**quantization: Any) -> Recipe:
    return Recipe.checked(
        [
            RecipeStep(technique="pruning", params={"sparse_encoding": True}),
            RecipeStep(technique="post_training_quantization", params=quantization),
        ]
    )


@pytest.mark.parametrize(
    ("quantization", "sentence"),
    [
        ({"mode": "dynamic_range"}, "fails with mode dynamic_range"),
        ({"mode": "weight_only"}, "not possible with mode weight_only"),
        ({"mode": "int8_weights_int16_activations"}, "fails with mode int8_weights_int16_activations"),
        ({"mode": "int8", "weight_bits": 4}, "needs 8-bit weights, rounded per channel by min_max"),
        ({"mode": "int8", "algorithm": "OCTAV"}, "needs 8-bit weights, rounded per channel by min_max"),
        ({"mode": "int8", "leave_as_is": ["conv"]}, "layers left as they are by quantization cannot go together"),
    ],
)
def test_what_cannot_be_sparse_cannot_be_chosen(quantization: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidParams, match=sentence):
        chain(**quantization)


@pytest.mark.parametrize("bits", [{"weight_bits": 4}, {"layer_weight_bits": {"hidden": 3}}])
def test_what_crashes_the_converter_cannot_be_chosen(bits: dict[str, Any]) -> None:
    steps = [RecipeStep(technique="pruning", params={"sparse_encoding": True})]
    low = RecipeStep(technique="quantization_aware_training", params=bits)
    with pytest.raises(InvalidParams, match=r"training in [34] bits cannot go together: the converter crashes"):
        Recipe.checked([*steps, low])
    for params in ({}, {"weight_bits": 5}):
        Recipe.checked([*steps, RecipeStep(technique="quantization_aware_training", params=params)])


@pytest.mark.parametrize("mode", ["int8", "float16"])
def test_what_can_be_sparse_can_be_chosen(mode: str) -> None:
    assert len(chain(mode=mode).steps) == 2
    assert Conversion(sparse=True).problems() == []
    assert Conversion(sparse=True, weights=WeightQuantization(bits=4)).problems()
