"""A project for an audience: the plot, three figures, some samples. No controls; the address is all there is to share."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from intake.dataset_info import RANDOM_INPUTS_NOTE
from intake.errors import UserError
from intake.fit import Fit
from runs.records import Project, Result, RunRecord
from ui.charts import Axes, tradeoff_figure
from ui.formatting import as_hover, as_text
from ui.frames import baseline_of, runs_frame, with_changes
from ui.presentation_samples import draw_samples
from ui.presentation_words import chosen_run, headlines, presentable
from ui.quantities import SIZES, metric_of
from ui.session import PROJECT, address, project_of, project_of_address, service

_PLOT_PIXELS = 470
_LARGE_TYPE = """<style>
[data-testid="stHeader"], [data-testid="stElementToolbar"] { display: none; }
[data-testid="stMainBlockContainer"] { padding-top: 1.25rem; padding-bottom: 1.5rem; }
.st-key-presentation-figures [data-testid="stMetricLabel"] p { font-size: 1.05rem; }
.st-key-presentation-figures [data-testid="stMetricValue"] { font-size: 2.3rem; line-height: 1.15; }
</style>"""
"""The page of an audience: no bar at the top, figures that are read from the last row."""


def project_to_present() -> Project:
    """Return the project that the address names, by itself or by one of its runs, or end the page with a friendly word."""
    if not address("project") and address("run"):
        try:
            return project_of(service().run(address("run")))
        except UserError:
            pass  # the page then says that there is no such project
    return project_of_address()


def draw_presentation(project: Project) -> None:
    """Draw the page of a project; says what is missing where there is nothing to show yet."""
    st.html(_LARGE_TYPE)
    runs = service().runs(project.project_id)
    baseline, asked = baseline_of(runs), address("run")
    wanted = next((run for run in presentable(runs) if run.run_id == asked), None)
    found = (wanted, "") if wanted is not None else chosen_run(runs, project.fit)
    if baseline is None or baseline.result is None or found is None:
        _draw_nothing(project, has_baseline=baseline is not None)
        return
    run, rule = found
    assert run.result is not None  # of those that can be shown all have one
    _draw_head(project, run, rule, missing=bool(asked) and wanted is None)
    plot, figures = st.columns([1.9, 1], gap="medium", vertical_alignment="center")
    with plot:
        _draw_plot(project, runs, baseline, run)
    with figures:
        _draw_figures(run.result, baseline.result, project.fit)
    report = service().report(run.run_id)
    draw_samples(project, report.behaviour if report else None)
    _draw_foot(project)


def _draw_head(project: Project, run: RunRecord, rule: str, missing: bool) -> None:
    st.title(as_text(project.name))
    if missing:
        st.info("The run of this address is no longer here, or has no result. Another one is shown.")
    title = "" if run.recipe.title in run.name else f" · {as_text(run.recipe.title)}"
    said = f"**{as_text(run.name)}**{title}"
    st.markdown(f"{said}  \n:gray[{as_text(rule)}]" if rule else said)
    if project.dataset is None:
        st.caption(RANDOM_INPUTS_NOTE)


def _draw_figures(result: Result, baseline: Result, fit: Fit) -> None:
    with st.container(key="presentation:figures"):
        for headline in headlines(result, baseline, fit):
            with st.container(border=True):
                st.metric(headline.label, headline.value)
                st.caption(as_text(headline.note))


def _draw_plot(project: Project, runs: list[RunRecord], baseline: RunRecord, run: RunRecord) -> None:
    shown = [
        one for one in runs if one.run_id in (baseline.run_id, run.run_id) or not (one.archived or one.is_baseline)
    ]
    frame = with_changes(runs_frame(shown), SIZES[0], baseline.result)
    st.plotly_chart(
        presentation_figure(frame, project.fit, {baseline.run_id: "Original", run.run_id: "This run"}),
        key="presentation:chart",
        config={"displayModeBar": False},
        alt="Every measured run as a point: size of the .tflite across, "
        f"{metric_of(project.fit).label} up; the original and {run.name} are marked",
    )


def presentation_figure(frame: pd.DataFrame, fit: Fit, named: dict[str, str]) -> go.Figure:
    """Return the chart of a project with some of its points named.

    Args:
        frame: of `ui.frames.with_changes`, the size of the `.tflite` across.
        fit: names the metric.
        named: run id -> what to write beside its point; the last one is ringed.
    """
    axes = Axes(SIZES[0], metric_of(fit))
    figure = tradeoff_figure(frame, axes, fit, selected=list(named)[-1:])
    middle, places = frame["size"].max() / 2, list(named)
    for row in frame[frame["run_id"].isin(named)].to_dict("records"):
        on_left, is_first = row["size"] < middle, row["run_id"] == places[0]
        figure.add_annotation(
            x=row["size"],
            y=axes.y.scaled(row["metric"]),
            text=f"<b>{as_hover(named[row['run_id']])}</b>",
            showarrow=True,
            arrowhead=0,
            arrowwidth=1,
            standoff=14,
            ax=40 if on_left else -40,
            ay=-38 if is_first else 42,  # one above, one below: the two points can be close to each other
            xanchor="left" if on_left else "right",
            font={"size": 16},
        )
    figure.update_layout(
        height=_PLOT_PIXELS, font={"size": 15}, legend={"y": -0.18, "font": {"size": 14}}, clickmode="none"
    )
    for axis, quantity, better in ((figure.layout.xaxis, axes.x, "left"), (figure.layout.yaxis, axes.y, "up")):
        title = (
            f"{quantity.heading} ({better} is better)"  # shorter than that of the project's page: there is less room
        )
        axis.update(title={"text": title, "font": {"size": 15}}, tickfont={"size": 14}, fixedrange=True)
    return figure


def _draw_nothing(project: Project, has_baseline: bool) -> None:
    st.title(as_text(project.name))
    if has_baseline:
        st.info("There is no finished run to show beside the original yet. Come back when there is one.")
    else:
        st.info("Nothing of this project is measured yet. Come back when its baseline and a run have finished.")
    _draw_foot(project)


def _draw_foot(project: Project) -> None:
    st.page_link(PROJECT, label="Open the project in Tare", query_params={"project": project.project_id})
