"""What a model is asked to do: task, loss and metric from its output and the labels, and whether they go together."""

from __future__ import annotations

import math
from collections.abc import Iterator

from intake.dataset_info import DatasetInfo
from intake.errors import DoesNotFit
from intake.fit import Fit, FitOverrides, Loss, Metric, Task
from intake.model_info import ModelInfo
from intake.scores import confidence_interval, interval_of, sample_scores, score
from intake.shape_steps import matches, shape_after

__all__ = [
    "check_fit",
    "confidence_interval",
    "impossible_losses",
    "interval_of",
    "propose_task",
    "sample_scores",
    "score",
]

LOSSES: dict[Task, tuple[Loss, ...]] = {
    "classification": ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"),
    "binary_classification": ("binary_crossentropy",),
    "multilabel_classification": ("binary_crossentropy",),
    "regression": ("mean_squared_error", "mean_absolute_error"),
    "reconstruction": ("mean_squared_error", "mean_absolute_error", "binary_crossentropy"),
    "agreement": ("distillation", "mean_squared_error", "mean_absolute_error"),
}
"""Losses that make sense for a task, the one taken by default first."""
_METRICS: dict[Task, Metric] = {
    "classification": "accuracy",
    "binary_classification": "accuracy",
    "multilabel_classification": "accuracy",
    "regression": "mae",
    "reconstruction": "mse",
    "agreement": "agreement",
}
_REASONS: dict[Loss, str] = {
    "sparse_categorical_crossentropy": "It compares one output per class with one class per sample.",
    "categorical_crossentropy": "It compares one output per class with one class per sample.",
    "binary_crossentropy": "It compares outputs with answers of yes or no.",
    "mean_squared_error": "It compares numbers, not classes.",
    "mean_absolute_error": "It compares numbers, not classes.",
    "distillation": "It compares with the answers of the uploaded model, not with labels.",
}
_SAVED_NAMES: dict[str, Loss] = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "bce": "binary_crossentropy",
    "meansquarederror": "mean_squared_error",
    "meanabsoluteerror": "mean_absolute_error",
    "binarycrossentropy": "binary_crossentropy",
    "categoricalcrossentropy": "categorical_crossentropy",
    "sparsecategoricalcrossentropy": "sparse_categorical_crossentropy",
}
_PROBABILITIES = {"softmax", "sigmoid", "hard_sigmoid"}


def impossible_losses(task: Task) -> dict[Loss, str]:
    """Return the losses that do not go with a task, each with the reason in a sentence."""
    what = task.replace("_", " ")
    return {
        loss: f"{reason} The task is {what}."
        for loss, reason in _REASONS.items()
        if loss not in LOSSES[task] and loss != "distillation"  # no choice of a fine-tuning: it comes with the task
    }


def propose_task(
    model_info: ModelInfo, dataset_info: DatasetInfo, overrides: FitOverrides
) -> tuple[Task, Loss, bool, Metric]:
    """Return (task, loss, from_logits, metric name), read from the output layer, the labels and the saved loss.

    What the user decided is taken as it is; `check_fit` judges it.
    """
    task = overrides.task or _task(model_info, dataset_info)
    saved = _saved_loss(model_info)
    loss = overrides.loss or (saved if saved in LOSSES[task] else LOSSES[task][0])
    from_logits = overrides.from_logits if overrides.from_logits is not None else _from_logits(model_info, task)
    return task, loss, from_logits, _METRICS[task]


def _saved_loss(model: ModelInfo) -> Loss | None:
    name = (model.saved_loss or "").lower().replace("_", "")
    return _SAVED_NAMES.get(name)


