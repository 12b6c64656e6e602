"""Finding out how a dataset was meant to be fed to a model, by measuring the plausible ways.

Only training samples are used to choose; the test part stays unseen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intake.candidate_costs import Costs, costs, guessing_cost, guessing_note, not_clearly_worse
from intake.class_order import propose_class_order
from intake.dataset_info import DatasetInfo
from intake.datasets import Dataset
from intake.errors import DoesNotFit
from intake.fit import Fit, FitOverrides, MatchCandidate, MatchReport, ScaleMode, Step
from intake.model_info import ModelInfo
from intake.parts import Array
from intake.preprocessing import apply_labels, apply_steps
from intake.scaling import plausible_scales, scale_steps
from intake.scores import score
from intake.shape_steps import propose_shape_steps
from intake.split import stratified_draw
from intake.tasks import check_fit, propose_task, task_problems, wiring_problems

MOST_SAMPLES = 2000
_FEWEST_SAMPLES = 200
_MOST_VALUES = 2**24
"""Values of the model input over all the samples: fewer samples where each is large."""
_PREDICT_BATCH = 128

_PIXEL_SCALES: tuple[ScaleMode, ...] = ("divide_255", "minus_one_to_one", "multiply_255")

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class _Measured:
    scale: ScaleMode
    fit: Fit
    metric: float
    costs: Costs
    proposed_order: bool = False
    note: str | None = None


def build_fit(model_info: ModelInfo, dataset: Dataset, overrides: FitOverrides) -> Fit:
    """Return the fit without measuring anything: overrides, else what shapes and labels say, else no scaling.

    Raises:
        DoesNotFit: model, dataset and overrides do not go together; all the problems that were found.
    """
    plain = _plain_fit(model_info, dataset.info, overrides)
    return _scaled(plain, overrides.scale or "none", dataset)


def match(
    model: Any,
    model_info: ModelInfo,
    dataset: Dataset,
    overrides: FitOverrides,
    on_progress: Progress | None = None,
) -> MatchReport:
    """Measure the plausible preprocessings and class orders on training samples and choose one.

    The simplest candidate is chosen unless another is clearly better, beyond noise.

    Args:
        model: tf_keras model (or anything with `predict(x, batch_size=, verbose=)`).
        overrides: what the user decided; it is kept and only the rest is tried out.
        on_progress: called with (share done, 0 to 1 both included, what is being done).

    Raises:
        DoesNotFit: model, dataset and overrides do not go together; all the problems that were found.
    """
    plain = _plain_fit(model_info, dataset.info, overrides)
    x, y = _draw(dataset, model_info, plain)
    shaped = apply_steps(plain.preprocessing, x)
    modes = (overrides.scale,) if overrides.scale else plausible_scales(model_info, dataset.info)
    measured: list[_Measured] = []
    for i, mode in enumerate(modes):
        if on_progress:
            on_progress(i / len(modes), f"Measuring with scale: {mode.replace('_', ' ')}")
        fit = _scaled(plain, mode, dataset)
        inputs = apply_steps(fit.preprocessing[len(plain.preprocessing) :], shaped)
        predictions = _predict(model, inputs, model_info)
        measured += _measure(mode, fit, dataset.info, (inputs, y, predictions), overrides)
    # The simplest first: what the dataset says about its classes before any other order.
    measured.sort(key=lambda candidate: candidate.proposed_order)
    guessing = guessing_cost(plain, dataset.info, y)
    as_good = not_clearly_worse([candidate.costs for candidate in measured], guessing)
    if on_progress:
        on_progress(1.0, "Measured")
    return _report(measured, as_good, dataset.info, guessing)


def _plain_fit(model_info: ModelInfo, info: DatasetInfo, overrides: FitOverrides) -> Fit:
    """Return the fit without any scaling. Raises DoesNotFit with all problems."""
    problems = wiring_problems(model_info)
    task, loss, from_logits, metric = propose_task(model_info, info, overrides)
    steps: tuple[Step, ...] = overrides.shape_steps or ()
    if overrides.shape_steps is None and not problems:
        try:
            steps = propose_shape_steps(info.sample_shape, model_info.input_shapes[0][1:])
        except DoesNotFit as error:
            problems += error.problems
    order = overrides.class_order
    if order is None:
        order = tuple(range(len(info.class_names))) if "classification" in task else ()
    fit = Fit(task=task, loss=loss, from_logits=from_logits, metric_name=metric, preprocessing=steps, class_order=order)
    if problems:
        raise DoesNotFit([*problems, *task_problems(model_info, info, fit)])
    check_fit(model_info, info, fit)
    return fit


def _scaled(plain: Fit, mode: ScaleMode, dataset: Dataset) -> Fit:
    steps = scale_steps(mode, dataset.info, dataset.x_train, plain.preprocessing)
    return plain.model_copy(update={"preprocessing": (*plain.preprocessing, *steps)})


def _draw(dataset: Dataset, model_info: ModelInfo, fit: Fit) -> tuple[Array, Array | None]:
    values = math.prod(side or 1 for side in model_info.input_shapes[0][1:])
    size = min(MOST_SAMPLES, max(_FEWEST_SAMPLES, _MOST_VALUES // values))
    classes = dataset.y_train if dataset.info.label_kind == "class" else None
    index = stratified_draw(len(dataset.x_train), classes, size, dataset.info.options.seed)
    return np.asarray(dataset.x_train[index]), None if dataset.y_train is None else np.asarray(dataset.y_train[index])


def _predict(model: Any, inputs: Array, model_info: ModelInfo) -> Array:
    """Predict all samples; a model with a fixed batch size gets full batches, filled up with the last sample."""
    fixed = model_info.input_shapes[0][0]
    missing = -len(inputs) % fixed if fixed else 0
    padded = np.concatenate([inputs, np.repeat(inputs[-1:], missing, axis=0)]) if missing else inputs
    with np.errstate(all="ignore"):
        outputs = model.predict(padded, batch_size=fixed or _PREDICT_BATCH, verbose=0)
    return np.asarray(outputs, np.float32)[: len(inputs)]


def _gives_probabilities(fit: Fit, predictions: Array, overrides: FitOverrides) -> bool:
    """Outputs that add up to 1 are probabilities, whatever the last layer is called."""
    if overrides.from_logits is not None or not fit.from_logits or fit.task != "classification":
        return False
    sums = predictions.reshape(len(predictions), -1).sum(axis=1)
    return bool((predictions >= 0).all() and np.allclose(sums, 1, atol=1e-3))


def _measure(
    mode: ScaleMode, fit: Fit, info: DatasetInfo, data: tuple[Array, Array | None, Array], overrides: FitOverrides
) -> list[_Measured]:
    inputs, y, predictions = data
    note = None
    if _gives_probabilities(fit, predictions, overrides):
        fit = fit.model_copy(update={"from_logits": False})
        note = "The outputs add up to 1, so they are taken as probabilities, although no softmax was found at the end."
    targets = apply_labels(fit, info, y, inputs)
    metric = score(fit, predictions, targets)
    found = [_Measured(mode, fit, metric, costs(fit, predictions, targets), note=note)]
    by_class = fit.task in ("classification", "binary_classification")
    if overrides.class_order is not None or not by_class or y is None or np.isnan(predictions).any():
        return found
    proposal = propose_class_order(_units(fit, predictions), y, len(info.class_names), info.options.seed)
    if proposal:
        reordered = fit.model_copy(update={"class_order": proposal[0]})
        targets = apply_labels(reordered, info, y, inputs)
        # The metric comes from the half that the order was not derived from.
        found.append(_Measured(mode, reordered, proposal[1], costs(reordered, predictions, targets), True, note))
    return found


def _units(fit: Fit, predictions: Array) -> Array:
    flat = predictions.reshape(len(predictions), -1)
    if fit.task == "binary_classification":
        return (flat[:, 0] > (0.0 if fit.from_logits else 0.5)).astype(np.int64)
    return np.asarray(flat.argmax(axis=1))


def _report(measured: Sequence[_Measured], as_good: Sequence[int], info: DatasetInfo, guessing: float) -> MatchReport:
    chosen = as_good[0]
    best = measured[chosen]
    rows = tuple(
        MatchCandidate(
            scale=candidate.scale,
            class_order="proposed from the confusion matrix" if candidate.proposed_order else "as in the dataset",
            metric_name=candidate.fit.metric_name,
            metric=candidate.metric,
            chosen=i == chosen,
        )
        for i, candidate in enumerate(measured)
    )
    doubt = guessing_note(best.fit, best.metric, best.costs, guessing)
    notes = [_order_note(best, info), doubt or _tie_note(best, [measured[i] for i in as_good[1:]]), best.note]
    return MatchReport(
        fit=best.fit,
        candidates=rows,
        samples=len(best.costs.main),
        metric=best.metric,
        notes=tuple(note for note in notes if note),
    )


def _tie_note(best: _Measured, others: Sequence[_Measured]) -> str | None:
    # Standardizing data that is standardized already changes nothing; only the scales of pixels deserve a word.
    tied = [other.scale for other in others if other.scale in _PIXEL_SCALES and other.scale != best.scale]
    if not tied:
        return None
    return (
        f"Within noise, {' and '.join(scale.replace('_', ' ') for scale in tied)} did as well as "
        f"{best.scale.replace('_', ' ')}, the simplest, which was taken. Choose another if the model was trained with it."
    )


def _order_note(best: _Measured, info: DatasetInfo) -> str | None:
    if not best.proposed_order:
        return None
    names = ", ".join(info.class_names[c] for c in best.fit.class_order[:20])
    return (
        "The model's classes are in another order than the dataset's. Order of its output units, derived from one half "
        f"of the samples and measured on the other: {names}{', ...' if len(info.class_names) > 20 else ''}. Check it."
    )
