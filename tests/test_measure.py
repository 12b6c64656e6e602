"""Sizes and weights are read from the exported file."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake.keras_env import keras2
from measure.export import Conversion, convert
from measure.layers import tensor_rows
from measure.litert import latency_ms, predict
from measure.packed_files import packed_files
from measure.quantizer import LEAST_WEIGHTS
from measure.sizes import gzip_bytes, measure_sizes
from measure.weights import WeightTensor, of_layer, read_weights
from tests.awkward_models import AWKWARD
from tests.conftest import EasyData, dense_model


def tensor(values: list[Any], dtype: str = "float32", zero_points: tuple[int, ...] = ()) -> WeightTensor:
    array = np.asarray(values)
    return WeightTensor("t", dtype, array, array.nbytes, np.asarray(zero_points, np.int64), 0)


def test_zeros_are_counted_at_the_zero_point_of_each_channel() -> None:
    weights = tensor([[3, 3, 1], [0, 5, 5]], "int8", (3, 5))
    assert weights.nonzero == 2
    assert weights.zero_share == pytest.approx(4 / 6)


def test_distinct_values_per_channel_differ_from_those_of_the_tensor() -> None:
    weights = tensor([[1.0, 2.0, 2.0], [10.0, 20.0, 20.0]])
    assert (weights.distinct, weights.distinct_per_channel) == (4, 2)


def test_entropy_of_a_fair_coin_is_one_bit_a_weight() -> None:
    assert tensor([0.0, 1.0, 0.0, 1.0]).entropy_bits == pytest.approx(4)
    assert tensor([7.0, 7.0]).entropy_bits == 0


def test_every_weight_of_the_keras_model_is_found_in_the_file() -> None:
    model = dense_model()
    model.set_weights([np.random.default_rng(0).normal(size=weight.shape) for weight in model.get_weights()])
    tensors = read_weights(convert(model, Conversion()))
    assert sum(entry.size for entry in tensors) == model.count_params()
    for name in ("hidden", "head"):
        kernel = model.get_layer(name).kernel.numpy()
        found = of_layer(tensors, name, kernel.size)
        assert found is not None
        np.testing.assert_array_equal(found.values, kernel.T)


def test_channels_are_the_outputs_of_each_kind_of_layer() -> None:
    layers = keras2().layers
    inputs = keras2().Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, name="depthwise")(inputs)
    model = keras2().Model(inputs, layers.Conv2D(1, 3, name="single")(x))
    tensors = [entry for entry in read_weights(convert(model, Conversion())) if entry.values.ndim == 4]
    axes = {("depthwise" in entry.name): entry.channel_axis for entry in tensors}
    assert axes == {True: 3, False: 0}


@pytest.mark.parametrize(("number_format", "dtype"), [("float32", "float32"), ("float16", "float16"), ("int8", "int8")])
def test_dtype_is_the_one_asked_for(number_format: Any, dtype: str, trained_model: Any, easy_data: EasyData) -> None:
    conversion = Conversion(number_format=number_format, representative_samples=20)
    tensors = read_weights(convert(trained_model, conversion, [easy_data.x[:20]]))
    assert {entry.dtype for entry in tensors if entry.values.ndim >= 2} == {dtype}


def test_integer_inputs_and_outputs_are_scaled_for_the_caller(trained_model: Any, easy_data: EasyData) -> None:
    floats = predict(convert(trained_model, Conversion()), [easy_data.x_test])[0]
    whole = Conversion(number_format="int8", io_dtype="int8", representative_samples=100)
    integers = predict(convert(trained_model, whole, [easy_data.x[:100]]), [easy_data.x_test])[0]
    assert (floats.argmax(1) == integers.argmax(1)).mean() > 0.95
    assert np.abs(floats - integers).max() < 0.3


def test_batches_and_single_samples_answer_alike(trained_model: Any, easy_data: EasyData) -> None:
    tflite = convert(trained_model, Conversion())
    batched, single = predict(tflite, [easy_data.x_test], 32)[0], predict(tflite, [easy_data.x_test], 1)[0]
    np.testing.assert_allclose(batched, single, atol=1e-5)
    np.testing.assert_allclose(batched, trained_model.predict(easy_data.x_test, verbose=0), atol=1e-5)


def test_int8_without_samples_is_our_mistake(trained_model: Any) -> None:
    with pytest.raises(ValueError, match="representative"):
        convert(trained_model, Conversion(number_format="int8"))


def test_sizes_are_those_of_the_files(tmp_path: Path, trained_model: Any) -> None:
    tflite = convert(trained_model, Conversion())
    uploaded = tmp_path / "model.h5"
    uploaded.write_bytes(b"x" * 1000)
    packed = packed_files(tflite)
    sizes = measure_sizes(tflite, packed, read_weights(tflite), uploaded)
    assert sizes.tflite_bytes == len(tflite)
    assert sizes.gzip_bytes == gzip_bytes(tflite) == len(gzip.compress(tflite, 9, mtime=0))
    assert (sizes.zstd_bytes, sizes.xz_bytes) == (len(packed["model.tflite.zst"]), len(packed["model.tflite.xz"]))
    assert sizes.compact_bytes == len(packed["model.tarec"])
    assert sizes.uploaded_format_bytes == 1000
    assert sizes.uploaded_format_gzip_bytes < 100
    assert 0 < sizes.nonzero_parameters <= sizes.parameters
    assert sizes.entropy_floor_bytes <= sizes.tflite_bytes


def test_tensor_rows_are_largest_first(trained_model: Any) -> None:
    rows = tensor_rows(read_weights(convert(trained_model, Conversion())))
    assert [row.stored_bytes for row in rows] == sorted((row.stored_bytes for row in rows), reverse=True)


def test_latency_is_a_positive_time(trained_model: Any, easy_data: EasyData) -> None:
    assert 0 < latency_ms(convert(trained_model, Conversion()), [easy_data.x[:1]]) < 1000


def test_inputs_and_outputs_keep_the_order_of_the_model() -> None:
    layers = keras2().layers
    first, second = keras2().Input((4,), name="zebra"), keras2().Input((3,), name="ant")
    outputs = [layers.Dense(2, name="zone")(first), layers.Dense(5, name="area")(second)]
    model = keras2().Model([first, second], outputs)
    random = np.random.default_rng(0)
    inputs = [random.normal(size=(6, 4)).astype(np.float32), random.normal(size=(6, 3)).astype(np.float32)]
    for answer, wanted in zip(predict(convert(model, Conversion()), inputs), model.predict(inputs), strict=True):
        np.testing.assert_allclose(answer, wanted, atol=1e-5)


@pytest.mark.parametrize("number_format", ["dynamic_range", "float16", "int8"])
def test_layers_that_are_left_as_they_are_stay_float(
    number_format: Any, trained_model: Any, easy_data: EasyData
) -> None:
    conversion = Conversion(
        number_format=number_format, representative_samples=20, float_layers=("hidden",), after_training=True
    )
    tflite = convert(trained_model, conversion, [easy_data.x[:20]])
    tensors = read_weights(tflite)
    hidden = of_layer(tensors, "hidden", trained_model.get_layer("hidden").kernel.shape.num_elements())
    assert hidden is not None
    assert hidden.dtype == "float32"
    least = LEAST_WEIGHTS if number_format == "dynamic_range" else 1
    others = [entry for entry in tensors if entry.values.ndim >= 2 and entry.size >= least and entry is not hidden]
    assert "float32" not in {entry.dtype for entry in others}
    answers = predict(tflite, [easy_data.x_test])[0]
    assert (answers.argmax(1) == easy_data.y_test).mean() > 0.9


def test_a_kernel_is_told_from_a_state_of_its_size_and_from_those_of_other_layers() -> None:
    def named(name: str, shape: tuple[int, ...]) -> WeightTensor:
        return WeightTensor(name, "float32", np.zeros(shape), 0, np.zeros(0, np.int64), 0)

    state, kernel = named("gru#1", (15, 1, 24)), named("gru#2", (72, 5))
    assert of_layer([state, kernel], "gru", 360, (5, 72)) is kernel
    assert of_layer([kernel, state], "gru", 360, (5, 72)) is kernel
    nameless, other = named("arith.constant", (4, 9)), named("gru#2", (6, 6))
    assert of_layer([nameless], "lstm", 36, (4, 9), {"gru"}) is nameless
    assert of_layer([other], "lstm", 36, (4, 9), {"gru"}) is None


def test_a_state_that_cannot_be_reset_is_made_anew() -> None:
    model = AWKWARD["encoder and decoder"]()
    inputs = [np.random.default_rng(number).normal(size=(6, 7 - 2 * number, 4)).astype(np.float32) for number in (1, 2)]
    answers = predict(convert(model, Conversion()), inputs)[0]
    np.testing.assert_allclose(answers, model.predict(inputs, verbose=0), atol=1e-5)
