"""A few random samples of the right shapes for any model, in the form in which a project has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from intake.dataset_info import DatasetOptions
from intake.datasets import load_parsed
from intake.fit import Fit, FitOverrides
from intake.matching import match
from intake.model_info import ModelInfo
from intake.parts import PartName
from intake.random_inputs import make_random_inputs
from intake.teacher import Teacher
from runs.execution import ProjectData

TRAIN_SAMPLES = 32
TEST_SAMPLES = 8


def store_samples(model: Any, info: ModelInfo, folder: Path) -> None:
    """Write random inputs, and how they fit the model, into `folder`."""
    make_random_inputs(model, info, DatasetOptions(), folder / "samples")
    found = match(model, info, load_parsed(folder / "samples"), FitOverrides())
    (folder / "fit.json").write_text(found.fit.model_dump_json(), encoding="utf-8")


def few_samples(model: Any, folder: Path, scratch: Path) -> ProjectData:
    """Return the first of the samples that `store_samples` wrote.

    Args:
        model: the clean model, which answers them; it is not changed.
        folder: that of `store_samples`.
        scratch: where the answers are kept.
    """
    fit = Fit.model_validate_json((folder / "fit.json").read_text(encoding="utf-8"))
    whole = load_parsed(folder / "samples")
    counts: dict[PartName, int] = {"train": TRAIN_SAMPLES, "validation": 0, "test": TEST_SAMPLES}
    parts = {name: [array[:count] for array in whole.part(name).arrays] for name, count in counts.items()}
    info = whole.info.model_copy(update={f"{name}_samples": len(arrays[0]) for name, arrays in parts.items()})
    dataset = replace(
        whole,
        info=info,
        x_train=parts["train"][0],
        x_val=parts["validation"][0],
        x_test=parts["test"][0],
        more={name: tuple(arrays[1:]) for name, arrays in parts.items()},
    )
    return ProjectData(dataset, fit, Teacher(model, dataset, fit, scratch))
