"""Finding out how a dataset was meant to be fed to a model, by measuring the plausible ways.

Only training samples are used to choose; the test part stays unseen. For agreement there is nothing to measure the
plausible ways by: the likeliest is taken, and said so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intake.agreement import output_kinds
from intake.candidate_costs import Costs, costs, guessing_cost, guessing_note, not_clearly_worse
from intake.class_order import propose_class_order
from intake.dataset_info import DatasetInfo
from intake.datasets import Dataset
from intake.errors import DoesNotFit
from intake.feeding import propose_feeds
from intake.fit import Fit, FitOverrides, InputFit, MatchCandidate, MatchReport, ScaleMode
from intake.model_info import ModelInfo
from intake.parts import Array
from intake.preprocessing import apply_labels, apply_steps, model_inputs
from intake.scaling import likeliest_scale, plausible_scales, scale_steps, takes_indices, unmeasured_scale
from intake.scores import score
from intake.shape_steps import propose_shape_steps
from intake.split import stratified_draw
from intake.tasks import check_fit, propose_task, task_problems, wiring_problems

MOST_SAMPLES = 2000
_FEWEST_SAMPLES = 200
_MOST_VALUES = 2**24
"""Values of the model input over all the samples: fewer samples where each is large."""
_PREDICT_BATCH = 128
_AGREEMENT_SAMPLES = 32

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
    return _scaled(plain, overrides.scale or "none", model_info, dataset)


def match(
    model: Any,
    model_info: ModelInfo,
    dataset: Dataset,
    overrides: FitOverrides,
    on_progress: Progress | None = None,
) -> MatchReport:
    """Measure the plausible preprocessings and class orders on training samples and choose one.

    The likeliest candidate is chosen unless another is clearly better, beyond noise: of scales that do alike, the one
    that would be taken without measuring. A network of ReLUs that knows its training samples by heart answers as well
    on values 255 times too large, and is all the surer; but fine-tuned on them it loses points.

    Args:
        model: tf_keras model (or anything with `predict(x, batch_size=, verbose=)`).
        overrides: what the user decided; it is kept and only the rest is tried out.
        on_progress: called with (share done, 0 to 1 both included, what is being done).

    Raises:
        DoesNotFit: model, dataset and overrides do not go together; all the problems that were found.
    """
    plain = _plain_fit(model_info, dataset.info, overrides)
    if plain.task == "agreement":
        return _agreement(model, model_info, dataset, plain, overrides)
    arrays, y = _draw(dataset, model_info)
    shaped = model_inputs(plain, arrays)
    modes = (overrides.scale,) if overrides.scale else plausible_scales(model_info, dataset.info)
    measured: list[_Measured] = []
    for i, mode in enumerate(modes):
        if on_progress:
            on_progress(i / len(modes), f"Measuring with scale: {mode.replace('_', ' ')}")
        fit = _scaled(plain, mode, model_info, dataset)
        inputs = [
            apply_steps(feed.preprocessing[len(before.preprocessing) :], x)
            for feed, before, x in zip(fit.feeds, plain.feeds, shaped, strict=True)
        ]
        predictions = _predict(model, inputs, model_info)[0]
        measured += _measure(mode, fit, dataset.info, (inputs[0], y, predictions), overrides)
    # The likeliest first: what the dataset says about its classes before any other order.
    likeliest = likeliest_scale(model_info, dataset.info)
    measured.sort(key=lambda candidate: (candidate.proposed_order, candidate.scale != likeliest))
    guessing = guessing_cost(plain, dataset.info, y)
    as_good = not_clearly_worse([candidate.costs for candidate in measured], guessing)
    if on_progress:
        on_progress(1.0, "Measured")
    return _report(measured, as_good, dataset.info, guessing)


def _plain_fit(model_info: ModelInfo, info: DatasetInfo, overrides: FitOverrides) -> Fit:
    """Return the fit without any scaling. Raises DoesNotFit with all problems."""
    task, loss, from_logits, metric = propose_task(model_info, info, overrides)
    problems = wiring_problems(model_info, task)
    feeds: tuple[InputFit, ...] = ()
    if not problems:
        try:
            feeds = _feeds(model_info, info, overrides)
        except DoesNotFit as error:
            problems += error.problems
    order = overrides.class_order
    if order is None:
        order = tuple(range(len(info.class_names))) if "classification" in task else ()
    fit = Fit(
        task=task,
        loss=loss,
        from_logits=from_logits,
        metric_name=metric,
        preprocessing=feeds[0].preprocessing if len(feeds) == 1 else (),
        inputs=feeds if len(feeds) > 1 else (),
        class_order=() if task == "agreement" else order,
        outputs=output_kinds(model_info, from_logits) if task == "agreement" else (),
    )
    if problems:
        raise DoesNotFit([*problems, *task_problems(model_info, info, fit)])
    check_fit(model_info, info, fit)
    return fit


def _feeds(model_info: ModelInfo, info: DatasetInfo, overrides: FitOverrides) -> tuple[InputFit, ...]:
    if len(model_info.input_shapes) > 1:
        if overrides.shape_steps is not None:
            raise DoesNotFit("Steps cannot be given by hand for a model with several inputs. Leave them to be found.")
        return propose_feeds(model_info, info)
    if len(info.sample_arrays) > 1:
        names = ", ".join(array.name for array in info.sample_arrays)
        raise DoesNotFit(
            f"The model has one input, but the dataset has {len(info.sample_arrays)} arrays of samples ({names}). Keep the "
            "one that the model takes."
        )
    steps = overrides.shape_steps
    if steps is None:
        steps = propose_shape_steps(info.sample_shape, model_info.input_shapes[0][1:])
    return (InputFit(name="", preprocessing=steps),)


def _scaled(plain: Fit, mode: ScaleMode, model_info: ModelInfo, dataset: Dataset) -> Fit:
    """Return the fit with the scale at the end of the preprocessing of each input that is no index."""
    if not plain.inputs:
        steps = scale_steps(mode, dataset.info, dataset.x_train, plain.preprocessing)
        return plain.model_copy(update={"preprocessing": (*plain.preprocessing, *steps)})
    arrays, infos = dataset.part("train").arrays, dataset.info.sample_arrays
    scaled: list[InputFit] = []
    for feed, dtype in zip(plain.inputs, model_info.input_dtypes, strict=True):
        steps = ()
        if "float" in dtype and not takes_indices(model_info):
            steps = scale_steps(mode, infos[feed.array], arrays[feed.array], feed.preprocessing)
        scaled.append(feed.model_copy(update={"preprocessing": (*feed.preprocessing, *steps)}))
    return plain.model_copy(update={"inputs": tuple(scaled)})


def _draw(dataset: Dataset, model_info: ModelInfo) -> tuple[tuple[Array, ...], Array | None]:
    values = sum(math.prod(side or 1 for side in shape[1:]) for shape in model_info.input_shapes)
    size = min(MOST_SAMPLES, max(_FEWEST_SAMPLES, _MOST_VALUES // values))
    classes = dataset.y_train if dataset.info.label_kind == "class" else None
    index = stratified_draw(len(dataset.x_train), classes, size, dataset.info.options.seed)
    train = dataset.part("train")
    arrays = tuple(np.asarray(array[index]) for array in train.arrays)
    return arrays, None if train.y is None else np.asarray(train.y[index])


def _predict(model: Any, inputs: Sequence[Array], model_info: ModelInfo) -> list[Array]:
    """Predict all samples; a model with a fixed batch size gets full batches, filled up with the last sample."""
    fixed, count = model_info.input_shapes[0][0], len(inputs[0])
    missing = -count % fixed if fixed else 0
    padded = [np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x for x in inputs]
    with np.errstate(all="ignore"):
        outputs = model.predict(
            padded[0] if len(padded) == 1 else padded, batch_size=fixed or _PREDICT_BATCH, verbose=0
        )
    several = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [np.asarray(output, np.float32)[:count] for output in several]


def _agreement(model: Any, model_info: ModelInfo, dataset: Dataset, plain: Fit, overrides: FitOverrides) -> MatchReport:
    """There is nothing to choose by: the original agrees with itself whatever it is fed with."""
    mode, note = (overrides.scale, "") if overrides.scale else unmeasured_scale(model_info, dataset.info)
    fit = _scaled(plain, mode, model_info, dataset)
    arrays = tuple(np.asarray(array[:_AGREEMENT_SAMPLES]) for array in dataset.part("train").arrays)
    answers = _predict(model, model_inputs(fit, arrays), model_info)
    notes = [note] if note else []
    if not all(np.isfinite(answer).all() for answer in answers):
        notes.append(
            "Some answers of the uploaded model are no finite numbers; those never agree. Check whether its weights hold "
            "NaN, and the preprocessing."
        )
    elif all(len(answer) > 1 and bool((answer == answer[:1]).all()) for answer in answers):
        notes.append("The model answers every sample alike. Check the preprocessing.")
    candidate = MatchCandidate(
        scale=mode, class_order="as in the dataset", metric_name=fit.metric_name, metric=1.0, chosen=True
    )
    return MatchReport(fit=fit, candidates=(candidate,), samples=len(arrays[0]), metric=1.0, notes=tuple(notes))


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
    worthy = {*_PIXEL_SCALES, "none"} if best.scale in _PIXEL_SCALES else set(_PIXEL_SCALES)
    tied = [other.scale for other in others if other.scale in worthy and other.scale != best.scale]
    if not tied:
        return None
    return (
        f"Within noise, {' and '.join(scale.replace('_', ' ') for scale in tied)} did as well as "
        f"{best.scale.replace('_', ' ')}, the likeliest, which was taken. Choose another if the model was trained with it."
    )


def _order_note(best: _Measured, info: DatasetInfo) -> str | None:
    if not best.proposed_order:
        return None
    names = ", ".join(info.class_names[c] for c in best.fit.class_order[:20])
    return (
        "The model's classes are in another order than the dataset's. Order of its output units, derived from one half "
        f"of the samples and measured on the other: {names}{', ...' if len(info.class_names) > 20 else ''}. Check it."
    )
