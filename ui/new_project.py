"""The steps of a new project. What they hold is in the address: upload ids, options, what was decided by hand."""

from __future__ import annotations

from pathlib import PurePath
from typing import NamedTuple

import streamlit as st

from intake.dataset_info import DatasetInfo, DatasetOptions
from intake.errors import UserError
from intake.fit import FitOverrides, MatchReport
from intake.model_info import ModelInfo
from runs.records import Upload
from runs.service import image_size_of
from ui.dataset_options import draw_options
from ui.dataset_view import draw_dataset
from ui.fit_step import draw_overrides, draw_report
from ui.live import finished
from ui.model_view import draw_model
from ui.session import PROJECT, record_of_address, service, show_problems
from ui.upload_step import retry_button, take_file

MODEL_HELP = "A trained Keras model: .keras, .h5 or .hdf5, saved by Keras 2 or Keras 3."
DATA_HELP = (
    "Labelled data: .npz with x and y (or x_train, y_train, x_test, y_test), a .csv or .parquet table, "
    "or a .zip with a folder of images per class."
)


class TakenModel(NamedTuple):
    """A model that was opened."""

    upload: Upload
    info: ModelInfo


class TakenDataset(NamedTuple):
    """A dataset that was read."""

    upload: Upload
    info: DatasetInfo
    options: DatasetOptions
    """Those that it was read with."""


def model_step() -> TakenModel | None:
    """Take a model and show what was understood; None until it was opened."""
    upload = take_file("model", "Model file", MODEL_HELP)
    if upload is None:
        return None
    job = service().inspect_model(upload.upload_id)
    if not finished(job):
        retry_button("model", job)
        return None
    draw_model(job.result)
    return TakenModel(upload, job.result)


def dataset_step(model: TakenModel | None) -> TakenDataset | None:
    """Take a dataset and show what was understood; None until it was read."""
    upload = take_file("data", "Dataset file", DATA_HELP)
    if upload is None:
        return None
    chosen = record_of_address("options", DatasetOptions)
    options = image_size_of(model.info, chosen) if model else chosen
    job = service().inspect_dataset(upload.upload_id, options)
    if not finished(job):
        if job.is_done:
            draw_options(chosen, None, upload.upload_id)
        retry_button("data", job)
        return None
    draw_dataset(job.result, upload.upload_id, options, "new")
    draw_options(chosen, job.result, upload.upload_id)
    return TakenDataset(upload, job.result, options)


def fit_step(model: TakenModel, dataset: TakenDataset) -> MatchReport | None:
    """Match both and show the result; None until it is there."""
    overrides = record_of_address("fit", FitOverrides)
    pair = f"{model.upload.upload_id}:{dataset.upload.upload_id}"
    job = service().match(model.upload.upload_id, dataset.upload.upload_id, dataset.options, overrides)
    if not finished(job):
        if job.is_done:
            draw_overrides(overrides, None, dataset.info, pair)
        retry_button("fit", job)
        return None
    report: MatchReport = job.result
    draw_report(report, dataset.info.class_names)
    draw_overrides(overrides, report, dataset.info, pair)
    return report


def create_step(model: TakenModel, dataset: TakenDataset, report: MatchReport) -> None:
    """Ask for a name and create the project."""
    default = f"{PurePath(model.upload.file_name).stem} on {PurePath(dataset.upload.file_name).stem}"
    name = st.text_input("Project name", default, max_chars=120, key="new:name")
    if not st.button("Create project", type="primary", key="new:create"):
        return
    try:
        project = service().create_project(
            name, model.upload.upload_id, dataset.upload.upload_id, dataset.options, report.fit
        )
    except UserError as error:
        show_problems(error.problems)
        return
    st.switch_page(PROJECT, query_params={"project": project.project_id})
