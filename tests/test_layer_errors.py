"""Layer by layer: how far outputs are from the original's, how many bytes weights take, which values they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intake.keras_env import keras2
from measure.conversion import Conversion, WeightQuantization
from measure.export import convert
from measure.layer_bytes import layer_bytes
from measure.layer_errors import SAME_DB, LayerError, layer_errors
from measure.weight_histograms import weight_histogram
from measure.weights import WeightTensor, of_layer, read_weights
from optimizers import facts_of
from optimizers.recipe import Recipe, RecipeStep
from optimizers.technique import clone_with_weights
from runs.layer_outcomes import LayerOutcome, layer_outcomes
from tests.conftest import EasyData
from tests.test_agreement import two_by_two
from tests.test_tensor_names import awkwardly_named
from ui.run_layers import error_sentence, reasons_table, stored_table
from ui.run_weights import weights_figure, weights_sentence

QUANTIZED: dict[str, Conversion] = {
    "float16": Conversion("float16", after_training=True),
    "dynamic_range": Conversion("dynamic_range", after_training=True),
    "weight_only": Conversion("weight_only", after_training=True),
    "int8": Conversion("int8", representative_samples=16, after_training=True),
    "int16": Conversion("int8_weights_int16_activations", representative_samples=16, after_training=True),
    "int4": Conversion("dynamic_range", after_training=True, weights=WeightQuantization(bits=4)),
    "int4_blocks": Conversion("dynamic_range", after_training=True, weights=WeightQuantization(bits=4, block_size=32)),
}


@pytest.fixture(scope="module")
def model() -> Any:
    keras2().utils.set_random_seed(0)
    made, random = awkwardly_named(), np.random.default_rng(0)
    for layer in made.layers:  # biases that are all zeros are stored once for several layers
        layer.set_weights(
            [weight if weight.ndim > 1 else random.uniform(0.1, 0.2, weight.shape) for weight in layer.get_weights()]
        )
    return made


@pytest.fixture(scope="module")
def floats(model: Any) -> bytes:
    return convert(model, Conversion())


def exported(model: Any, floats: bytes, kind: str, data: EasyData) -> bytes:
    return convert(model, QUANTIZED[kind], data.representative(16, 0), floats)


@pytest.mark.parametrize("kind", sorted(QUANTIZED))
def test_every_layer_that_computes_has_an_error(model: Any, floats: bytes, kind: str, easy_data: EasyData) -> None:
    found = layer_errors(floats, exported(model, floats, kind, easy_data), [easy_data.x_test], ["head"])
    assert {"1", "relu", "block/conv", "block/conv_1", "dense", "dense_1", "head"} <= set(found)
    assert found["1"] == found["relu"]  # computed together
    assert 5 < found["head"].sqnr_db < SAME_DB
    assert 0.9 < found["head"].cosine <= 1


def test_a_file_has_no_error_against_itself(floats: bytes, easy_data: EasyData) -> None:
    found = layer_errors(floats, floats, [easy_data.x_test], ["head"])
    assert {error.sqnr_db for error in found.values()} == {SAME_DB}
    assert all(error.cosine == pytest.approx(1) for error in found.values())


def test_the_error_is_that_of_the_layer_and_of_what_came_before(model: Any, floats: bytes, easy_data: EasyData) -> None:
    changed = clone_with_weights(model)
    layer = changed.get_layer("dense")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel * 1.1, bias * 1.1])
    found = layer_errors(floats, convert(changed, Conversion()), [easy_data.x_test], ["head"])
    assert found["block/conv_1"].sqnr_db == SAME_DB
    assert found["dense"].sqnr_db == pytest.approx(20, abs=0.1)  # a tenth of the amplitude
    assert found["dense"].cosine == pytest.approx(1)
    assert found["dense_1"].sqnr_db < SAME_DB


def test_several_inputs_and_outputs_are_told_apart() -> None:
    keras2().utils.set_random_seed(0)
    model = two_by_two()
    floats = convert(model, Conversion())
    random = np.random.default_rng(0)
    samples = [random.normal(size=(4, 3)).astype(np.float32), random.integers(0, 9, (4, 2)).astype(np.float32)]
    small = convert(model, QUANTIZED["weight_only"], samples, floats)
    found = layer_errors(floats, small, samples, model.output_names)
    assert set(model.output_names) <= set(found)


def test_recurrent_layers_are_measured_where_they_have_a_tensor() -> None:
    layers = keras2().layers
    given = keras2().Input((6, 4))
    model = keras2().Model(given, layers.Dense(3, name="head")(layers.LSTM(8, name="memory")(given)))
    floats = convert(model, Conversion())
    samples = [np.random.default_rng(0).normal(size=(4, 6, 4)).astype(np.float32)]
    found = layer_errors(floats, convert(model, QUANTIZED["weight_only"], samples, floats), samples, ["head"])
    assert found["head"].sqnr_db < SAME_DB


def test_a_file_that_litert_cannot_run_has_no_errors(floats: bytes, easy_data: EasyData) -> None:
    assert layer_errors(floats, b"no file", [easy_data.x_test], ["head"]) == {}


def test_bytes_of_layers_add_up_to_those_of_the_weights(model: Any, floats: bytes, easy_data: EasyData) -> None:
    for file in (floats, exported(model, floats, "int8", easy_data)):
        tensors = read_weights(file)
        found = layer_bytes(tensors)
        assert set(found) == {"1", "block/conv", "block/conv_1", "dense", "dense_1", "head"}
        assert sum(found.values()) == sum(tensor.stored_bytes for tensor in tensors)
    assert layer_bytes(read_weights(floats))["dense_1"] == 4 * (40 * 40 + 40)


@pytest.mark.parametrize("kind", ["float16", "int8", "int4"])
def test_real_values_are_near_those_before(model: Any, floats: bytes, kind: str, easy_data: EasyData) -> None:
    small = read_weights(exported(model, floats, kind, easy_data))
    for name, size in (("dense_1", 1600), ("block/conv", 324)):
        before, after = of_layer(read_weights(floats), name, size), of_layer(small, name, size)
        assert before is not None
        assert after is not None
        assert after.real_values is not None
        step = np.abs(before.values).max() / (7 if kind == "int4" else 127)
        assert np.abs(after.real_values - before.values).max() <= step


def tensor_of(values: Any, **changed: Any) -> WeightTensor:
    given: dict[str, Any] = {"name": "dense", "dtype": "float32", "values": np.asarray(values, np.float32)}
    given |= {"stored_bytes": 4, "zero_points": np.empty(0, np.int64), "channel_axis": 0}
    return WeightTensor(**{**given, **changed})


def test_histogram_leaves_zeros_out_and_keeps_few_values() -> None:
    before, after = tensor_of([[-1.0, 0.5, 0.25, 1.0]]), tensor_of([[-1.0, 0.0, 0.0, 1.0]])
    histogram = weight_histogram(after, before)
    assert (histogram.low, histogram.high) == (-1.0, 1.0)
    assert (sum(histogram.before), sum(histogram.after)) == (1.0, 0.5)
    assert (histogram.zeros_before, histogram.zeros_after) == (0.0, 0.5)
    assert histogram.values == ((-1.0, 0.25), (1.0, 0.25))


def test_histogram_of_many_values_keeps_only_the_bins() -> None:
    values = np.random.default_rng(0).normal(size=(30, 100))
    histogram = weight_histogram(tensor_of(values), None)
    assert (histogram.values, histogram.before, histogram.zeros_before) == ((), (), None)
    assert sum(histogram.after) == pytest.approx(1, abs=1e-4)


def in_blocks() -> tuple[WeightTensor, WeightTensor]:
    """A kernel whose blocks of 32 weights have scales of their own, and what it was before."""
    given = keras2().Input((64,))
    model = keras2().Model(given, keras2().layers.Dense(48, name="dense")(given))
    floats = convert(model, Conversion())
    pair = [
        of_layer(read_weights(file), "dense", 64 * 48) for file in (convert(model, QUANTIZED["int4_blocks"]), floats)
    ]
    assert pair[0] is not None
    assert pair[1] is not None
    return pair[0], pair[1]


def test_blocks_with_scales_of_their_own_are_shown_as_stored() -> None:
    histogram = weight_histogram(*in_blocks())
    assert histogram.is_as_stored
    assert histogram.before == ()
    assert {value for value, _ in histogram.values} <= set(range(-8, 8))
    kernel = tensor_of(np.asarray([[2, 4]], np.int8), dtype="int8", scales=np.asarray([0.5], np.float32))
    assert not weight_histogram(kernel, None).is_as_stored


def outcomes(model: Any, floats: bytes, kind: str, data: EasyData) -> tuple[Recipe, tuple[LayerOutcome, ...]]:
    recipe = Recipe.single("post_training_quantization", {"mode": "dynamic_range"})
    small = exported(model, floats, kind, data)
    errors = layer_errors(floats, small, [data.x_test], ["head"])
    return recipe, layer_outcomes(recipe, facts_of(model), read_weights(small), read_weights(floats), errors)


def test_the_layer_table_has_bytes_values_and_errors(model: Any, floats: bytes, easy_data: EasyData) -> None:
    recipe, layers = outcomes(model, floats, "dynamic_range", easy_data)
    table = stored_table(recipe, layers).set_index("Layer")
    assert table.loc["dense", "Bytes before"] == 4 * (40 * 216 + 40)
    assert table.loc["dense", "Bytes now"] == 40 * 216 + 4 * 40
    assert 0 < table.loc["dense", "Distinct values"] <= 255
    assert table.loc["block/conv", "SQNR, dB"] == SAME_DB
    assert table.loc["dense_1", "SQNR, dB"] < 60
    bare = layer_outcomes(recipe, facts_of(model), [])
    assert "SQNR, dB" not in stored_table(recipe, bare)


def test_the_layers_of_a_baseline_are_told_without_steps(model: Any, floats: bytes) -> None:
    layers = layer_outcomes(Recipe(), facts_of(model), read_weights(floats))
    table = stored_table(Recipe(), layers).set_index("Layer")
    assert table.loc["dense", "Bytes"] == 4 * (40 * 216 + 40)
    assert table.loc["dense", "Stored as"] == "float32"
    assert not {"Bytes before", "Bytes now", "SQNR, dB"} & set(table)
    assert list(reasons_table(Recipe(), layers)) == ["Layer"]


def test_every_step_says_what_it_did_and_why(model: Any) -> None:
    recipe = Recipe.checked([RecipeStep(technique="pruning"), RecipeStep(technique="post_training_quantization")])
    table = reasons_table(recipe, layer_outcomes(recipe, facts_of(model), []))
    assert list(table) == ["Layer", "Pruning", "Post-training quantization"]
    row = table.set_index("Layer").loc["dense"]
    assert row["Pruning"] == "✓ 80% of its kernel become zero."
    assert row["Post-training quantization"].startswith("✓ ")
    assert all(len(text) > 10 for text in table["Pruning"])


def test_the_furthest_layer_is_named() -> None:
    def one(name: str, sqnr_db: float | None) -> LayerOutcome:
        error = None if sqnr_db is None else LayerError(sqnr_db=sqnr_db, cosine=1.0)
        return LayerOutcome(
            layer=name, class_name="Dense", parameters=4, treatments=(), left_by_choice=False, error=error
        )

    said = error_sentence((one("a", 150.0), one("b", 40.0), one("c", None), one("d", 24.0), one("e", 25.0)))
    assert said == "Furthest from the original is what d puts out: 24.0 dB of signal to noise."
    assert error_sentence((one("a", 150.0), one("b", 150.0))) == error_sentence((one("a", None),)) == ""


@pytest.mark.parametrize("kind", ["int8", "blocks"])
def test_weights_are_drawn_as_bars_or_as_their_few_values(kind: str) -> None:
    values = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    histogram = weight_histogram(*(in_blocks() if kind == "blocks" else (tensor_of(values), tensor_of(values))))
    outcome = LayerOutcome(
        layer="dense", class_name="Dense", parameters=9, treatments=(), left_by_choice=False, dtype=kind, distinct=15
    )
    names = [trace.name for trace in weights_figure(histogram).data if trace.name]
    assert names == (
        [f"now, {len(histogram.values)} values beside 0"] if kind == "blocks" else ["before, float32", "now"]
    )
    said = weights_sentence(histogram, outcome)
    assert f"15 different values are stored, as {kind}." in said
    assert ("integers of the file" in said) == (kind == "blocks")


def test_a_padding_merged_into_a_convolution_does_not_own_its_kernel() -> None:
    kernel = tensor_of(np.ones((1, 3, 3, 2)), name="relu;bn;depthwise;pad", stored_bytes=72)  # as in MobileNetV2
    assert layer_bytes([kernel], {"depthwise", "bn"}) == {"depthwise": 72}
    assert layer_bytes([kernel]) == {"pad": 72}
