"""Which layers cost accuracy: what each technique declares of a kernel, the measurement, and the section of the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intake.errors import InvalidParams
from measure.export import Conversion, convert
from measure.weights import of_layer, read_weights
from optimizers import TECHNIQUES, facts_of, technique
from optimizers.kernels import kernels_of
from optimizers.layer_facts import KernelFacts, LayerFacts
from optimizers.pruning import Pruning
from optimizers.recipe import Recipe, RecipeStep
from optimizers.sensitivity import (
    LayerCost,
    Sensitivity,
    from_rows,
    layer_costs,
    paired_change,
    rows_of,
    spared,
    treated,
)
from optimizers.technique import Technique, clone_with_weights
from runs.paths import prepared_folder
from runs.plan import PLAN_FILE, VERSION, ModelPlan
from runs.records import Project, RunRecord
from runs.service import Service
from tests import test_pages
from tests.conftest import EasyData
from tests.test_pages import finished, open_page, texts
from ui.formatting import as_text
from ui.sensitivity_figures import (
    costly,
    how_measured,
    sensitivity_figure,
    sensitivity_sentence,
    sensitivity_table,
    worst_first,
)

every_technique = pytest.mark.parametrize("entry", TECHNIQUES, ids=lambda entry: entry.name)
PRUNE = Recipe.single("pruning", {"final_sparsity": 0.9})


def scores_on(model: Any, data: EasyData) -> Any:
    """Whether each test sample is answered right."""
    return lambda: np.asarray(model(data.x_test).numpy().argmax(axis=1) == data.y_test, np.float64)


def costs_of(model: Any, recipe: Recipe, data: EasyData, **more: Any) -> dict[str, LayerCost]:
    arguments = {"is_share": True, "limit_s": 60.0, **more}
    return {
        cost.layer: cost for cost in layer_costs(model, recipe, facts_of(model), scores_on(model, data), **arguments)
    }


# --- what a technique declares ------------------------------------------------------------------------------------


def hidden_of(model: Any) -> tuple[LayerFacts, KernelFacts, np.ndarray]:
    layer = next(layer for layer in facts_of(model) if layer.name == "hidden")
    return layer, layer.kernels[0], kernels_of(model.get_layer("hidden"))[0].variable.numpy()


@every_technique
def test_an_imitation_is_a_kernel_like_the_one_given(entry: Technique, trained_model: Any) -> None:
    layer, kernel, values = hidden_of(trained_model)
    rows = rows_of(values, kernel)
    before = rows.copy()
    found = entry.imitate(rows, entry.Params(), layer, kernel)
    if found is None:
        pytest.skip(f"{entry.title} declares that it has no imitation")
    assert (found.shape, str(found.dtype)) == (rows.shape, "float32")
    assert not np.array_equal(found, rows)
    assert float(np.corrcoef(found.reshape(-1), rows.reshape(-1))[0, 1]) > 0.6
    np.testing.assert_array_equal(rows, before)


_FLOATS: dict[int, bytes] = {}


def float_file(model: Any) -> bytes:
    if id(model) not in _FLOATS:
        _FLOATS[id(model)] = convert(clone_with_weights(model), Conversion())
    return _FLOATS[id(model)]


@pytest.mark.parametrize("trained_model", ["convolutional"], indirect=True)
@pytest.mark.parametrize(
    "params",
    [
        {"mode": "dynamic_range"},
        {"mode": "float16"},
        {"mode": "weight_only", "weight_bits": 4},
        {"mode": "weight_only", "granularity": "per_tensor"},
        {"mode": "weight_only", "weight_bits": 4, "algorithm": "MSE"},
    ],
    ids=str,
)
def test_an_imitated_rounding_is_that_of_the_exported_file(params: dict[str, Any], trained_model: Any) -> None:
    layer, kernel, values = hidden_of(trained_model)
    entry = technique("post_training_quantization")
    (step,) = Recipe.single(entry.name, params).steps
    floats = float_file(trained_model)
    file = convert(clone_with_weights(trained_model), entry.conversion(step.checked_params, Conversion()), None, floats)
    stored = of_layer(read_weights(file), "hidden", values.size)
    assert stored is not None
    real = stored.real_values
    assert real is not None
    imitated = entry.imitate(rows_of(values, kernel), step.checked_params, layer, kernel)
    assert imitated is not None
    np.testing.assert_allclose(imitated, np.asarray(real, np.float32), atol=1.1 * np.abs(real).max() / 250)
    differing = np.abs(imitated - np.asarray(real, np.float32)) > 1e-6
    assert differing.mean() < 0.01


@pytest.mark.parametrize(
    ("shape", "about"),
    [
        ((3, 3, 4, 8), {"input_axis": 2}),
        ((3, 3, 8, 4), {"input_axis": 3}),
        ((3, 3, 4, 2), {"is_depthwise": True}),
        ((5, 8), {"input_axis": 0}),
        ((8, 7), {"operation": "GATHER"}),
    ],
)
def test_rows_are_output_channels_and_can_be_undone(shape: tuple[int, ...], about: dict[str, Any]) -> None:
    kernel = KernelFacts(name="kernel", size=int(np.prod(shape)), shape=shape, **about)
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    rows = rows_of(values, kernel)
    assert len(rows) == 8
    np.testing.assert_array_equal(from_rows(rows, kernel), values)


def test_zeros_of_an_earlier_step_stay_zero(trained_model: Any) -> None:
    layer, kernel, values = hidden_of(trained_model)
    steps = Recipe.checked([*PRUNE.steps, RecipeStep(technique="clustering")]).steps
    found = treated(values, steps, layer, kernel)
    smallest = np.argsort(np.abs(values).reshape(-1))[: round(0.9 * values.size)]
    assert (found.reshape(-1)[smallest] == 0).all()
    assert 2 <= len(np.unique(found)) <= 17


# --- the measurement ----------------------------------------------------------------------------------------------


def test_each_layer_is_treated_alone_and_put_back(trained_model: Any, easy_data: EasyData) -> None:
    before = [weights.copy() for weights in trained_model.get_weights()]
    costs = costs_of(trained_model, PRUNE, easy_data)
    assert "hidden" in costs
    for old, now in zip(before, trained_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    other = clone_with_weights(trained_model)
    whole = scores_on(other, easy_data)().mean()
    for name, cost in costs.items():
        kernel = other.get_layer(name).kernel
        values = kernel.numpy()
        smallest = np.argsort(np.abs(values).reshape(-1), kind="stable")[: round(0.9 * values.size)]
        by_hand = values.reshape(-1).copy()
        by_hand[smallest] = 0
        kernel.assign(by_hand.reshape(values.shape))
        metric = scores_on(other, easy_data)().mean()
        kernel.assign(values)
        assert cost.metric == pytest.approx(metric, abs=0.02)
        assert cost.change == pytest.approx((cost.metric or 0) - whole)
        assert cost.weights == values.size


def test_layers_left_and_settings_of_single_layers_count(trained_model: Any, easy_data: EasyData) -> None:
    recipe = Recipe.single("pruning", {"leave_as_is": ["hidden"], "layer_sparsity": {"head": 0.97}})
    costs = costs_of(trained_model, recipe, easy_data)
    assert "hidden" not in costs
    kinder = costs_of(trained_model, Recipe.single("pruning", {"layer_sparsity": {"head": 0.01}}), easy_data)
    assert (costs["head"].metric or 0) < (kinder["head"].metric or 0)


def test_when_the_time_is_up_the_largest_layers_are_left_out(trained_model: Any, easy_data: EasyData) -> None:
    clock = iter(range(0, 1000, 10))
    costs = costs_of(
        trained_model, Recipe.single("clustering"), easy_data, limit_s=15.0, now=lambda: float(next(clock))
    )
    measured = [cost for cost in costs.values() if cost.change is not None]
    assert [cost.layer for cost in measured] == ["head"]
    assert all("the time was up (15 s)" in cost.reason for cost in costs.values() if cost not in measured)


def test_a_technique_without_imitation_says_so(
    trained_model: Any, easy_data: EasyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pruning, "imitate", Technique.imitate)
    costs = costs_of(trained_model, PRUNE, easy_data)
    assert {cost.reason for cost in costs.values()} == {
        "Not measured: what Pruning does without training is not known."
    }
    assert {cost.metric for cost in costs.values()} == {None}


def test_the_interval_of_a_change_holds_what_it_says() -> None:
    random, held = np.random.default_rng(1), 0
    for _ in range(400):
        before = (random.random(120) < 0.9).astype(float)
        after = np.where(random.random(120) < 0.1, 1 - before, before)
        change, noise = paired_change(before, after, is_share=True)
        held += abs(change - (0.1 * 0.1 - 0.9 * 0.1)) <= noise
    assert 0.92 <= held / 400 <= 0.98
    assert paired_change(np.ones(100), np.ones(100), is_share=True)[1] == pytest.approx(0.0192, abs=1e-4)
    assert paired_change(np.ones(100), np.ones(100), is_share=False) == (0.0, 0.0)


@every_technique
def test_a_spared_layer_is_no_longer_acted_on(entry: Technique, trained_model: Any) -> None:
    layers = facts_of(trained_model)
    gentle = spared(Recipe.single(entry.name), "hidden", layers)
    params = gentle.steps[0].checked_params
    assert params.leave_as_is == ("hidden",)  # type: ignore[attr-defined]
    assert "hidden" not in {weight.layer for weight in entry.weights_of(layers, params)}
    with pytest.raises(InvalidParams, match="more gently"):
        spared(gentle, "hidden", layers)


def test_settings_of_a_spared_layer_go_and_few_bits_become_eight(trained_model: Any) -> None:
    layers = facts_of(trained_model)
    recipe = Recipe.single("pruning", {"layer_sparsity": {"hidden": 0.9, "head": 0.5}})
    assert spared(recipe, "hidden", layers).steps[0].params["layer_sparsity"] == {"head": 0.5}
    few = spared(Recipe.single("quantization_aware_training", {"weight_bits": 3}), "hidden", layers)
    assert few.steps[0].params["layer_weight_bits"] == {"hidden": 8}
    assert few.steps[0].params["leave_as_is"] == []


# --- the page -----------------------------------------------------------------------------------------------------

service, project = test_pages.service, test_pages.project
FOUND = Sensitivity(
    metric_name="accuracy",
    part="validation",
    samples=142,
    whole=0.99,
    layers=(
        LayerCost(layer="edges", class_name="Conv2D", weights=288, metric=0.90, change=-0.09, noise=0.05, saved_bytes=900),
        LayerCost(layer="features", class_name="Dense", weights=9216, metric=1.0, change=0.01, noise=0.02, saved_bytes=8100),
        LayerCost(layer="digit", class_name="Dense", weights=640, metric=0.79, change=-0.20, noise=0.06, saved_bytes=1000),
        LayerCost(layer="<b>late</b>", class_name="Dense", weights=99999, reason="Not measured: the time was up (60 s)."),
    ),
    notes=("Something also rounds.",),
)  # fmt: skip


def test_the_worst_layer_comes_first_and_the_unknown_last() -> None:
    assert [cost.layer for cost in worst_first(FOUND)] == ["digit", "edges", "features", "<b>late</b>"]
    assert [cost.layer for cost in costly(FOUND)] == ["digit", "edges"]
    table = sensitivity_table(FOUND).set_index("Layer")
    assert list(table["Change"]) == ["-20.00 points", "-9.00 points", "+1.00 points", ""]
    assert list(table["Share of bytes saved"]) == ["10.0 %", "9.0 %", "81.0 %", ""]
    said = sensitivity_sentence(FOUND)
    assert said.startswith(f"**digit** costs most by itself: {as_text('-20.00 points (±6.00 points). 2 of 3 layers')}")
    assert "142 validation samples" in how_measured(FOUND)
    assert "1 of 4 layers were not measured" in how_measured(FOUND)


def test_an_error_that_grows_is_a_loss() -> None:
    found = FOUND.model_copy(update={"metric_name": "mae", "layers": FOUND.layers[:2]})
    assert [cost.layer for cost in costly(found)] == []
    assert [cost.layer for cost in worst_first(found)] == ["features", "edges"]
    assert "None of 2 layers costs more" in sensitivity_sentence(found)


def test_the_figure_has_a_bar_with_its_interval_for_each_measured_layer() -> None:
    bars = sensitivity_figure(FOUND).data[0]
    assert list(bars.x) == pytest.approx([20.0, 9.0, -1.0])
    assert list(bars.error_x.array) == pytest.approx([6.0, 5.0, 2.0])
    assert len(set(bars.marker.color)) == 2


def harsh(service: Service, project: Project) -> RunRecord:
    return finished(
        service, project, "harsh", Recipe.single("pruning", {"layer_sparsity": {"digit": 0.9}}), 0.9, 30_000
    )


def know_layers(service: Service, project: Project) -> None:
    """Leave a plan as the worker does, of a model that cannot be converted."""
    folder = prepared_folder(service.settings, project.model.upload_id)
    folder.mkdir(parents=True)
    (folder / "model.h5").touch()
    kernel = KernelFacts(name="kernel", size=640, shape=(64, 10), input_axis=0, operation="FULLY_CONNECTED")
    layers = [
        LayerFacts(name=name, class_name="Dense", parameters=650, kernels=(kernel,)) for name in ("edges", "digit")
    ]
    plan = ModelPlan(version=VERSION, layers=tuple(layers), tflite_bytes=0, gzip_bytes=0, problem="It has none.")
    (folder / PLAN_FILE).write_text(plan.model_dump_json())


def test_the_page_measures_and_queues_the_run_without_a_layer(service: Service, project: Project) -> None:
    know_layers(service, project)
    run = harsh(service, project)
    app = open_page("pages/run.py", run=run.run_id)
    app.button(key="run:sensitivity:measure").click().run()
    assert not app.exception
    job = service.sensitivities.job(run)
    assert job is not None
    job.finish(FOUND)
    app = open_page("pages/run.py", run=run.run_id)
    table: Any = next(frame.value for frame in app.dataframe if "95 % noise" in frame.value)
    assert table["Layer"].iloc[0] == "digit"
    assert "Something also rounds" in texts(app)
    app.button(key="run:sensitivity:leave:digit").click().run()
    assert not app.exception
    child = service.runs(project.project_id)[-1]
    assert (child.parent_run_id, child.name) == (run.run_id, "harsh · digit as it is")
    assert child.recipe.steps[0].params["leave_as_is"] == ["digit"]
    assert child.recipe.steps[0].params["layer_sparsity"] == {}
    assert app.query_params["run"] == child.run_id


def test_a_failure_is_told_and_can_be_tried_again(service: Service, project: Project) -> None:
    run = harsh(service, project)
    service.sensitivities.measure(run).fail(("The file is gone.",))
    app = open_page("pages/run.py", run=run.run_id)
    assert as_text("The file is gone.") in texts(app)
    app.button(key="run:sensitivity:measure").click().run()
    job = service.sensitivities.job(run)
    assert job is not None
    assert not job.is_done


def test_the_baseline_has_no_such_section(service: Service, project: Project) -> None:
    run = finished(service, project, "Baseline", Recipe(), 0.9, 100_000)
    assert "Which layers cost accuracy" not in [one.label for one in open_page("pages/run.py", run=run.run_id).expander]