def _task(model: ModelInfo, dataset: DatasetInfo) -> Task:
    output = model.output_shapes[0][1:]
    rebuilds = len(model.input_shapes) == 1 and output == model.input_shapes[0][1:]
    if dataset.kind == "random" or len(model.output_shapes) > 1:
        return "agreement"
    if dataset.label_kind == "none":
        return "reconstruction" if rebuilds and model.output_activation != "softmax" else "agreement"
    if rebuilds and (len(output) > 1 or output[0] not in (1, len(dataset.class_names), *dataset.label_shape)):
        return "reconstruction"
    if dataset.label_kind == "multilabel":
        return "multilabel_classification"
    if dataset.label_kind == "value":
        return "regression"
    if output != (1,):
        return "classification"
    compares_numbers = _saved_loss(model) in LOSSES["regression"]
    two = len(dataset.class_names) == 2
    if model.output_activation not in _PROBABILITIES and (compares_numbers or not two) and _numeric_classes(dataset):
        return "regression"
    return "binary_classification"


def _from_logits(model: ModelInfo, task: Task) -> bool:
    if task == "regression" or model.output_activation in _PROBABILITIES:
        return False
    if task == "agreement" and len(model.output_shapes) > 1:
        return False
    if task in ("reconstruction", "agreement"):
        return bool(model.saved_loss_from_logits)
    return True if model.saved_loss_from_logits is None else model.saved_loss_from_logits


def _numeric_classes(dataset: DatasetInfo) -> bool:
    try:
        return all(math.isfinite(float(name)) for name in dataset.class_names)
    except ValueError:
        return False


def check_fit(model_info: ModelInfo, dataset_info: DatasetInfo, fit: Fit) -> None:
    """Check that model, dataset and fit go together.

    Raises:
        DoesNotFit: with all the problems that were found.
    """
    problems = wiring_problems(model_info, fit.task) or list(_input_problems(model_info, dataset_info, fit))
    problems += task_problems(model_info, dataset_info, fit)
    if problems:
        raise DoesNotFit(problems)


def task_problems(model_info: ModelInfo, dataset_info: DatasetInfo, fit: Fit) -> list[str]:
    """Return what keeps labels, task, loss and output layer from going together, in sentences."""
    one_output = len(model_info.output_shapes) == 1
    output = _output_problems(model_info, dataset_info, fit) if one_output and fit.task != "agreement" else ()
    return [*output, *_fit_problems(dataset_info, fit)]


def wiring_problems(model_info: ModelInfo, task: Task) -> list[str]:
    """Return what the task cannot do with the number of inputs and outputs, in sentences."""
    return list(_wiring_problems(model_info, task))


def _wiring_problems(model: ModelInfo, task: Task) -> Iterator[str]:
    if len(model.output_shapes) > 1 and task != "agreement":
        yield (
            f"{_words(task).capitalize()} needs a model with one output, but {model.file_name} has "
            f"{len(model.output_shapes)}. Choose agreement, which compares each output with the uploaded model's."
        )
    if len(model.input_shapes) > 1 and task == "reconstruction":
        yield (
            f"Reconstruction needs a model with one input, but {model.file_name} has {len(model.input_shapes)}. Choose "
            "another task."
        )


def _input_problems(model: ModelInfo, dataset: DatasetInfo, fit: Fit) -> Iterator[str]:
    arrays = dataset.sample_arrays
    if len(fit.feeds) != len(model.input_shapes) or any(feed.array >= len(arrays) for feed in fit.feeds):
        yield (
            f"The model has {len(model.input_shapes)} inputs, but the fit feeds {len(fit.feeds)} of them. Match model and "
            "dataset again."
        )
        return
    for feed, shape in zip(fit.feeds, model.input_shapes, strict=True):
        try:
            found = shape_after(feed.preprocessing, arrays[feed.array].sample_shape)
        except DoesNotFit as error:
            yield from error.problems
            continue
        if not matches(found, shape[1:]):
            who = f"Input '{feed.name}' of the model" if feed.name else "The model"
            yield (
                f"{who} takes samples of shape {shape[1:]}, but after preprocessing those of the dataset have the shape "
                f"{found}. Change the preprocessing, or choose another dataset."
            )


