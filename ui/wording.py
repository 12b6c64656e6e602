"""The words of the page for what the records call by short names."""

from __future__ import annotations

from intake.fit import (
    ChannelAxis,
    Colour,
    Columns,
    Fit,
    InputFit,
    Loss,
    Metric,
    OutputKind,
    Reshape,
    Resize,
    Scale,
    ScaleMode,
    Step,
    Task,
)
from intake.model_info import UploadedFormat
from optimizers.treatment import Verdict
from runs.records import RunState
from ui.formatting import shape_text

TASKS: dict[Task, str] = {
    "classification": "Classification (one class of several)",
    "binary_classification": "Binary classification (yes or no)",
    "multilabel_classification": "Multi-label classification",
    "regression": "Regression (numbers)",
    "reconstruction": "Reconstruction (output equals input)",
    "agreement": "Agreement (answers like the uploaded model)",
}
LOSSES: dict[Loss, str] = {
    "sparse_categorical_crossentropy": "Sparse categorical cross-entropy",
    "categorical_crossentropy": "Categorical cross-entropy",
    "binary_crossentropy": "Binary cross-entropy",
    "mean_squared_error": "Mean squared error",
    "mean_absolute_error": "Mean absolute error",
    "distillation": "Distillation from the uploaded model",
}
METRICS: dict[Metric, str] = {
    "accuracy": "Accuracy",
    "mae": "Mean absolute error",
    "mse": "Mean squared error",
    "agreement": "Agreement",
}
METRIC_HELP: dict[Metric, str] = {
    "agreement": "With the uploaded model: the share of answers that are the same class, or numbers within a tenth of "
    "their spread.",
}
OUTPUTS: dict[OutputKind, str] = {
    "classes": "same class",
    "yes_no": "same side of one half",
    "numbers": "numbers within a tenth of their spread",
}
SCALES: dict[ScaleMode, str] = {
    "none": "as they are",
    "divide_255": "divided by 255",
    "minus_one_to_one": "divided by 127.5, minus 1",
    "standardize": "standardized to mean 0, deviation 1",
    "min_max": "scaled from minimum 0 to maximum 1",
    "multiply_255": "multiplied by 255",
}
FORMATS: dict[UploadedFormat, str] = {
    "h5": "HDF5 (.h5)",
    "keras2": ".keras of Keras 2",
    "keras3": ".keras of Keras 3",
    "saved_model": "zipped SavedModel",
    "h5_keras3": "HDF5 (.h5) of Keras 3",
}
VERDICTS: dict[Verdict, str] = {"acts": "✓ acts", "left": "– left as it is", "impossible": "✕ not possible"}
STATES: dict[RunState, str] = {
    "queued": "queued",
    "running": "running",
    "finished": "finished",
    "failed": "failed",
    "cancelled": "cancelled",
    "interrupted": "interrupted",
}
AXES = {
    "add_last": "Add a channel axis of length 1 at the end",
    "remove_last": "Remove the last axis, of length 1",
    "first_to_last": "Move the channels from first to last place",
    "last_to_first": "Move the channels from last to first place",
}


def describe_step(step: Step) -> str:
    """Return a preprocessing step as a phrase: "Values divided by 255"."""
    match step:
        case Scale():
            return f"Values {SCALES[step.mode]}"
        case Resize():
            return f"Resize to {step.height} × {step.width} pixels"
        case Colour():
            return "Grey to colour, by repeating the channel" if step.to == "rgb" else "Colour to grey (luma)"
        case ChannelAxis():
            return AXES[step.action]
        case Reshape():
            return f"Reshape each sample to {shape_text(step.shape)}"
        case Columns():
            return f"Columns {step.first + 1} to {step.first + step.count}"


def describe_preprocessing(fit: Fit) -> list[str]:
    """Return the preprocessing in order, in words, for each input where there are several; says so where none is."""
    if fit.inputs:
        return [_describe_feed(feed) for feed in fit.inputs]
    return [describe_step(step) for step in fit.preprocessing] or ["None: values go in as they are"]


def _describe_feed(feed: InputFit) -> str:
    steps = "; ".join(describe_step(step) for step in feed.preprocessing) or "values go in as they are"
    return f"Input {feed.name}: {steps}"


def describe_loss(fit: Fit) -> str:
    """Return the loss with what the model's output is taken for."""
    if "crossentropy" not in fit.loss:
        return LOSSES[fit.loss]
    return f"{LOSSES[fit.loss]}, on {'logits' if fit.from_logits else 'probabilities'}"
