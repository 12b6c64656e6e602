"""The steps of a new project. What they hold is in the address: upload ids, options, what was decided by hand."""

from __future__ import annotations

from pathlib import PurePath
from typing import NamedTuple

import streamlit as st

from intake.dataset_info import RANDOM_INPUTS, RANDOM_INPUTS_NOTE, DatasetInfo, DatasetOptions
from intake.errors import UserError
from intake.fit import FitOverrides, MatchReport
from intake.model_info import ModelInfo
from runs.files_in import options_for
from runs.records import Upload
from ui.dataset_options import draw_options
from ui.dataset_view import draw_dataset
from ui.fit_step import draw_overrides, draw_report
from ui.live import finished
from ui.model_view import draw_model
from ui.overview import draw_overview
from ui.session import PROJECT, address, record_of_address, service, set_address, show_problems
from ui.upload_step import remove_file, retry_button, take_file

MODEL_HELP = "A trained Keras model: .keras, .h5 or .hdf5, saved by any Keras, or a .zip of the folder of a TensorFlow SavedModel."
DATA_HELP = (
    "Data: .npz with x and y (or x_train, y_train, x_test, y_test), a .csv or .parquet table, or a .zip with a folder of "
    "images per class. Without labels (only x, or all images in one folder) runs are measured by agreement with your "
    "model. A model with several inputs takes an .npz with one array for each, named like it."
)
WITHOUT = "random"
"""What stands in the address for the upload id of a dataset where there is none."""


class TakenModel(NamedTuple):
    """A model that was opened."""

    upload: Upload
    info: ModelInfo


class TakenDataset(NamedTuple):
    """A dataset that was read, or random inputs that were made."""

    upload: Upload | None
    """None for random inputs."""
    info: DatasetInfo
    options: DatasetOptions
    """Those that it was read with."""

    @property
    def upload_id(self) -> str | None:
        """Of the file."""
        return self.upload.upload_id if self.upload else None


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
    draw_overview(upload.upload_id)
    return TakenModel(upload, job.result)


def dataset_step(model: TakenModel | None) -> TakenDataset | None:
    """Take a dataset, or go on without one, and show what was understood; None until it was read."""
    if address("data") == WITHOUT:
        return _without_dataset(model)
    upload = take_file("data", "Dataset file", DATA_HELP)
    if upload is None:
        _offer_to_go_on_without(model)
        return None
    chosen = record_of_address("options", DatasetOptions)
    options = options_for(model.info, chosen) if model else chosen
    job = service().inspect_dataset(upload.upload_id, options)
    if not finished(job):
        if job.is_done:
            draw_options(chosen, None, upload.upload_id)
        retry_button("data", job)
        return None
    draw_dataset(job.result, upload.upload_id, options, "new")
    draw_options(chosen, job.result, upload.upload_id)
    return TakenDataset(upload, job.result, options)


def _offer_to_go_on_without(model: TakenModel | None) -> None:
    if model is None:
        return
    st.caption(
        "No data at hand? Sizes, latency and the techniques can be tried without: "
        "the worker makes random inputs that suit the model."
    )
    st.button("Go on without a dataset", key="new:without", on_click=_go_on_without)


def _go_on_without() -> None:
    set_address("data", WITHOUT)
    for name in ("options", "fit"):  # what was decided for another dataset
        set_address(name, "")


def _without_dataset(model: TakenModel | None) -> TakenDataset | None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Without a dataset**", width="stretch")
        st.button("Choose a dataset", key="new:data_remove", on_click=remove_file, args=("data",))
    st.info(RANDOM_INPUTS_NOTE)
    if model is None:
        st.caption("The inputs are made as soon as the model is there.")
        return None
    options = DatasetOptions()
    job = service().inspect_random(model.upload.upload_id, options)
    if not finished(job):
        retry_button("data", job)
        return None
    draw_dataset(job.result, None, options, "new")
    return TakenDataset(None, job.result, options)


def fit_step(model: TakenModel, dataset: TakenDataset) -> MatchReport | None:
    """Match both and show the result; None until it is there."""
    overrides = record_of_address("fit", FitOverrides)
    pair = f"{model.upload.upload_id}:{dataset.upload_id or WITHOUT}"
    job = service().match(model.upload.upload_id, dataset.upload_id, dataset.options, overrides)
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
    data_name = PurePath(dataset.upload.file_name).stem if dataset.upload else RANDOM_INPUTS
    default = f"{PurePath(model.upload.file_name).stem} on {data_name}"
    name = st.text_input("Project name", default, max_chars=120, key="new:name")
    if not st.button("Create project", type="primary", key="new:create"):
        return
    try:
        project = service().create_project(name, model.upload.upload_id, dataset.upload_id, dataset.options, report.fit)
    except UserError as error:
        show_problems(error.problems)
        return
    st.switch_page(PROJECT, query_params={"project": project.project_id})
