"""How one model and one dataset go together: preprocessing, task, loss, metric, order of the classes.

Plain data; the functions that compute on it are in `intake.preprocessing`, `intake.tasks` and `intake.matching`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Task = Literal[
    "classification", "binary_classification", "multilabel_classification", "regression", "reconstruction", "agreement"
]
"""agreement: to answer like the uploaded model, which needs no labels (`intake.agreement`)."""
Loss = Literal[
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "binary_crossentropy",
    "mean_squared_error",
    "mean_absolute_error",
    "distillation",
]
"""distillation: each output is trained towards what the uploaded model answers, with the loss that suits the output."""
Metric = Literal["accuracy", "mae", "mse", "agreement"]
SHARES: tuple[Metric, ...] = ("accuracy", "agreement")
"""Metrics that are shares of 0 to 1, higher being better; the others are errors."""
OutputKind = Literal["classes", "yes_no", "numbers"]
"""classes: one unit per class, the largest answers; yes_no: each unit answers by its side of one half; or numbers."""
ScaleMode = Literal["none", "divide_255", "minus_one_to_one", "standardize", "min_max", "multiply_255"]


class _Step(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scale(_Step):
    """Change the value range.

    divide_255: x/255. minus_one_to_one: x/127.5 - 1. multiply_255: x*255 (data in [0, 1], model trained on 0-255).
    standardize: (x - mean)/std, min_max: (x - mean)/std with mean = minimum and std = maximum - minimum; both taken
    from the training part, one value per entry of the last axis (features or channels).
    """

    kind: Literal["scale"] = "scale"
    mode: ScaleMode = "none"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class Resize(_Step):
    """Bilinear resize of (n, h, w, c) images to height x width pixels."""

    kind: Literal["resize"] = "resize"
    height: int = Field(gt=0)
    width: int = Field(gt=0)


class Colour(_Step):
    """(n, h, w, 1) -> (n, h, w, 3) by repeating, or (n, h, w, 3) -> (n, h, w, 1) by ITU-R 601 luma."""

    kind: Literal["colour"] = "colour"
    to: Literal["rgb", "grey"]


class ChannelAxis(_Step):
    """Add or remove a trailing axis of length 1, or move the channel axis."""

    kind: Literal["channel_axis"] = "channel_axis"
    action: Literal["add_last", "remove_last", "first_to_last", "last_to_first"]


class Reshape(_Step):
    """Reshape each sample to `shape` (no batch axis); flattening is the case of one entry."""

    kind: Literal["reshape"] = "reshape"
    shape: tuple[int, ...]


class Columns(_Step):
    """Keep `count` entries of the last axis, from `first` (0, 1, ...) on: one input's share of a table."""

    kind: Literal["columns"] = "columns"
    first: int = Field(ge=0)
    count: int = Field(gt=0)


Step = Annotated[Scale | Resize | Colour | ChannelAxis | Reshape | Columns, Field(discriminator="kind")]


class InputFit(_Step):
    """What one of several inputs is fed with."""

    name: str
    """Of the input."""
    array: int = 0
    """Which of `DatasetInfo.sample_arrays`."""
    preprocessing: tuple[Step, ...] = ()


class Fit(BaseModel):
    """Everything needed to feed a dataset to a model and to judge what comes out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task
    loss: Loss
    from_logits: bool = False
    """True where the model's output has no softmax/sigmoid yet (classification only)."""
    metric_name: Metric
    preprocessing: tuple[Step, ...] = ()
    """Of the only input; empty where there are several."""
    inputs: tuple[InputFit, ...] = ()
    """One per input of the model where it has several, in their order; else empty (see `feeds`)."""
    class_order: tuple[int, ...] = ()
    """Output unit i of the model stands for dataset class class_order[i]; empty outside classification."""
    outputs: tuple[OutputKind, ...] = ()
    """What each output of the model gives; only for agreement."""

    @property
    def higher_is_better(self) -> bool:
        """True for accuracy and agreement, False for errors."""
        return self.is_share

    @property
    def is_share(self) -> bool:
        """True where the metric is a share of 0 to 1."""
        return self.metric_name in SHARES

    @property
    def feeds(self) -> tuple[InputFit, ...]:
        """What each input is fed with, at least one."""
        return self.inputs or (InputFit(name="", preprocessing=self.preprocessing),)


class FitOverrides(BaseModel):
    """What the user decided; None = find it out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task | None = None
    loss: Loss | None = None
    from_logits: bool | None = None
    scale: ScaleMode | None = None
    class_order: tuple[int, ...] | None = None
    shape_steps: tuple[Step, ...] | None = None
    """Steps other than Scale, in order; None = derived from the shapes."""


class MatchCandidate(BaseModel):
    """One row of the table that "match automatically" shows."""

    model_config = ConfigDict(frozen=True)

    scale: ScaleMode
    class_order: Literal["as in the dataset", "proposed from the confusion matrix"]
    metric_name: Metric
    metric: float
    chosen: bool = False


class MatchReport(BaseModel):
    """The fit that was found, and what it was chosen from."""

    model_config = ConfigDict(frozen=True)

    fit: Fit
    candidates: tuple[MatchCandidate, ...]
    samples: int
    """Training samples on which the candidates were measured (the test part is never used to choose)."""
    metric: float
    """Metric of the chosen candidate on these samples."""
    notes: tuple[str, ...] = ()
    """Doubts, in sentences ("accuracy is close to guessing: ...")."""
