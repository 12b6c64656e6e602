"""The easy images as a project has them: parsed dataset, teacher and all, to train with any settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from intake.dataset_info import DatasetInfo, DatasetOptions
from intake.datasets import Dataset
from intake.fit import Fit
from intake.teacher import Teacher
from runs.execution import ProjectData
from tests.conftest import CLASSES, EasyData, easy_images


def easy_project(model: Any, folder: Path, fit: Fit = EasyData.fit, **arrays: np.ndarray) -> ProjectData:
    """The easy images with the model as their teacher.

    Args:
        model: tf_keras model; it is not changed.
        folder: where its answers are kept.
        fit: how they go together.
        arrays: x_train, y_train, x_val, ... where they are to be others.
    """
    (x, y), (x_val, y_val) = easy_images(96, 0), easy_images(48, 2)
    found: dict[str, Any] = {
        "x_train": x, "y_train": y, "x_val": x_val, "y_val": y_val, "x_test": x_val, "y_test": y_val, **arrays,
    }  # fmt: skip
    info = DatasetInfo(
        file_name="easy.npz",
        file_bytes=1,
        sha256="",
        kind="arrays",
        options=DatasetOptions(),
        train_samples=len(found["x_train"]),
        validation_samples=len(found["x_val"]),
        test_samples=len(found["x_test"]),
        sample_shape=found["x_train"].shape[1:],
        dtype="float32",
        value_min=-1,
        value_max=2,
        label_kind="class",
        class_names=tuple(map(str, range(CLASSES))),
        split="as made",
    )
    dataset = Dataset(info=info, **found)
    return ProjectData(dataset, fit, Teacher(model, dataset, fit, folder))
