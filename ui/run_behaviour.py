"""What a run answers otherwise than the uploaded model: sentence first, then classes, confusion, and the samples."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from intake.dataset_info import RANDOM_INPUTS_NOTE
from intake.previews import data_address
from measure.behaviour import Behaviour, ClassChange, Flip, Moved, NumberChange, OutputChange
from runs.records import Project
from runs.shown_samples import ShownSamples
from ui.behaviour_charts import CALIBRATION, CONFUSION, as_figures, number_figure
from ui.behaviour_words import (
    calibration_sentence,
    change_sentences,
    heading_of,
    sentences_alone,
    stands_alone,
    what_became,
)
from ui.formatting import as_text, percent
from ui.session import service

_PICTURE_ROW_PIXELS, _ROW_PIXELS = 52, 35
_TALLEST = 420


def draw_behaviour(behaviour: Behaviour | None, project: Project, is_baseline: bool) -> None:
    """Draw what changed, of a baseline how good it is; a sentence for runs of versions that did not look."""
    heading = heading_of(behaviour, is_baseline)
    if not heading:
        return
    st.subheader(heading)
    if behaviour is None:
        st.caption("This run is older than the comparison of single answers. Run it again to see it.")
        return
    if project.dataset is None:
        st.caption(RANDOM_INPUTS_NOTE)
    alone = stands_alone(behaviour, is_baseline)
    for number, output in enumerate(behaviour.outputs):
        if len(behaviour.outputs) > 1:
            st.markdown(f"**Output {as_text(output.name)}**")
        if alone:
            _draw_alone(behaviour, output, f"run:changes:{number}")
        else:
            _draw_output(behaviour, output, project, f"run:changes:{number}")


def _draw_alone(behaviour: Behaviour, output: OutputChange, key: str) -> None:
    for sentence in sentences_alone(behaviour, output):
        st.markdown(as_text(sentence))
    if output.classes is not None:
        _draw_class_figures(output.classes, key, alone=True)
    elif output.numbers is not None and output.numbers.errors_after is not None:
        _draw_figure(number_figure(output.numbers, alone=True), f"{key}:figure", "Distribution of the errors")


def _draw_output(behaviour: Behaviour, output: OutputChange, project: Project, key: str) -> None:
    first, *more = change_sentences(behaviour, output) or [""]
    st.markdown(as_text(first))
    if more:
        st.caption(as_text(" ".join(more)))
    if output.classes is not None:
        _draw_classes(output.classes, project, key)
    elif output.numbers is not None:
        _draw_numbers(output.numbers, project, key)


def _draw_classes(change: ClassChange, project: Project, key: str) -> None:
    _draw_class_figures(change, key)
    if change.changed:
        _draw_flips(change, project, key)


def _draw_class_figures(change: ClassChange, key: str, alone: bool = False) -> None:
    figures = as_figures(change, alone)
    if figures:
        columns = st.columns(min(2, len(figures)), gap="large")
        for number, (title, figure) in enumerate(figures.items()):
            with columns[number % len(columns)]:
                st.markdown(f"**{title}**")
                _draw_figure(figure, f"{key}:figure:{number}", title)
                st.caption(as_text(_explanation(title, change, alone)))


def _explanation(title: str, change: ClassChange, alone: bool) -> str:
    if title == CALIBRATION:
        return calibration_sentence(change, alone)
    if title == CONFUSION:
        return (
            "Samples more or fewer in each cell. Blue: better, more right answers or fewer of a mistake. Orange: worse."
        )
    share = "Share of right answers to the test samples of each class."
    return share if alone else f"{share} Orange: fewer are right now."


def _draw_figure(figure: object, key: str, alt: str) -> None:
    st.plotly_chart(figure, key=key, config={"displayModeBar": False}, alt=alt)


def _draw_flips(change: ClassChange, project: Project, key: str) -> None:
    kept = len(change.flips)
    title = f"The {change.changed:,} samples that changed class"
    if kept < change.changed:
        title = f"{kept:,} of the {change.changed:,} samples that changed class, the worse ones first"
    with st.expander(title, key=f"{key}:flips"):
        shown = service().test_samples(project, [flip.row for flip in change.flips])
        _draw_table(flip_table(change.flips, shown), shown, "Samples that changed class, before and now")


def _draw_numbers(change: NumberChange, project: Project, key: str) -> None:
    if change.moved.largest == 0:
        return
    _draw_figure(number_figure(change), f"{key}:figure", "Distribution of the errors, before and now")
    if change.most_moved:
        judged = change.errors_before is not None
        title = "Samples whose error grew most" if judged else "Samples whose answer moved most"
        with st.expander(f"{title} ({len(change.most_moved):,})", key=f"{key}:moved"):
            shown = service().test_samples(project, [moved.row for moved in change.most_moved])
            _draw_table(moved_table(change.most_moved, shown), shown, title)


def _draw_table(table: pd.DataFrame, shown: ShownSamples, alt: str) -> None:
    row_pixels = _PICTURE_ROW_PIXELS if shown.images else _ROW_PIXELS
    st.dataframe(
        table.style.format(
            {column: percent for column in table if column.startswith("Probability")}
            | {column: "{:.5g}" for column in table if table[column].dtype == float and "Prob" not in column},
            na_rep="",
        ),
        hide_index=True,
        column_config={
            "Sample": st.column_config.ImageColumn(width="small") if shown.images else st.column_config.TextColumn(),
            "Test row": st.column_config.NumberColumn(help="In the test part, counted from 0."),
        },
        row_height=row_pixels,
        placeholder="",
        height="content" if row_pixels * (len(table) + 1) <= _TALLEST else _TALLEST,
        alt=alt,
    )


def flip_table(flips: Sequence[Flip], shown: ShownSamples) -> pd.DataFrame:
    """Return a row for each sample that changed class; columns that would be empty are left out."""
    table = pd.DataFrame(
        {
            "Sample": _samples([flip.row for flip in flips], shown),
            "Test row": [flip.row for flip in flips],
            "What": [what_became(flip) for flip in flips],
            "Right": [flip.truth for flip in flips],
            "Before": [flip.before for flip in flips],
            "Now": [flip.after for flip in flips],
            "Probability before": [flip.before_probability for flip in flips],
            "Probability now": [flip.after_probability for flip in flips],
        }
    )
    return _without_empty(table)


def moved_table(moved: Sequence[Moved], shown: ShownSamples) -> pd.DataFrame:
    """Return a row for each sample that moved; columns that would be empty are left out."""
    table = pd.DataFrame(
        {
            "Sample": _samples([one.row for one in moved], shown),
            "Test row": [one.row for one in moved],
            "Right": [one.truth for one in moved],
            "Before": [one.before for one in moved],
            "Now": [one.after for one in moved],
            "Error before": [one.error_before for one in moved],
            "Error now": [one.error_after for one in moved],
            "Moved by": [one.moved for one in moved],
        }
    )
    return _without_empty(table)


def _samples(rows: Sequence[int], shown: ShownSamples) -> list[str]:
    if shown.images:
        return [data_address(shown.images[row]) if row in shown.images else "" for row in rows]
    return [shown.values.get(row, "") for row in rows]


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    empty = [column for column in table if not table[column].map(lambda value: pd.notna(value) and value != "").any()]
    return table.drop(columns=empty)
