"""Tensors of exported files have short names that lead to their layers, and packing a file anew keeps what it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intake.keras_env import keras2
from measure.compact_regions import regions_of
from measure.conversion import Conversion, NumberFormat
from measure.export import convert
from measure.flatbuffer import ALIGNMENT_BYTES, can_be_packed, packed, unpacked
from measure.litert import predict
from measure.tensor_names import with_short_names
from measure.weights import of_layer, read_weights
from tests.conftest import EasyData

FORMATS: tuple[NumberFormat, ...] = ("float32", "float16", "dynamic_range", "int8")


def awkwardly_named() -> Any:
    """Layers named as a number, as another one with a number, with a slash; a BatchNormalization that is folded."""
    layers = keras2().layers
    inputs = keras2().Input((8, 8, 1))
    x = layers.Conv2D(6, 3, use_bias=False, name="1")(inputs)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(x))
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="block/conv")(x)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="block/conv_1")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(40, activation="relu", name="dense")(x)
    x = layers.Dense(40, activation="relu", name="dense_1")(x)
    return keras2().Model(inputs, layers.Dense(3, activation="softmax", name="head")(x))


def exported(model: Any, number_format: NumberFormat, data: EasyData) -> bytes:
    samples = 16 if number_format == "int8" else 0
    return convert(
        model,
        Conversion(number_format, representative_samples=samples, after_training=True),
        data.representative(16, 0),
    )


@pytest.mark.parametrize("number_format", FORMATS)
def test_names_are_layers_and_lead_to_their_kernels(number_format: NumberFormat, easy_data: EasyData) -> None:
    model = awkwardly_named()
    file = exported(model, number_format, easy_data)
    names = [tensor.name.decode() for graph in unpacked(file).subgraphs for tensor in graph.tensors]
    assert len(set(names)) == len(names)
    assert not any("/Conv2D" in name or "MatMul" in name or name.startswith(f"{model.name}/") for name in names)
    tensors = read_weights(file)
    for layer in model.layers:
        kernels = [weight for weight in layer.weights if len(weight.shape) >= 2]
        for kernel in kernels:
            found = of_layer(tensors, layer.name, int(np.prod(kernel.shape)))
            assert found is not None
            assert layer.name in found.name.split(";")


@pytest.mark.parametrize("number_format", ["float32", "dynamic_range"])
def test_names_are_unique_in_a_file_with_loops(number_format: NumberFormat, easy_data: EasyData) -> None:
    layers = keras2().layers
    inputs = keras2().Input((8, 4))
    x = layers.GRU(12, return_sequences=True, name="gru")(layers.Masking()(inputs))
    model = keras2().Model(inputs, layers.Dense(3, name="head")(layers.LSTM(16, name="lstm")(x)))
    graphs = unpacked(convert(model, Conversion(number_format, after_training=True))).subgraphs
    assert len(graphs) > 1
    names = [tensor.name.decode() for graph in graphs for tensor in graph.tensors]
    assert len(set(names)) == len(names)
    assert "lstm" in {name.split("#")[0] for name in names}


@pytest.mark.parametrize("number_format", FORMATS)
def test_naming_and_packing_change_no_answer(number_format: NumberFormat, easy_data: EasyData) -> None:
    model = awkwardly_named()
    file = exported(model, number_format, easy_data)
    again = with_short_names(file, model, is_final=number_format != "float32")
    assert again == file
    inputs = [easy_data.x_test[:8]]
    np.testing.assert_array_equal(predict(packed(unpacked(file)), inputs)[0], predict(file, inputs)[0])
    if number_format == "float32":
        np.testing.assert_allclose(predict(file, inputs)[0], model.predict(inputs[0], verbose=0), atol=1e-5)


@pytest.mark.parametrize("number_format", FORMATS)
def test_contents_are_aligned_and_only_one_buffer_is_empty(number_format: NumberFormat, easy_data: EasyData) -> None:
    file = exported(awkwardly_named(), number_format, easy_data)
    buffers = unpacked(file).buffers
    assert buffers[0].data is None or not len(buffers[0].data)
    assert all(len(buffer.data) for buffer in buffers[1:])
    kernels = [region for region in regions_of(file) if region.is_float or region.width != 32]
    assert kernels
    assert all(region.start % ALIGNMENT_BYTES == 0 for region in kernels)


def test_a_file_whose_contents_stand_behind_it_is_left_as_it_is(easy_data: EasyData) -> None:
    content = unpacked(exported(awkwardly_named(), "float32", easy_data))
    assert can_be_packed(content)
    content.buffers[1].offset = 4096
    assert not can_be_packed(content)
