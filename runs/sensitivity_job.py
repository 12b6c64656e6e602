"""Measuring in the worker which layers of a project's model a recipe harms, on samples that no result is judged by."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from optimizers.estimate import steps_on_kernels
from optimizers.recipe import Recipe
from optimizers.sensitivity import LayerCost, Sensitivity, layer_costs
from runs.paths import prepared_folder
from runs.plan import ModelPlan, ensure_plan, estimator_of
from runs.records import Project
from runs.settings import Settings
from runs.whole_files import write_whole

if TYPE_CHECKING:
    from intake.datasets import Dataset

MOST_SAMPLES, FEWEST_SAMPLES = 500, 100
TIME_LIMIT_S = 60.0
_SAMPLES_TIMED = 50
_BATCH_BYTES = 32 * 2**20
_LARGEST_BATCH = 128

Scores = NDArray[np.float64]


def sensitivity_request(project: Project, recipe: Recipe, target: Path) -> dict[str, Any]:
    """Return what the worker is asked: to measure what each layer costs by itself, and to keep that in a file."""
    return {
        "kind": "sensitivity",
        "project": project.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json"),
        "target": str(target),
    }


def answer_sensitivity(settings: Settings, request: dict[str, Any], report: Callable[[float, str], None]) -> Any:
    """Measure in the worker; returns a Sensitivity as plain data."""
    from intake.models import load_prepared
    from runs.worker import ensure_parsed, ensure_prepared

    project, recipe = Project.model_validate(request["project"]), Recipe.model_validate(request["recipe"])
    report(0.02, "Opening model and data")
    ensure_prepared(settings, project.model)
    model = load_prepared(prepared_folder(settings, project.model.upload_id))
    plan = ensure_plan(settings, project.model.upload_id, model)
    dataset = ensure_parsed(settings, project.model, project.dataset, project.options)
    found = _measured(model, recipe, plan, _Judge(model, dataset, project), report)
    found = found.model_copy(update={"layers": _with_bytes(found.layers, settings, project, plan, recipe)})
    target = Path(request["target"])
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, found.model_dump_json(indent=1).encode())
    return found.model_dump(mode="json")


def _measured(
    model: Any, recipe: Recipe, plan: ModelPlan, judge: _Judge, report: Callable[[float, str], None]
) -> Sensitivity:
    report(0.05, "Measuring the uploaded model")
    acted_on = {layer for layer, _ in steps_on_kernels(recipe, plan.layers)}
    judge.take(judge.affordable(len(acted_on), TIME_LIMIT_S))
    costs = layer_costs(
        model,
        recipe,
        plan.layers,
        judge.scores,
        is_share=judge.fit.is_share,
        limit_s=TIME_LIMIT_S,
        on_layer=lambda done, total: report(0.1 + 0.88 * done / total, f"Layer {done} of {total}"),
    )
    said = [step.entry.not_imitated(step.checked_params) for step in recipe.steps]
    return Sensitivity(
        metric_name=judge.fit.metric_name,
        part=judge.part,
        samples=judge.count,
        whole=float(judge.scores().mean()),
        layers=tuple(costs),
        notes=tuple(dict.fromkeys(sentence for sentence in said if sentence)),
    )


class _Judge:
    """The metric of a model on some samples of the validation part, or of the training part where that is small."""

    def __init__(self, model: Any, dataset: Dataset, project: Project) -> None:
        from intake.teacher import Teacher

        self.fit, self._dataset = project.fit, dataset
        self._teacher = Teacher(model, dataset, project.fit, Path())  # only asked, so that nothing is kept
        several = dataset.info.validation_samples >= FEWEST_SAMPLES
        self.part: Literal["validation", "train"] = "validation" if several else "train"
        self.count = 0

    def affordable(self, layers: int, limit_s: float) -> int:
        """Return how many samples can be asked once for each layer and once before in some seconds."""
        self.take(_SAMPLES_TIMED)
        self._answers()  # the first call builds the graph
        began = time.monotonic()
        self._answers()
        seconds = (time.monotonic() - began) / self.count
        return int(np.clip(limit_s / max(1e-9, seconds * (layers + 1)), FEWEST_SAMPLES, MOST_SAMPLES))

    def take(self, count: int) -> None:
        """Judge by so many samples from now on (fewer where there are fewer), evenly spread over the part."""
        from intake.agreement import tolerances
        from intake.preprocessing import apply_labels, model_inputs

        part = self._dataset.part(self.part)
        rows = np.unique(np.linspace(0, len(part.x) - 1, min(count, len(part.x))).astype(int))
        self.count = len(rows)
        self._inputs = model_inputs(self.fit, [array[rows] for array in part.arrays])
        if self.fit.task == "agreement":
            self._originals = self._answers()
            self._tolerated = tolerances(self.fit, [self._originals])
        else:
            labels = None if part.y is None else part.y[rows]
            self._truth = apply_labels(self.fit, self._dataset.info, labels, self._inputs[0])

    def scores(self) -> Scores:
        """Return the metric of each sample (n,), for the model as it is now."""
        from intake.agreement import agreement_scores
        from intake.tasks import sample_scores

        answers = self._answers()
        if self.fit.task == "agreement":
            return agreement_scores(self.fit, answers, self._originals, self._tolerated)
        return sample_scores(self.fit, answers[0], self._truth)

    def _answers(self) -> list[np.ndarray]:
        one = sum(array[:1].nbytes for array in self._inputs)
        step = min(_LARGEST_BATCH, max(1, _BATCH_BYTES // max(1, one)))
        chunks = [
            self._teacher.ask([array[first : first + step] for array in self._inputs])
            for first in range(0, self.count, step)
        ]
        return [np.concatenate(outputs) for outputs in zip(*chunks, strict=True)]


def _with_bytes(
    costs: Sequence[LayerCost], settings: Settings, project: Project, plan: ModelPlan, recipe: Recipe
) -> tuple[LayerCost, ...]:
    """The same with the bytes that each layer is expected to save; as they are where nothing can be estimated."""
    if plan.problem:
        return tuple(costs)
    changes = estimator_of(settings, project.model.upload_id, plan).changes(recipe)
    saved: dict[str, float] = {}
    for (layer, _), (_, compressed) in changes.items():
        saved[layer] = saved.get(layer, 0.0) - compressed
    return tuple(
        cost.model_copy(update={"saved_bytes": round(saved[cost.layer])}) if cost.layer in saved else cost
        for cost in costs
    )
