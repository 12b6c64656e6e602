"""What is said of a run before it: the plan of a model, its estimated sizes, and what the service refuses early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake.errors import DoesNotFit, InvalidParams
from measure.export import Conversion, convert
from measure.sizes import gzip_bytes
from measure.weights import read_weights
from optimizers import TECHNIQUES, facts_of
from optimizers.apply import apply_recipe
from optimizers.estimate import EstimatedSizes, SizeEstimator
from optimizers.kernel_samples import from_bytes, sample_kernels, to_bytes
from optimizers.layer_facts import KernelFacts, LayerFacts
from optimizers.recipe import Recipe
from optimizers.technique import Technique, clone_with_weights
from runs.checks import check_layers
from runs.paths import prepared_folder
from runs.plan import PLAN_FILE, ModelPlan, ensure_plan, float_file, stored_plan
from runs.service import Service
from runs.settings import Settings
from tests.conftest import CLASSES, EasyData, convolutional_model

every_technique = pytest.mark.parametrize("entry", TECHNIQUES, ids=lambda entry: entry.name)


def trained(data: EasyData) -> Any:
    """The convolutional model, wide enough that weights and not names make up the file."""
    from intake.keras_env import keras2

    layers = keras2().layers
    keras2().utils.set_random_seed(0)
    inputs = keras2().Input((8, 8, 1))
    x = layers.Conv2D(24, 3, use_bias=False, name="conv")(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Flatten(name="flat")(layers.ReLU(name="relu")(x))
    x = layers.Dense(64, activation="relu", name="hidden")(x)
    model = keras2().Model(inputs, layers.Dense(CLASSES, activation="softmax", name="head")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, epochs=3, verbose=0)
    return model


@pytest.fixture(scope="module")
def planned(easy_data: EasyData) -> tuple[Any, bytes, SizeEstimator]:
    """A model, its float32 file and its estimator, which has seen what is stored and nothing else."""
    model = trained(easy_data)
    tflite = convert(clone_with_weights(model), Conversion())
    layers = facts_of(model)
    samples = from_bytes(to_bytes(sample_kernels(model, read_weights(tflite))), layers)
    sizes = EstimatedSizes(tflite_bytes=len(tflite), gzip_bytes=gzip_bytes(tflite))
    return model, tflite, SizeEstimator(layers, sizes, samples)


def test_a_recipe_without_steps_weighs_what_the_float_file_weighs(planned: tuple[Any, bytes, SizeEstimator]) -> None:
    _, tflite, estimator = planned
    assert estimator.estimate(Recipe()) == EstimatedSizes(tflite_bytes=len(tflite), gzip_bytes=gzip_bytes(tflite))


@every_technique
def test_everything_left_as_it_is_weighs_what_the_float_file_weighs(
    entry: Technique, planned: tuple[Any, bytes, SizeEstimator]
) -> None:
    model, tflite, estimator = planned
    names = [layer.name for layer in facts_of(model)]
    found = estimator.estimate(Recipe.single(entry.name, {"leave_as_is": names}))
    assert found.tflite_bytes == pytest.approx(len(tflite), rel=0.02)
    assert found.gzip_bytes == pytest.approx(gzip_bytes(tflite), rel=0.02)


@every_technique
def test_an_estimate_is_close_to_what_is_measured(
    entry: Technique, planned: tuple[Any, bytes, SizeEstimator], easy_data: EasyData
) -> None:
    model, _, estimator = planned
    recipe = Recipe.single(entry.name)
    outcome = apply_recipe(model, recipe, easy_data, lambda *_: None, lambda *_: None)
    count = outcome.conversion.representative_samples
    measured = convert(outcome.to_convert, outcome.conversion, easy_data.representative(count, 0) if count else None)
    found = estimator.estimate(recipe)
    assert found.tflite_bytes == pytest.approx(len(measured), rel=0.05)
    assert found.gzip_bytes == pytest.approx(gzip_bytes(measured), rel=0.10)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [4, 2])
def test_an_estimate_of_few_bits_is_close_to_what_is_measured(
    bits: int, planned: tuple[Any, bytes, SizeEstimator], easy_data: EasyData
) -> None:
    model, _, estimator = planned
    recipe = Recipe.single("quantization_aware_training", {"weight_bits": bits})
    outcome = apply_recipe(model, recipe, easy_data, lambda *_: None, lambda *_: None)
    measured = convert(outcome.to_convert, outcome.conversion, easy_data.representative(64, 0))
    found = estimator.estimate(recipe)
    assert found.tflite_bytes == pytest.approx(len(measured), rel=0.05)
    assert found.gzip_bytes == pytest.approx(gzip_bytes(measured), rel=0.10)


@pytest.mark.parametrize(
    "params",
    [
        {"mode": "weight_only"},
        {"mode": "float16"},
        {"mode": "int8"},
        {"mode": "int8_weights_int16_activations"},
        {"mode": "dynamic_range", "weight_bits": 4},
        {"mode": "weight_only", "weight_bits": 4},
        {"mode": "int8", "weight_bits": 4},
        {"mode": "dynamic_range", "weight_bits": 4, "block_size": 32},
        {"mode": "dynamic_range", "weight_bits": 4, "algorithm": "OCTAV"},
        {"mode": "dynamic_range", "weight_bits": 4, "granularity": "per_tensor"},
        {"mode": "dynamic_range", "weight_bits": 4, "algorithm": "MSE", "granularity": "per_tensor"},
    ],
    ids=lambda params: ", ".join(map(str, params.values())),
)
def test_the_estimate_of_every_number_format_is_close(
    params: dict[str, Any], planned: tuple[Any, bytes, SizeEstimator], easy_data: EasyData
) -> None:
    model, tflite, estimator = planned
    recipe = Recipe.single("post_training_quantization", params)
    outcome = apply_recipe(model, recipe, easy_data, lambda *_: None, lambda *_: None)
    samples = easy_data.representative(outcome.conversion.representative_samples or 1, 0)
    measured = convert(outcome.to_convert, outcome.conversion, samples, tflite)
    found = estimator.estimate(recipe)
    assert found.tflite_bytes == pytest.approx(len(measured), rel=0.05)
    assert found.gzip_bytes == pytest.approx(gzip_bytes(measured), rel=0.10)


def test_sparse_zeros_weigh_what_the_file_says(easy_data: EasyData) -> None:
    model, random = clone_with_weights(trained(easy_data)), np.random.default_rng(0)
    for name in ("conv", "hidden"):
        kernel, *rest = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([kernel * (random.random(kernel.shape) > 0.8), *rest])
    floats, measured = convert(model, Conversion()), convert(model, Conversion(sparse=True))
    sizes = EstimatedSizes(tflite_bytes=len(floats), gzip_bytes=gzip_bytes(floats))
    estimator = SizeEstimator(facts_of(model), sizes, sample_kernels(model, read_weights(floats)))
    found = estimator.estimate(Recipe.single("pruning", {"sparse_encoding": True}))
    assert found.tflite_bytes == pytest.approx(len(measured), rel=0.05)
    assert found.gzip_bytes == pytest.approx(gzip_bytes(measured), rel=0.10)


def test_more_zeros_and_fewer_values_never_weigh_more(planned: tuple[Any, bytes, SizeEstimator]) -> None:
    estimator = planned[2]
    pruned = [
        estimator.estimate(Recipe.single("pruning", {"final_sparsity": share, "initial_sparsity": 0.1})).gzip_bytes
        for share in (0.2, 0.4, 0.6, 0.8, 0.95)
    ]
    clustered = [
        estimator.estimate(Recipe.single("clustering", {"number_of_clusters": count})).gzip_bytes
        for count in (256, 64, 16, 4, 2)
    ]
    assert pruned == sorted(pruned, reverse=True)
    assert clustered == sorted(clustered, reverse=True)


@pytest.mark.parametrize(
    ("technique", "params", "is_smaller_than"),
    [
        ("pruning", {"structure": "blocks"}, {}),
        ("pruning", {"layer_sparsity": {"hidden": 0.95}}, {}),
        ("pruning", {"structure": "m_by_n", "sparsity_m": 3}, {"structure": "m_by_n"}),
        ("pruning", {}, {"structure": "m_by_n"}),
        ("clustering", {"layer_number_of_clusters": {"hidden": 4}}, {}),
        ("clustering", {"number_of_clusters": 4}, {"number_of_clusters": 4, "cluster_per_channel": True}),
    ],
)
def test_an_estimate_follows_the_parameters(
    technique: str, params: Any, is_smaller_than: Any, planned: tuple[Any, bytes, SizeEstimator]
) -> None:
    smaller, larger = (
        planned[2].estimate(Recipe.single(technique, one)).gzip_bytes for one in (params, is_smaller_than)
    )
    assert smaller < larger


@pytest.mark.slow
@pytest.mark.parametrize(
    ("technique", "params"),
    [
        ("pruning", {"structure": "blocks", "block_height": 8}),
        ("pruning", {"structure": "m_by_n"}),
        ("clustering", {"layer_number_of_clusters": {"hidden": 4}}),
    ],
)
def test_an_estimate_is_close_with_other_parameters_too(
    technique: str, params: Any, planned: tuple[Any, bytes, SizeEstimator], easy_data: EasyData
) -> None:
    recipe = Recipe.single(technique, params, {"epochs": 1})
    outcome = apply_recipe(planned[0], recipe, easy_data, lambda *_: None, lambda *_: None)
    measured = convert(outcome.to_convert, outcome.conversion)
    assert planned[2].estimate(recipe).gzip_bytes == pytest.approx(gzip_bytes(measured), rel=0.10)


def test_a_second_technique_makes_the_first_one_smaller(planned: tuple[Any, bytes, SizeEstimator]) -> None:
    estimator = planned[2]
    first, second = Recipe.single("pruning"), Recipe.single("post_training_quantization")
    both = estimator.estimate(Recipe.checked([*first.steps, *second.steps]))
    assert both.gzip_bytes < min(estimator.estimate(first).gzip_bytes, estimator.estimate(second).gzip_bytes)
    assert both.tflite_bytes == estimator.estimate(second).tflite_bytes


def test_leaving_a_layer_as_it_is_gives_back_what_it_weighed(planned: tuple[Any, bytes, SizeEstimator]) -> None:
    estimator = planned[2]
    whole = estimator.estimate(Recipe.single("post_training_quantization", {"mode": "float16"}))
    without = estimator.estimate(
        Recipe.single("post_training_quantization", {"mode": "float16", "leave_as_is": ["hidden"]})
    )
    assert without.tflite_bytes - whole.tflite_bytes == pytest.approx(864 * 64 * 2, rel=0.02)


@every_technique
def test_a_simulation_keeps_the_shape_and_never_widens(entry: Technique) -> None:
    values = np.random.default_rng(0).normal(0, 1, (6, 50)).astype(np.float32)
    kernel = KernelFacts(name="kernel", size=300, shape=(50, 6), input_axis=0)
    layer = LayerFacts(name="hidden", class_name="Dense", parameters=300, kernels=(kernel,))
    found = entry.simulate(values.copy(), entry.Params(), layer, kernel)
    assert found.shape == values.shape
    assert found.dtype.itemsize <= values.dtype.itemsize
    assert (entry.simulate(np.zeros((3, 4), np.float32), entry.Params(), layer, kernel) == 0).all()


def test_samples_say_how_the_converter_turned_and_scaled_a_kernel(planned: tuple[Any, bytes, SizeEstimator]) -> None:
    model, tflite, _ = planned
    stored = {sample.name + sample.layer: sample for sample in sample_kernels(model, read_weights(tflite))}
    conv, dense = stored["kernelconv"], stored["kernelhidden"]
    assert (conv.channels, conv.size) == (24, 9 * 24)
    assert len({row[0] for row in conv.factor}) > 1  # the BatchNormalization is folded into it
    assert (dense.factor == 1).all()
    kernel = model.get_layer("hidden").get_weights()[0]
    assert np.array_equal(
        dense.values[1], kernel[: dense.values.shape[1], np.linspace(0, 63, len(dense.values)).astype(int)[1]]
    )
    assert dense.values.max() == kernel.max()


# --- the plan of an uploaded model --------------------------------------------------------------------------------


def test_a_plan_is_made_once_and_again_where_it_is_of_another_version(settings: Settings, easy_data: EasyData) -> None:
    folder = prepared_folder(settings, "a" * 16)
    folder.mkdir(parents=True)
    (folder / "model.h5").write_bytes(b"older than the plan")
    model = convolutional_model()
    plan = ensure_plan(settings, "a" * 16, model)
    assert stored_plan(settings, "a" * 16) == plan
    assert float_file(settings, "a" * 16).stat().st_size == plan.tflite_bytes
    written = (folder / PLAN_FILE).stat().st_mtime_ns
    ensure_plan(settings, "a" * 16, model)
    assert (folder / PLAN_FILE).stat().st_mtime_ns == written
    (folder / PLAN_FILE).write_text(plan.model_copy(update={"version": 0}).model_dump_json())
    assert stored_plan(settings, "a" * 16) is None
    (folder / PLAN_FILE).write_text('{"layers": "of an older version"}')
    assert ensure_plan(settings, "a" * 16, model) == plan


def test_layers_that_are_not_there_and_recipes_that_do_nothing_are_refused() -> None:
    layers = facts_of(convolutional_model())
    with pytest.raises(InvalidParams, match="that this model does not have: nowhere"):
        check_layers(Recipe.single("pruning", {"leave_as_is": ["nowhere"]}), layers)
    names = [layer.name for layer in layers]
    with pytest.raises(InvalidParams, match="has nothing to act on"):
        check_layers(Recipe.single("post_training_quantization", {"leave_as_is": names}), layers)
    bare = [layer for layer in layers if not layer.kernels]
    with pytest.raises(DoesNotFit, match="found no layer"):
        check_layers(Recipe.single("clustering"), bare)
    check_layers(Recipe.single("pruning", {"leave_as_is": names[:1]}), layers)


@pytest.mark.slow
def test_the_service_plans_estimates_runs_and_reports(service: Service, easy_files: tuple[Path, Path]) -> None:
    from intake.dataset_info import DatasetOptions
    from intake.fit import FitOverrides

    prepared = service.prepare(*easy_files, DatasetOptions(), FitOverrides())
    project = service.project_of("estimates", prepared)
    plan: ModelPlan = service.model_plan(prepared.model_id).wait()
    assert [layer.name for layer in plan.layers] == ["conv", "bn", "relu", "flat", "hidden", "head"]
    recipe = Recipe.single("post_training_quantization", {"mode": "float16", "leave_as_is": ["conv"]})
    estimate = service.estimate(prepared.model_id, recipe)
    with pytest.raises(InvalidParams, match="that this model does not have: nowhere"):
        service.submit(project.project_id, Recipe.single("pruning", {"leave_as_is": ["nowhere"]}))
    baseline = service.wait(service.baseline(project.project_id).run_id)
    run = service.wait(service.submit(project.project_id, recipe).run_id)
    report = service.report(run.run_id)
    assert baseline.result is not None
    assert run.result is not None
    assert report is not None
    assert estimate is not None
    assert baseline.result.tflite_bytes == plan.tflite_bytes
    assert report.estimate == estimate
    assert run.result.tflite_bytes == pytest.approx(estimate.tflite_bytes, rel=0.1)
    by_name = {outcome.layer: outcome for outcome in report.layers}
    assert by_name["conv"].left_by_choice
    assert by_name["conv"].dtype == "float32"
    assert by_name["hidden"].treatments[0].verdict == "acts"
    assert by_name["hidden"].dtype == "float16"


def test_kernels_of_another_model_are_told_apart() -> None:
    with pytest.raises(ValueError, match="not the kernels of this model"):
        from_bytes(b"PK\x03\x04 cut short", facts_of(convolutional_model()))