def _output_problems(model: ModelInfo, dataset: DatasetInfo, fit: Fit) -> Iterator[str]:
    output = model.output_shapes[0][1:]
    if fit.task == "reconstruction":
        wanted = model.input_shapes[0][1:]
        if output != wanted:
            yield (
                f"Reconstruction needs an output of the shape of the input, but the input is {wanted} and the output "
                f"{output}. Choose another task, or give the dataset labels."
            )
        return
    if len(output) != 1:
        yield (
            f"The model must give one row of numbers per sample for {_words(fit.task)}, but its output has the shape "
            f"{output}. Choose agreement, which compares it with the uploaded model's, or upload a model with a flat "
            "output."
        )
        return
    units = output[0]
    needed = _units_needed(dataset, fit.task)
    if needed is not None and units != needed:
        yield _unit_problem(dataset, fit.task, units, needed)


def _units_needed(dataset: DatasetInfo, task: Task) -> int | None:
    if task == "binary_classification":
        return 1
    if task == "regression":
        return dataset.label_shape[0] if dataset.label_kind == "value" and dataset.label_shape else 1
    return len(dataset.class_names) or None


def _unit_problem(dataset: DatasetInfo, task: Task, units: int | None, needed: int) -> str:
    if task in ("classification", "multilabel_classification"):
        names = ", ".join(dataset.class_names[:5]) + (", ..." if len(dataset.class_names) > 5 else "")
        return (
            f"The model must have one output unit per class, but it has {units} and the dataset has {needed} classes "
            f"({names}). Choose a dataset with {units} classes, or a model with {needed} output units."
        )
    if task == "binary_classification":
        return f"Binary classification needs one output unit, but the model has {units}. Choose classification."
    return (
        f"The model must give as many numbers as each label has, but it has {units} output units and each label has "
        f"{needed} numbers. Choose another dataset or model."
    )


def _fit_problems(dataset: DatasetInfo, fit: Fit) -> Iterator[str]:
    if fit.loss not in LOSSES[fit.task]:
        yield (
            f"The loss {fit.loss} does not go with {_words(fit.task)}. {_REASONS[fit.loss]} "
            f"Choose {' or '.join(LOSSES[fit.task])}."
        )
    if fit.metric_name not in _metrics_of(fit.task):
        yield f"The metric {fit.metric_name} does not go with {_words(fit.task)}. Choose {_METRICS[fit.task]}."
    yield from _label_problems(dataset, fit.task)
    classes = len(dataset.class_names)
    if fit.class_order and sorted(fit.class_order) != list(range(classes)):
        yield (
            f"The order of the classes must name each of 0 to {classes - 1} once, but it is "
            f"{', '.join(map(str, fit.class_order))}. Correct it, or leave it empty for the order of the dataset."
        )


def _metrics_of(task: Task) -> tuple[Metric, ...]:
    if task == "agreement":
        return ("agreement",)
    return ("accuracy",) if "classification" in task else ("mae", "mse")


def _label_problems(dataset: DatasetInfo, task: Task) -> Iterator[str]:
    kind, classes = dataset.label_kind, len(dataset.class_names)
    remedy = "Choose another task, or set how the labels of the dataset are read."
    if task == "agreement":
        return
    if dataset.kind == "random":
        yield f"{_words(task).capitalize()} needs a dataset, but the inputs are random. Choose agreement or add a dataset."
    elif task == "reconstruction":
        return
    elif kind == "none":
        yield (
            f"{_words(task).capitalize()} needs labels, but the dataset has none. Choose agreement or reconstruction, or "
            "add labels."
        )
    elif task in ("classification", "binary_classification") and kind != "class":
        found = "several answers per sample" if kind == "multilabel" else "numbers to predict"
        yield f"{_words(task).capitalize()} needs one class per sample, but the labels are {found}. {remedy}"
    elif task == "binary_classification" and classes != 2:
        yield (
            f"A model with one output unit tells two classes apart, but the dataset has {classes}. Choose a dataset with "
            "two classes, or a model with one output unit per class."
        )
    elif task == "multilabel_classification" and kind != "multilabel":
        yield f"Multilabel classification needs a row of 0 and 1 per sample, but the labels are not. {remedy}"
    elif task == "regression" and (kind == "multilabel" or (kind == "class" and not _numeric_classes(dataset))):
        yield f"Regression needs labels that are numbers, but they are classes. {remedy}"


def _words(task: Task) -> str:
    return task.replace("_", " ")
