"""The section "Try it" of a run's page: one sample, and what the original and the run answer to it, side by side."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from intake.errors import UserError
from measure.sample_answers import OutputPair
from runs.jobs import Job
from runs.records import Project, RunRecord
from runs.report import RunReport
from runs.try_job import AskedSample, Tried
from ui.cells import as_cells
from ui.formatting import as_hover, as_text, percent
from ui.live import finished
from ui.palette import COLOURS, NEUTRAL
from ui.session import service, show_problems
from ui.try_sample import choose_sample
from ui.try_words import answer_sentences, latency_sentence

_PICTURE_WIDTH = 200
_ANSWER_WIDTH = 160
"""Of pictures that come out: two stand beside each other on a phone."""
_LONGEST_NAME = 24
ORIGINAL, THIS = "original", "this run"


def draw_try_it(run: RunRecord, project: Project, report: RunReport | None) -> None:
    """Draw the section; it asks the worker as soon as a sample is chosen."""
    st.subheader("Try it", anchor="try-it")
    try:
        info = service().dataset_info(project)
    except (OSError, ValueError):
        st.caption("What was read of the data is no longer stored here; the next run reads it again.")
        return
    with st.container(key="run:try"):
        asked = choose_sample(project, info, report.behaviour if report else None)
        if asked is not None:
            _draw_answer(run, asked)


def _draw_answer(run: RunRecord, asked: AskedSample) -> None:
    try:
        job = service().tries.ask(run.run_id, asked)
    except UserError as error:
        show_problems(error.problems)
        return
    if finished(job):
        _draw_tried(job.result)
    elif job.is_done:
        _draw_retry(job)


def _draw_retry(job: Job) -> None:
    if st.button("Try again", key="run:try:again"):
        service().tries.forget(job)
        st.rerun()


def _draw_tried(tried: Tried) -> None:
    first, *more = answer_sentences(tried)
    sample, answers = st.columns([1, 2.6], gap="large") if tried.image else (None, st.container())
    if sample is not None:
        with sample:
            name = "Sample of your own" if tried.row is None else f"Test row {tried.row:,}"
            label = f", label {tried.truth}" if tried.truth else ""
            st.image(tried.image, caption=as_text(name + label), width=_PICTURE_WIDTH, alt=f"{name}{label}")
    with answers:
        st.markdown(f"**{as_text(first)}**" + "".join(f"  \n{as_text(sentence)}" for sentence in more))
        if tried.values:
            st.caption(as_text(tried.values))
        if tried.note:
            st.warning(as_text(tried.note))
        for number, pair in enumerate(tried.outputs):
            if len(tried.outputs) > 1:
                st.markdown(f"**Output {as_text(pair.name)}**")
            _draw_pair(pair, f"run:try:output:{number}")
        st.caption(as_text(latency_sentence(tried)))


def _draw_pair(pair: OutputPair, key: str) -> None:
    if pair.kind == "images":
        _draw_pictures(pair)
    elif pair.kind == "numbers":
        if pair.values > 1:
            _draw_numbers(pair)
    else:
        st.plotly_chart(
            score_figure(pair), key=key, config={"displayModeBar": False},
            alt=f"{_unit(pair)} of the most likely classes, by the original and by this run",
        )  # fmt: skip


def _draw_pictures(pair: OutputPair) -> None:
    named = (("The original answers", pair.image_before), ("This run answers", pair.image_after))
    with st.container(horizontal=True):
        for caption, picture in named if pair.image_before else (("The original answers", pair.image_after),):
            st.image(picture, caption=caption, width=_ANSWER_WIDTH, alt=f"{caption}: output {pair.name}")


def _draw_numbers(pair: OutputPair) -> None:
    st.dataframe(
        as_cells(number_table(pair)),
        hide_index=True,
        height="content",
        alt=f"Numbers of output {pair.name}, of both files",
    )
    if pair.values > len(pair.numbers):
        st.caption(f"The first {len(pair.numbers):,} of {pair.values:,} numbers.")


def number_table(pair: OutputPair) -> pd.DataFrame:
    """Return a row for each number that is shown."""
    rows = [
        {
            "Number": index,
            "Original": number.before,
            "This run": number.after,
            "Difference": number.after - number.before,
        }
        if number.before is not None
        else {"Number": index, "Original": number.after}
        for index, number in enumerate(pair.numbers)
    ]
    return pd.DataFrame(rows)


def _unit(pair: OutputPair) -> str:
    return "Probability" if pair.are_probabilities else "Score"


def score_figure(pair: OutputPair) -> go.Figure:
    """Return bars of the most likely classes, those of the original and of this run beside each other."""
    names, places = [_short(score.name) for score in pair.scores], list(range(len(pair.scores)))
    factor = 100 if pair.are_probabilities else 1
    before = [score.before for score in pair.scores if score.before is not None]
    after = [score.after for score in pair.scores]
    bars = [(ORIGINAL, before, NEUTRAL), (THIS, after, COLOURS[0])] if before else [(ORIGINAL, after, NEUTRAL)]
    figure = go.Figure()
    for label, values, colour in bars:
        figure.add_bar(
            x=[factor * value for value in values], y=places, orientation="h", name=label,
            marker={"color": colour}, textposition="outside", cliponaxis=False,
            text=[_score_text(value, pair.are_probabilities) for value in values],
            customdata=names, hovertemplate="%{customdata}: %{text}<extra>" + label + "</extra>",
        )  # fmt: skip
    figure.update_layout(
        height=80 + 44 * len(names),
        margin={"l": 8, "r": 48, "t": 8, "b": 8},
        bargap=0.3,
        showlegend=len(figure.data) > 1,
        legend={
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.01,
            "xanchor": "left",
            "x": 0,
            "title": None,
            "traceorder": "normal",
        },
        xaxis={"title": f"{_unit(pair)}{', %' if factor == 100 else ''}", "range": [0, 108] if factor == 100 else None},
        yaxis={"tickvals": places, "ticktext": names, "autorange": "reversed"},
    )
    return figure


def _score_text(value: float, is_share: bool) -> str:
    return percent(value, 1) if is_share else f"{value:.4g}"


def _short(name: str) -> str:
    plain = " ".join(name.split())
    return as_hover(plain if len(plain) <= _LONGEST_NAME else f"{plain[: _LONGEST_NAME - 1]}…")
