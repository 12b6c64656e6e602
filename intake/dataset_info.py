"""What is known of an uploaded dataset: plain data that crosses from the worker to the pages."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

RANDOM_INPUTS = "random inputs"
"""What stands where the name of a dataset file would, for a project without one."""
RANDOM_INPUTS_NOTE = (
    "There is no dataset: the inputs are random, made to suit the model. Sizes and latency are real; the agreement is "
    "that on random inputs and says nothing about real data."
)
LabelKind = Literal["class", "multilabel", "value", "none"]
"""class: y holds class indices int64 (n,); multilabel: y float32 (n, k) of 0/1; value: y float32 (n, k); none: x only."""


class DatasetOptions(BaseModel):
    """How a dataset file is read. Frozen: its hash names the parsed copy on disk."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_column: str | None = Field(None, title="Label column", description="Column to predict (CSV and Parquet).")
    feature_columns: tuple[str, ...] | None = Field(
        None, title="Feature columns", description="Columns used as input; all but the label when left empty."
    )
    label_kind: Literal["auto", "class", "value", "none"] = Field(
        "auto",
        title="Labels are",
        description="Classes to choose between, numbers to predict, or none: then all columns or images are inputs.",
    )
    categorical_encoding: Literal["one_hot", "one_hot_drop_first", "ordinal"] = Field(
        "one_hot", title="Text columns", description="How a text column becomes numbers."
    )
    missing_values: Literal["refuse", "drop_rows"] = Field(
        "refuse", title="Empty cells", description="Refuse the file, or leave out the rows that have one."
    )
    image_size: tuple[int, int] | None = Field(
        None, title="Image size", description="Height and width in pixels that images of a zip are decoded to."
    )
    test_share: float = Field(
        0.2, ge=0.05, le=0.5, title="Test share", description="Held out where the file brings no test part."
    )
    validation_share: float = Field(
        0.1,
        ge=0.0,
        le=0.5,
        title="Validation share",
        description="Taken from the training part where the file brings none.",
    )
    seed: int = Field(0, ge=0, title="Split seed", description="Same seed, same split.")
    input_names: tuple[str, ...] = Field(
        (),
        title="Inputs",
        description="Names of the model's inputs where it has several; arrays are looked up by them.",
    )


class ArrayInfo(BaseModel):
    """One array of samples."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Of the model's input that it was stored for, or as in the file; "" where there is only one array."""
    sample_shape: tuple[int, ...]
    """Shape of one sample as stored, without the batch axis."""
    dtype: str
    value_min: float
    value_max: float


class DatasetInfo(BaseModel):
    """A dataset after it was read, checked and split."""

    model_config = ConfigDict(frozen=True)

    file_name: str
    file_bytes: int
    sha256: str
    kind: Literal["arrays", "table", "images", "random"]
    """random: no file was uploaded; the inputs were made from the model (`intake.random_inputs`)."""
    options: DatasetOptions
    """As resolved: the label column that was guessed, the image size that was used."""
    train_samples: int
    validation_samples: int
    test_samples: int
    sample_shape: tuple[int, ...]
    """Shape of one sample as stored, without the batch axis; like dtype and values, of the first array."""
    dtype: str
    value_min: float
    value_max: float
    arrays: tuple[ArrayInfo, ...] = ()
    """All arrays of samples where there are several, the first included; else empty (see `sample_arrays`)."""
    label_kind: LabelKind
    label_shape: tuple[int, ...] = ()
    """Shape of one label: () for class indices, (k,) for values and multilabel."""
    class_names: tuple[str, ...] = ()
    """Class index i is called class_names[i]. Empty unless label_kind is "class" or "multilabel"."""
    class_counts: dict[str, tuple[int, ...]] = {}
    """Part ("train", "validation", "test") -> samples of each class, in the order of class_names."""
    columns: tuple[str, ...] = ()
    """All columns of a table, in file order."""
    feature_names: tuple[str, ...] = ()
    """Name of each input of a table after encoding; as many as sample_shape[0]."""
    split: str
    """For people: "test part as in the file; validation 10 % of training, stratified, seed 0"."""
    notes: tuple[str, ...] = ()
    """Warnings and guesses, in sentences."""
    preview_rows: tuple[dict[str, str], ...] = ()
    """First rows of a table, as text."""
    preview_images: tuple[tuple[str, str], ...] = ()
    """(label, file name under the parsed folder) of up to 10 sample images as PNG, classes spread."""

    @property
    def sample_arrays(self) -> tuple[ArrayInfo, ...]:
        """Every array of samples, at least one."""
        only = ArrayInfo(
            name="",
            sample_shape=self.sample_shape,
            dtype=self.dtype,
            value_min=self.value_min,
            value_max=self.value_max,
        )
        return self.arrays or (only,)
