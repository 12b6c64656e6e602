"""What LiteRT lacks, gets wrong, or cannot be given one scale for is exported in another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intake.keras_env import keras2, tensorflow
from measure.export import Conversion, convert
from measure.litert import predict
from optimizers import facts_of, technique
from optimizers.activation_ranges import set_activation_ranges
from optimizers.known_shapes import known_shapes
from optimizers.quantization_scheme import WeightScheme, quantization_aware

SAMPLES = np.random.default_rng(1).normal(size=(8, 6, 6, 8)).astype("float32")


def group_normalized(shape: tuple[int | None, ...], groups: int) -> Any:
    inputs = keras2().Input(shape)
    return keras2().Model(inputs, keras2().layers.GroupNormalization(groups)(inputs))


@pytest.mark.parametrize("shape", [(6, 6, 8), (None, None, 8)])
@pytest.mark.parametrize("groups", [4, -1])
def test_group_normalization_answers_as_keras_does(shape: tuple[int | None, ...], groups: int) -> None:
    model = group_normalized(shape, groups)
    model.set_weights([np.random.default_rng(2).normal(size=weight.shape) for weight in model.get_weights()])
    np.testing.assert_allclose(predict(convert(model, Conversion()), [SAMPLES])[0], model(SAMPLES), atol=1e-5)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("kind", ["MaxPooling3D", "AveragePooling3D"])
def test_pooling_in_three_dimensions_answers_as_keras_does(kind: str, padding: str) -> None:
    inputs = keras2().Input((5, 6, 7, 2))
    pooled = getattr(keras2().layers, kind)((2, 3, 2), strides=(2, 2, 1), padding=padding)(inputs)
    model = keras2().Model(inputs, pooled)
    samples = np.random.default_rng(3).normal(size=(4, 5, 6, 7, 2)).astype("float32")
    np.testing.assert_allclose(predict(convert(model, Conversion()), [samples])[0], model(samples), atol=1e-6)


@pytest.mark.parametrize("name", ["post_training_quantization", "quantization_aware_training"])
def test_no_integers_are_promised_of_three_dimensional_convolutions(name: str) -> None:
    layers = keras2().layers
    inputs = keras2().Input((4, 4, 4, 2))
    model = keras2().Model(
        inputs, layers.Dense(2, name="dense")(layers.Flatten()(layers.Conv3D(3, 2, name="conv")(inputs)))
    )
    entry = technique(name)
    params = entry.Params.checked({"mode": "int8"} if name.startswith("post") else {})
    assert [weight.layer for weight in entry.weights_of(facts_of(model), params)] == ["dense"]


@pytest.mark.parametrize("after_training", [True, False], ids=["quantizer", "converter"])
def test_a_one_hot_encoding_in_int8_is_zeros_and_a_one(after_training: bool) -> None:
    tf = tensorflow()
    inputs = keras2().Input((8,))
    model = keras2().Model(inputs, tf.one_hot(tf.argmax(keras2().layers.Dense(8)(inputs), axis=-1), 8))
    samples = SAMPLES[:, 0, 0]
    conversion = Conversion("int8", representative_samples=8, after_training=after_training)
    answers = predict(convert(model, conversion, [samples]), [samples])[0]
    assert set(np.round(answers, 2).ravel()) == {0.0, 1.0}


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
def test_categories_are_encoded_as_keras_does(mode: str) -> None:
    layers = keras2().layers
    inputs = keras2().Input((1 if mode == "one_hot" else 3,))
    model = keras2().Model(inputs, layers.CategoryEncoding(num_tokens=5, output_mode=mode)(inputs))
    samples = np.array([[0, 1, 1], [4, 4, 4], [2, 0, 3]], "float32")[:, : inputs.shape[1]]
    np.testing.assert_array_equal(predict(convert(model, Conversion()), [samples])[0], model(samples))


def test_trained_ranges_give_way_where_the_converter_cannot_join_them_with_its_own() -> None:
    layers = keras2().layers
    inputs = keras2().Input((8,))
    joined = layers.Concatenate(name="joined")(
        [layers.Dense(8, name="first")(inputs), layers.Dense(8, activation="elu")(inputs)]
    )
    model = keras2().Model(inputs, layers.Dense(2, name="head")(joined))
    samples = SAMPLES[:, 0, 0]
    trained = quantization_aware(model, WeightScheme(dict.fromkeys(("first", "joined", "head"), 8), True, "min_max"))
    set_activation_ranges(trained, model, [samples])
    answers = predict(convert(trained, Conversion("int8", representative_samples=8), [samples]), [samples])[0]
    np.testing.assert_allclose(answers, model(samples), atol=0.3)


def test_training_knows_the_sizes_of_its_inputs() -> None:
    layers = keras2().layers
    inputs = keras2().Input((6, 6, 8))
    x = layers.LayerNormalization(axis=[1, 2, 3])(layers.Conv2D(4, 3)(layers.GroupNormalization(4)(inputs)))
    model = keras2().Model(inputs, layers.Dense(1)(layers.Flatten()(x)))
    model.compile("sgd", "mse")

    class Batches(keras2().utils.Sequence):  # type: ignore[misc]
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Any:
            return SAMPLES, np.zeros((8, 1), "float32")

    with known_shapes(model):
        model.fit(Batches(), validation_data=Batches(), verbose=0)
    assert "train_step" not in vars(model)
