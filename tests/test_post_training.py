"""Post-training quantization: each mode gives a file that runs, is what was asked for, and answers nearly as float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intake.errors import InvalidParams
from intake.keras_env import keras2
from measure.conversion import Conversion
from measure.export import convert
from measure.litert import predict
from measure.operations import operations_of
from measure.quantizer import EIGHT_BITS, FOUR_BITS, does_all
from measure.weights import layer_pattern, read_weights
from optimizers import facts_of
from optimizers.apply import Optimized, apply_recipe
from optimizers.recipe import Recipe
from runs.checks import check_layers
from tests.awkward_models import AWKWARD
from tests.conftest import MODELS, EasyData

QUANTIZE = "post_training_quantization"
WIDE, NARROW = 0.03, 0.12
"""Largest root mean square difference from the float32 file, as a share of its answers: 8 bits and more, and 4."""
MODES: dict[str, tuple[dict[str, Any], float]] = {
    "dynamic range": ({"mode": "dynamic_range"}, WIDE),
    "weights only": ({"mode": "weight_only"}, WIDE),
    "float16": ({"mode": "float16"}, WIDE),
    "int8": ({"mode": "int8"}, WIDE),
    "16x8": ({"mode": "int8_weights_int16_activations"}, WIDE),
    "dynamic range, 4 bits": ({"mode": "dynamic_range", "weight_bits": 4}, NARROW),
    "weights only, 4 bits": ({"mode": "weight_only", "weight_bits": 4}, NARROW),
    "int8, 4 bits": ({"mode": "int8", "weight_bits": 4}, NARROW),
    "16x4": ({"mode": "int8_weights_int16_activations", "weight_bits": 4}, NARROW),
    "blocks": ({"mode": "dynamic_range", "weight_bits": 4, "block_size": 32}, NARROW),
    "blocks by OCTAV": ({"mode": "dynamic_range", "weight_bits": 4, "block_size": 64, "algorithm": "OCTAV"}, NARROW),
    "MSE": ({"mode": "int8", "weight_bits": 4, "algorithm": "MSE"}, NARROW),
    "OCTAV per tensor": ({"mode": "dynamic_range", "algorithm": "OCTAV", "granularity": "per_tensor"}, WIDE),
    "integer inputs": ({"mode": "int8", "io_dtype": "int8", "weight_bits": 4}, NARROW),
    "unsigned inputs": ({"mode": "int8", "io_dtype": "uint8"}, WIDE),
}


def exported(model: Any, params: dict[str, Any], data: Any, floats: bytes) -> tuple[Optimized, bytes]:
    outcome = apply_recipe(model, Recipe.single(QUANTIZE, params), data, lambda *_: None, lambda *_: None)
    samples = data.representative(outcome.conversion.representative_samples or 1, 0)
    return outcome, convert(outcome.to_convert, outcome.conversion, samples, floats)


def missed(outcome: Optimized, tflite: bytes) -> list[Any]:
    tensors = read_weights(tflite)
    return [fact for claim in outcome.claims for fact in claim.verify(tensors) if fact.met is False]


def difference(answers: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    pairs = zip(answers, wanted, strict=True)
    return max(float(np.sqrt(np.mean((one - other) ** 2)) / np.sqrt(np.mean(other**2))) for one, other in pairs)


_FLOATS: dict[int, bytes] = {}


def float_file_of(model: Any) -> bytes:
    """Converted once for each model, as in a project."""
    if id(model) not in _FLOATS:
        _FLOATS[id(model)] = convert(model, Conversion())
    return _FLOATS[id(model)]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_keeps_its_claims_and_the_answers(mode: str, trained_model: Any, easy_data: EasyData) -> None:
    params, tolerance = MODES[mode]
    floats = float_file_of(trained_model)
    outcome, tflite = exported(trained_model, params, easy_data, floats)
    assert missed(outcome, tflite) == []
    assert len(tflite) < len(floats) * 0.65
    wanted = predict(floats, [easy_data.x_test])
    for batch_size in (1, 16):
        answers = predict(tflite, [easy_data.x_test], batch_size)
        assert difference(answers, wanted) < tolerance
    assert (answers[0].argmax(1) == easy_data.y_test).mean() > 0.9


class Noise:
    """Random samples for any model."""

    train_samples = 8

    def __init__(self, model: Any) -> None:
        random = np.random.default_rng(0)
        sizes = [layer.input_dim for layer in model.layers if isinstance(layer, keras2().layers.Embedding)]
        self.inputs = [
            random.integers(0, min(sizes, default=40), (8, *tensor.shape[1:])).astype(np.int32)
            if tensor.dtype.is_integer
            else random.normal(size=(8, *tensor.shape[1:])).astype(np.float32)
            for tensor in model.inputs
        ]

    def representative(self, count: int, seed: int) -> tuple[np.ndarray, ...]:
        """The first rows."""
        return tuple(array[:count] for array in self.inputs)


def volumes() -> Any:
    layers = keras2().layers
    inputs = keras2().Input((5, 5, 5, 2))
    return keras2().Model(inputs, layers.Dense(3)(layers.Flatten()(layers.Conv3D(24, 3, name="volume")(inputs))))


def table() -> Any:
    layers = keras2().layers
    inputs = keras2().Input((6,), dtype="int32")
    x = layers.Flatten()(layers.Embedding(64, 32, name="table")(inputs))
    return keras2().Model(inputs, layers.Dense(3, name="head")(layers.Dense(100, activation="relu")(x)))


def learn_a_sum(model: Any) -> None:
    """Teach the model of a number and a category: untrained, its answers are differences of nearly equal sums."""
    random = np.random.default_rng(0)
    number, category = random.normal(size=(512, 1)).astype(np.float32), random.integers(0, 12, (512, 1))
    total = number + category / 4
    model.compile("adam", ["binary_crossentropy", "mean_squared_error"])
    model.fit([number, category], [total > 1.5, total], epochs=20, batch_size=16, verbose=0)


HARD = {**AWKWARD, "volumes": volumes, "table": table}


@pytest.fixture(scope="module", params=sorted(HARD))
def hard(request: pytest.FixtureRequest) -> tuple[Any, Noise, bytes]:
    """A model with something that LiteRT's quantizer cannot do, and its float32 file."""
    keras2().utils.set_random_seed(0)
    model = HARD[request.param]()
    if request.param == "number and category":
        learn_a_sum(model)
    return model, Noise(model), convert(model, Conversion())


