"""What was understood of a dataset: samples, balance of the classes, how it is split."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from intake.dataset_info import ArrayInfo, DatasetInfo, DatasetOptions
from ui.cells import as_cells
from ui.charts import class_balance_figure
from ui.formatting import as_text, kilobytes, shape_text
from ui.session import service

_KINDS = {"arrays": "NumPy arrays", "table": "Table", "images": "Images", "random": "Random inputs"}
_LABELS = {
    "class": "classes to choose between",
    "multilabel": "several labels a sample",
    "value": "numbers to predict",
    "none": "no labels",
}
_SHOWN_CLASSES = 60


def draw_dataset(info: DatasetInfo, upload_id: str | None, options: DatasetOptions, place: str) -> None:
    """Draw what is known of a dataset.

    Args:
        info: what the worker found.
        upload_id: of the file; None for random inputs.
        options: those that it was read with, which name its preview images.
        place: prefix of the keys ("project", "new").
    """
    total = info.train_samples + info.validation_samples + info.test_samples
    facts = [
        f"**{_KINDS[info.kind]}**, {kilobytes(info.file_bytes)}, {total:,} samples: {info.train_samples:,} training, "
        f"{info.validation_samples:,} validation, {info.test_samples:,} test",
        *(_array_text(array) for array in info.sample_arrays),
        f"Labels: {_LABELS[info.label_kind]}{_class_count(info)}",
        f"Split: {as_text(info.split)}",
    ]
    st.markdown("  \n".join(facts))
    for note in info.notes:
        st.caption(as_text(note))
    if upload_id is not None:
        _draw_samples(info, upload_id, options)
    if info.class_counts and len(info.class_names) <= _SHOWN_CLASSES:
        st.plotly_chart(
            class_balance_figure(info.class_names, info.class_counts),
            key=f"{place}:balance",
            config={"displayModeBar": False},
            alt="Samples of each class, by part of the dataset",
        )


def _array_text(array: ArrayInfo) -> str:
    name = f" of {as_text(array.name)}" if array.name else ""
    return (
        f"Sample shape{name} {shape_text(array.sample_shape)}, {as_text(array.dtype)}, values {array.value_min:g} to "
        f"{array.value_max:g}"
    )


def _class_count(info: DatasetInfo) -> str:
    return f" ({len(info.class_names):,} classes)" if info.class_names else ""


def _draw_samples(info: DatasetInfo, upload_id: str, options: DatasetOptions) -> None:
    if info.preview_rows:
        st.dataframe(as_cells(pd.DataFrame(list(info.preview_rows))), hide_index=True, alt="First rows of the table")
    images = [
        (label, path)
        for label, name in info.preview_images
        if (path := service().preview_image(upload_id, options, name)).is_file()
    ]
    if images:
        with st.container(horizontal=True, gap="small"):
            for label, path in images:
                st.image(str(path), caption=as_text(label), width=72, alt=f"Sample of {label}")
