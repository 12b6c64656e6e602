"""What chooses the sample to try: a row of the test part, a row of a table, or a file. All but files stand in the address."""

from __future__ import annotations

import random

import streamlit as st

from intake.dataset_info import DatasetInfo
from intake.errors import UserError
from intake.one_sample import LIMIT_BYTES, endings_of
from intake.table_rows import RowColumn, cells_of_line, line_of_cells, needs_file, row_columns
from measure.behaviour import Behaviour
from runs.records import Project
from runs.try_job import AskedSample
from ui.formatting import as_text
from ui.session import address, service, set_address

TEST, ROW, FILE = "Sample of the test part", "Row of your own", "File of your own"
MOST_FIELDS = 12
"""Columns that get a field each; of more, a row is one line of text."""
SAMPLE_KEY, ROW_KEY = "sample", "row"
"""Names in the address."""
WAY_KEY = "run:try:way"
_FIELD_WIDTH = 150


def choose_sample(project: Project, info: DatasetInfo, behaviour: Behaviour | None) -> AskedSample | None:
    """Draw the ways to choose a sample; return the chosen one, None where there is none yet."""
    ways = [TEST, ROW if info.kind == "table" else FILE]
    way = st.segmented_control(
        "What to try",
        ways,
        default=ROW if address(ROW_KEY) and ROW in ways else TEST,
        required=True,
        key=WAY_KEY,
        on_change=set_address,
        args=(ROW_KEY, ""),
        label_visibility="collapsed",
    )
    if way == TEST:
        return _of_test_part(info, behaviour)
    return _of_row(project, info) if way == ROW else _of_file(info)


def _of_test_part(info: DatasetInfo, behaviour: Behaviour | None) -> AskedSample | None:
    last = info.test_samples - 1
    with st.container(horizontal=True, vertical_alignment="bottom"):
        row = st.number_input(
            f"Test row, 0 to {last:,}", 0, last, value=None, step=1, placeholder="Number", key=SAMPLE_KEY,
            bind="query-params", width=180, help="Counted from 0, as in the tables above.",
        )  # fmt: skip
        st.button("Another one", key="run:try:random", on_click=_take_one_of, args=(range(last + 1),),
                  help="Any sample of the test part.")  # fmt: skip
        changed, label, what = changed_rows(behaviour)
        if changed:
            st.button(label, key="run:try:changed", on_click=_take_one_of, args=(changed,), help=what)
    if row is None:
        st.caption("Choose a sample by its number, or take any: the original and this run answer it in a moment.")
        return None
    return AskedSample(row=int(row))


def changed_rows(behaviour: Behaviour | None) -> tuple[list[int], str, str]:
    """Return test rows that are answered otherwise than before, and label and help of the button that takes one."""
    outputs = behaviour.outputs if behaviour else ()
    flipped = [flip.row for output in outputs if output.classes for flip in output.classes.flips]
    if flipped:
        return (
            list(dict.fromkeys(flipped)),
            "One that changed class",
            "A sample that this run answers with another class.",
        )
    moved = [one.row for output in outputs if output.numbers for one in output.numbers.most_moved]
    return list(dict.fromkeys(moved)), "One that moved most", "One of those whose answer or error moved furthest."


def _take_one_of(rows: range | list[int]) -> None:
    now = st.session_state.get(SAMPLE_KEY)
    others = [row for row in rows if row != now] if len(rows) <= 1000 else rows
    st.session_state[SAMPLE_KEY] = random.choice(others) if others else now


def _of_file(info: DatasetInfo) -> AskedSample | None:
    endings = endings_of(info)
    *but_last, last = [f".{ending}" for ending in endings]
    given = st.file_uploader(
        "Sample", list(endings), key="run:try:file", max_upload_size=LIMIT_BYTES >> 20, label_visibility="collapsed"
    )
    st.caption(as_text(f"One sample as {', '.join(but_last)}{' or ' if but_last else ''}{last}. {_what_fits(info)}"))
    if given is None:
        return None
    return AskedSample(file_name=given.name, content=given.getvalue())


def _what_fits(info: DatasetInfo) -> str:
    arrays = [f"{array.name} {array.sample_shape}".strip() for array in info.sample_arrays]
    wanted = f"An array has the shape of one sample of the dataset: {', '.join(arrays)}."
    if len(endings_of(info)) == 1:
        return wanted
    return f"Pictures are brought to the size and the values of the dataset. {wanted}"


def _of_row(project: Project, info: DatasetInfo) -> AskedSample | None:
    columns = row_columns(info)
    if len(columns) <= MOST_FIELDS and not needs_file(info, columns):
        _draw_fields(columns, _cells_of_address(info) or service().tries.cells(project, 0))
    else:
        st.text_input(
            f"Cells of the {len(columns):,} columns, parted by commas", key=ROW_KEY, bind="query-params",
            placeholder=", ".join(column.name for column in columns[:MOST_FIELDS]),
            help="In the order of the feature columns; a whole line of the uploaded table will do too.",
        )  # fmt: skip
    return AskedSample(line=address(ROW_KEY)) if address(ROW_KEY) else None


def _cells_of_address(info: DatasetInfo) -> list[str]:
    try:
        return cells_of_line(address(ROW_KEY), info)
    except UserError:  # there is none, or somebody typed the address
        return []


def _draw_fields(columns: tuple[RowColumn, ...], start: list[str]) -> None:
    with st.form("run:try:fields", border=True), st.container(horizontal=True, vertical_alignment="bottom"):
        cells = [
            _field(column, start[number] if number < len(start) else "", f"run:try:cell:{number}")
            for number, column in enumerate(columns)
        ]
        if st.form_submit_button("Try this row", key="run:try:row"):
            set_address(ROW_KEY, line_of_cells(cells))
    st.caption("The fields begin with the first sample of the test part, until a row was tried.")


def _field(column: RowColumn, start: str, key: str) -> str:
    if column.categories:
        options = list(column.categories)
        chosen = st.selectbox(
            as_text(column.name), options, options.index(start) if start in options else 0, key=key, width=_FIELD_WIDTH
        )
        return str(chosen)
    value = st.number_input(
        as_text(column.name), value=_number(start), format="%g", step=None, key=key, width=_FIELD_WIDTH
    )
    return "" if value is None else f"{value:.9g}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
