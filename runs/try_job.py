"""Trying one sample on two exported files: what is asked, and how the worker answers. Samples are decoded only there."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from intake.errors import BadDataset
from measure.sample_answers import OutputPair, output_pairs
from runs.paths import upload_path
from runs.records import Project
from runs.settings import Settings

if TYPE_CHECKING:
    from intake.datasets import Dataset
    from intake.parts import Array


@dataclass(frozen=True)
class AskedSample:
    """The sample to try: one of the three."""

    row: int | None = None
    """Of the test part, from 0."""
    line: str = ""
    """Cells of a row of a table."""
    file_name: str = ""
    content: bytes = b""
    """Of an uploaded file."""

    @property
    def digest(self) -> str:
        """Tells samples apart."""
        return hashlib.sha256(repr((self.row, self.line, self.file_name)).encode() + self.content).hexdigest()[:16]


class Tried(BaseModel):
    """What became of it."""

    model_config = ConfigDict(frozen=True)

    row: int | None
    """Of the test part; None for a sample that somebody brought."""
    image: str
    """Address of a WebP of the sample ("data:..."); "" where it is no picture."""
    values: str
    """Its first values with their names, where it is no picture; "" for random inputs."""
    truth: str
    """Its label; "" where there is none, or none is known."""
    note: str
    """A doubt, in a sentence, or ""."""
    outputs: tuple[OutputPair, ...]
    before_ms: float | None
    """Median of some calls of the original, one thread; None where the run is the original."""
    after_ms: float


def try_request(project: Project, files: Sequence[Path], asked: AskedSample) -> dict[str, Any]:
    """Return what the worker is asked.

    Args:
        project: whose samples are like the one to try.
        files: the run's file, and the original's where that is another.
        asked: the sample.
    """
    return {
        "kind": "try",
        "project": project.model_dump(mode="json"),
        "files": [str(file) for file in files],
        "row": asked.row,
        "line": asked.line,
        "file_name": asked.file_name,
        "content": base64.b64encode(asked.content).decode(),
    }


def answer_try(settings: Settings, request: dict[str, Any], report: Callable[[float, str], None]) -> Any:
    """Try a sample in the worker; returns a `Tried` as plain data."""
    from intake.one_sample import range_note
    from intake.preprocessing import model_inputs
    from measure.litert import predict
    from measure.speed import short_medians
    from runs.worker import ensure_parsed, ensure_prepared

    project = Project.model_validate(request["project"])
    asked = AskedSample(
        request["row"], request["line"], request["file_name"], base64.b64decode(request["content"], validate=True)
    )
    report(0.1, "Reading the sample")
    dataset = ensure_parsed(settings, project.model, project.dataset, project.options)
    info, fit = dataset.info, project.fit
    arrays, truth = _read(settings, project, dataset, asked)
    inputs = model_inputs(fit, arrays)
    report(0.3, "Asking both files")
    files = [Path(file).read_bytes() for file in request["files"]]
    after, *others = [predict(file, inputs) for file in files]
    names = ensure_prepared(settings, project.model).output_names
    after_ms, *other_ms = short_medians(files, inputs)
    image, values = _shown(dataset, arrays)
    return Tried(
        row=asked.row,
        image=image,
        values=values,
        truth=truth,
        note="" if asked.row is not None else range_note(arrays, info),
        outputs=output_pairs(
            fit, info.class_names, names, others[0] if others else None, after, _to_rebuild(project, dataset, inputs)
        ),
        before_ms=other_ms[0] if other_ms else None,
        after_ms=after_ms,
    ).model_dump(mode="json")


def _read(settings: Settings, project: Project, dataset: Dataset, asked: AskedSample) -> tuple[tuple[Array, ...], str]:
    """The arrays of the sample, each (1, ...), and its label in words."""
    import numpy as np

    from intake.one_sample import sample_of_file
    from intake.previews import label_text

    info = dataset.info
    if asked.row is not None:
        part = dataset.part("test")
        if not 0 <= asked.row < len(part.x):
            raise BadDataset(f"The test part has the rows 0 to {len(part.x) - 1:,}, but {asked.row:,} was asked for.")
        arrays = tuple(np.asarray(array[asked.row : asked.row + 1]) for array in part.arrays)
        return arrays, label_text(part, asked.row, info.class_names)
    if asked.file_name:
        return sample_of_file(asked.content, asked.file_name, info), ""
    return (_row(settings, project, dataset, asked.line),), ""


def _row(settings: Settings, project: Project, dataset: Dataset, line: str) -> Array:
    from intake.table_rows import cells_of_line, encoded_row, needs_file, row_columns
    from intake.tables import categories_of

    info = dataset.info
    if info.kind != "table" or project.dataset is None:
        raise BadDataset("The samples of this project are no rows of a table. Upload a file instead.")
    columns, cells = row_columns(info), cells_of_line(line, info)
    categories = (
        categories_of(upload_path(settings, project.dataset), info.options) if needs_file(info, columns) else {}
    )
    return encoded_row(cells, columns, categories, info.options.categorical_encoding)


def _shown(dataset: Dataset, arrays: Sequence[Array]) -> tuple[str, str]:
    from intake.one_sample import takes_images
    from intake.previews import data_address, large_image, values_text

    info = dataset.info
    if info.kind == "random":
        return "", ""
    if takes_images(info):
        return data_address(large_image(arrays[0][0], (info.value_min, info.value_max))), ""
    return "", values_text(arrays[0][0], info.feature_names)


def _to_rebuild(project: Project, dataset: Dataset, inputs: Sequence[Array]) -> Array | None:
    """The picture that the output is to equal, as the model is fed with it; None for other tasks and samples."""
    from intake.previews import looks_like_images

    if project.fit.task != "reconstruction":
        return None
    flat = inputs[0][0]
    shapes = [shape for shape in (flat.shape, dataset.info.sample_shape) if looks_like_images(shape)]
    return flat.reshape(shapes[0]) if shapes and flat.size == math.prod(shapes[0]) else None


def read_tried(answer: Any) -> Tried:
    """Return what the worker answered."""
    return Tried.model_validate(answer)