@pytest.mark.parametrize("mode", ["weights only", "16x8", "dynamic range, 4 bits", "int8, 4 bits", "blocks"])
def test_what_the_quantizer_cannot_do_stays_float_and_runs(mode: str, hard: tuple[Any, Noise, bytes]) -> None:
    model, data, floats = hard
    params, _ = MODES[mode]
    outcome, tflite = exported(model, params, data, floats)
    assert missed(outcome, tflite) == []
    assert difference(predict(tflite, data.inputs), predict(floats, data.inputs)) < 0.2


@pytest.mark.parametrize(("build", "mode"), [(table, "dynamic_range"), (volumes, "float16")])
def test_what_the_quantizer_cannot_do_is_left_to_the_converter(build: Any, mode: Any) -> None:
    model = build()
    floats = convert(model, Conversion())
    conversion = Conversion(number_format=mode, after_training=True)
    assert not does_all(floats, conversion)
    tensors = read_weights(convert(model, conversion, None, floats))
    kept = [tensor for tensor in tensors if tensor.values.ndim >= 2 and tensor.dtype == "float32"]
    assert max((tensor.size for tensor in kept), default=0) < 1024


def test_kernels_are_in_the_operations_that_their_layers_tell(hard: tuple[Any, Noise, bytes]) -> None:
    model, _, floats = hard
    found = operations_of(floats)
    for layer in facts_of(model):
        for kernel in layer.kernels:
            codes = {
                operation.code
                for operation in found
                for constant in operation.kernels
                if constant.size == kernel.size and layer_pattern(layer.name).search(constant.name)
            }
            assert not codes or not kernel.operation or kernel.operation in codes


