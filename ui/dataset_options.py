"""How a dataset is read: the options of a new project, labels and help from their declaration."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intake.dataset_info import DatasetInfo, DatasetOptions
from ui.session import record_to_address

_WORDS: dict[str, str] = {
    "auto": "found out from the values",
    "class": "classes",
    "value": "numbers",
    "none": "none: there are no labels",
    "one_hot": "one column per value",
    "one_hot_drop_first": "one column per value, without the first",
    "ordinal": "one column of numbers, in order of the values",
    "refuse": "refuse the file",
    "drop_rows": "leave those rows out",
}


def draw_options(options: DatasetOptions, info: DatasetInfo | None, upload_id: str) -> None:
    """Draw the options; a press on the button keeps them in the address and reads the file again.

    Args:
        options: in force.
        info: what was found with them; None where the file could not be read, so that columns are typed.
        upload_id: of the file, which names the widgets.
    """
    with (
        st.expander("Options", key=f"new:options:{upload_id}", expanded=info is None),
        st.form(f"new:options_form:{upload_id}", border=False),
    ):
        values: dict[str, Any] = {}
        if info is None or info.kind == "table":
            values |= _table_options(options, info, upload_id)
        values |= _general_options(options, upload_id)
        if st.form_submit_button("Read again with these options", key=f"new:options_apply:{upload_id}"):
            record_to_address("options", options.model_copy(update=values))
            st.rerun()


def _text(name: str) -> tuple[str, str | None]:
    field = DatasetOptions.model_fields[name]
    return field.title or name, field.description


def _table_options(options: DatasetOptions, info: DatasetInfo | None, upload_id: str) -> dict[str, Any]:
    left, right = st.columns(2)
    with left:
        label = _label_column(options, info, upload_id)
        encoding = _choice("categorical_encoding", options, upload_id, ["one_hot", "one_hot_drop_first", "ordinal"])
    with right:
        features = _feature_columns(options, info, upload_id)
        missing = _choice("missing_values", options, upload_id, ["refuse", "drop_rows"])
    return {
        "label_column": label,
        "feature_columns": features,
        "categorical_encoding": encoding,
        "missing_values": missing,
    }


def _label_column(options: DatasetOptions, info: DatasetInfo | None, upload_id: str) -> str | None:
    title, help_text = _text("label_column")
    key = f"new:label_column:{upload_id}"
    if info is None:
        return st.text_input(title, options.label_column or "", help=help_text, key=f"{key}:text") or None
    columns = list(info.columns)
    current = options.label_column or info.options.label_column
    chosen = st.selectbox(
        title, columns, index=columns.index(current) if current in columns else None, help=help_text, key=key
    )
    return None if chosen == info.options.label_column and options.label_column is None else chosen


def _feature_columns(options: DatasetOptions, info: DatasetInfo | None, upload_id: str) -> tuple[str, ...] | None:
    title, help_text = _text("feature_columns")
    key = f"new:feature_columns:{upload_id}"
    if info is None:
        text = st.text_input(
            title, ", ".join(options.feature_columns or ()), help=f"{help_text} Separated by commas.", key=f"{key}:text"
        )
        return tuple(part.strip() for part in text.split(",") if part.strip()) or None
    default = [name for name in options.feature_columns or () if name in info.columns]
    return tuple(st.multiselect(title, info.columns, default, help=help_text, key=key)) or None


def _choice(name: str, options: DatasetOptions, upload_id: str, choices: list[str]) -> str:
    title, help_text = _text(name)
    return str(
        st.selectbox(
            title,
            choices,
            index=choices.index(getattr(options, name)),
            format_func=_WORDS.__getitem__,
            help=help_text,
            key=f"new:{name}:{upload_id}",
        )
    )


def _general_options(options: DatasetOptions, upload_id: str) -> dict[str, Any]:
    first, second, third, fourth = st.columns(4)
    with first:
        kind = _choice("label_kind", options, upload_id, ["auto", "class", "value", "none"])
    return {
        "label_kind": kind,
        "test_share": _number(second, "test_share", options, upload_id, 0.05, 0.5),
        "validation_share": _number(third, "validation_share", options, upload_id, 0.0, 0.5),
        "seed": int(
            fourth.number_input(
                _text("seed")[0], 0, None, options.seed, 1, help=_text("seed")[1], key=f"new:seed:{upload_id}"
            )
        ),
    }


def _number(column: Any, name: str, options: DatasetOptions, upload_id: str, low: float, high: float) -> float:
    title, help_text = _text(name)
    value = getattr(options, name)
    return float(
        column.number_input(title, low, high, value, 0.05, "%.2f", help=help_text, key=f"new:{name}:{upload_id}")
    )