def test_the_float_file_is_enough(trained_model: Any, easy_data: EasyData, monkeypatch: pytest.MonkeyPatch) -> None:
    floats = float_file_of(trained_model)
    monkeypatch.setattr("measure.export._by_converter", lambda *_: pytest.fail("the model was converted"))
    conversion = Conversion(number_format="int8", after_training=True, representative_samples=20)
    tflite = convert(trained_model, conversion, [easy_data.x[:20]], floats)
    assert {tensor.dtype for tensor in read_weights(tflite) if tensor.values.ndim >= 2} == {"int8"}


def test_the_tables_of_operations_are_those_of_the_quantizer() -> None:
    from ai_edge_quantizer.algorithm_manager import is_op_registered
    from ai_edge_quantizer.default_policy import DEFAULT_CONFIG_CHECK_POLICY
    from ai_edge_quantizer.qtyping import TFLOperationName

    names = {"CONV_2D_TRANSPOSE" if code == "TRANSPOSE_CONV" else code for code in EIGHT_BITS}
    bits = {
        name: {config.weight_tensor_config.num_bits for config in DEFAULT_CONFIG_CHECK_POLICY[TFLOperationName(name)]}
        for name in names
    }
    assert {name for name in names if 4 in bits[name]} == set(FOUR_BITS)
    assert all(8 in found for found in bits.values())
    for algorithm in ("min_max_uniform_quantize", "MSE", "OCTAV", "float_casting"):
        assert all(is_op_registered(algorithm, TFLOperationName(name)) for name in names)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"mode": "dynamic_range", "io_dtype": "int8"}, "`io_dtype` int8 is possible only with mode int8"),
        ({"mode": "float16", "weight_bits": 4}, "`weight_bits` 4 rounds weights to integers, but mode float16"),
        ({"mode": "float16", "algorithm": "MSE"}, "`algorithm` MSE rounds weights to integers, but mode float16"),
        ({"mode": "float16", "granularity": "per_tensor"}, "`granularity` per_tensor rounds weights to integers"),
        ({"block_size": 32}, "`block_size` 32 is possible only with weight_bits 4, got 8"),
        ({"mode": "int8", "weight_bits": 4, "block_size": 32}, "only with mode dynamic_range, got int8"),
        ({"weight_bits": 4, "block_size": 32, "algorithm": "MSE"}, "has no MSE scales"),
        ({"weight_bits": 4, "block_size": 32, "granularity": "per_tensor"}, "gives each block a scale"),
    ],
)
def test_what_litert_has_no_file_for_is_refused(params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidParams, match=sentence):
        Recipe.single(QUANTIZE, params)


def test_integers_in_and_out_of_a_loop_are_refused_before_anything_runs() -> None:
    model = AWKWARD["answer and state"]()
    recipe = Recipe.single(QUANTIZE, {"mode": "int8", "io_dtype": "uint8"})
    with pytest.raises(InvalidParams, match="`io_dtype` uint8 needs a model without loops"):
        check_layers(recipe, facts_of(model))
    check_layers(Recipe.single(QUANTIZE, {"mode": "int8"}), facts_of(model))


def test_blocks_are_refused_where_the_quantizer_has_none() -> None:
    from ai_edge_quantizer.default_policy import DEFAULT_CONFIG_CHECK_POLICY
    from ai_edge_quantizer.qtyping import ComputePrecision, TFLOperationName

    blocks = [
        config
        for config in DEFAULT_CONFIG_CHECK_POLICY[TFLOperationName.FULLY_CONNECTED]
        if "BLOCKWISE" in str(config.weight_tensor_config.granularity)
    ]
    assert blocks
    assert {config.compute_precision for config in blocks} == {ComputePrecision.INTEGER}
    assert {config.activation_tensor_config for config in blocks} == {None}, "dynamic range only"


def test_four_bits_are_told_of_each_layer_beforehand() -> None:
    from optimizers import technique

    entry = technique(QUANTIZE)
    params = entry.Params.checked({"weight_bits": 4})
    found = {one.layer: one for one in entry.treatments(facts_of(table()), params)}
    assert found["head"].weights[0].dtype == "int4"
    assert found["table"].verdict == "left"
    assert "GATHER" in found["table"].reason


def test_models_of_the_suite_need_no_second_conversion() -> None:
    for build in MODELS.values():
        floats = convert(build(), Conversion())
        for mode in ("dynamic_range", "float16", "int8"):
            assert does_all(floats, Conversion(number_format=mode, after_training=True))
