"""The chart of a project and what chooses its axes, its runs and its budget; all of it stands in the address."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from intake.fit import Fit
from runs.records import Project, Result, RunRecord
from ui.budget import LOSSES, NO_LIMIT, Budget, limit_of, limit_text, limits_between, loss_text, verdict, within
from ui.charts import Axes, hover_cards, tradeoff_figure
from ui.frames import runs_frame, with_changes
from ui.quantities import SIZES, metric_of, quantities
from ui.recently_made import RecentlyMade
from ui.run_filter import RunFilter, states_of, tags_of, techniques_of
from ui.selection import is_area, open_later, select, selected_ids
from ui.session import address

CHART_KEY = "project:chart"
_SHOWN = "project:shown"
"""Id of the project that was drawn last."""
_FILTERS = {"techniques": [], "tags": [], "states": [], "q": "", "starred": False, "archived": False}
"""Widget key, which is its name in the address, -> its value where it asks for nothing."""


_CHANGES: RecentlyMade[pd.DataFrame] = RecentlyMade(8)


def changes_of(runs: list[RunRecord], axes: Axes, baseline: Result | None, fit: Fit) -> pd.DataFrame:
    """Return the runs as a frame, with their changes against the baseline and what hovers over their points.

    Of the same records it is the same frame: it is only to be read.
    """
    frame = runs_frame(runs)

    def make() -> pd.DataFrame:
        changed = with_changes(frame, axes.x, baseline)
        return changed.assign(hover=hover_cards(changed, axes, fit))

    return _CHANGES.of([frame, baseline], (axes.x.label, fit.metric_name), make)


def draw_controls(project: Project, runs: list[RunRecord]) -> tuple[Axes, RunFilter]:
    """Draw what chooses the axes and the runs."""
    if st.session_state.get(_SHOWN) not in (None, project.project_id):
        _forget_filters()  # they were meant for the runs of another project; the axes may stay
        st.session_state.update({"limit": NO_LIMIT, "loss": NO_LIMIT})
    st.session_state[_SHOWN] = project.project_id
    with st.container(horizontal=True, vertical_alignment="bottom"):
        axes = _draw_axes(project)
        wanted = _draw_filters(runs)
    return axes, wanted


def _draw_axes(project: Project) -> Axes:
    choices = {quantity.label: quantity for quantity in quantities(project.fit)}
    names = list(choices)
    help_text = "\n".join(f"- **{quantity.label}**: {quantity.help}" for quantity in choices.values())
    across = st.selectbox(
        "Across", names, names.index(SIZES[0].label), key="x", help=help_text, bind="query-params", width=168
    )
    up = st.selectbox(
        "Up", names, names.index(metric_of(project.fit).label), key="y", help=help_text, bind="query-params", width=168
    )
    with st.popover("Axes", icon=":material/tune:"):
        log_x = st.toggle("Logarithmic across", key="log", bind="query-params")
        log_y = st.toggle("Logarithmic up", key="log_y", bind="query-params")
        intervals = st.toggle(
            "95 % intervals",
            value=True,
            key="intervals",
            help="How far the metric could be off, given the number of test samples.",
            bind="query-params",
        )
    return Axes(choices[across], choices[up], log_x, log_y, intervals)


def _draw_filters(runs: list[RunRecord]) -> RunFilter:
    count = sum(bool(st.session_state.get(key, address(key))) for key in _FILTERS)
    with st.popover(f"Filter ({count})" if count else "Filter", icon=":material/filter_list:"):
        wanted = RunFilter(
            text=st.text_input(
                "Find", key="q", placeholder="Words of name, tags, note or settings", bind="query-params"
            ),
            techniques=_choose("Techniques", "techniques", techniques_of(runs)),
            tags=_choose("Tags", "tags", tags_of(runs), "The runs of a sweep have its tag."),
            states=_choose("States", "states", states_of(runs)),
            starred=st.toggle("Only starred", key="starred", bind="query-params"),
            archived=st.toggle("Archived runs too", key="archived", bind="query-params"),
        )
        st.caption("Chart, table and CSV show what matches, and the baseline.")
        st.button("Show all", key="project:show_all", on_click=_forget_filters, disabled=not wanted.count)
    return wanted


def _choose(label: str, key: str, options: list[str], help_text: str | None = None) -> tuple[str, ...]:
    return tuple(
        st.multiselect(label, options, key=key, help=help_text, placeholder="All", bind="query-params")
    )  # fmt: skip


def _forget_filters() -> None:
    for key, empty in _FILTERS.items():
        st.session_state[key] = empty


def draw_budget(project: Project, frame: pd.DataFrame, axes: Axes, baseline: Result | None) -> pd.Series | None:
    """Draw the two sliders and say which run to take; return which rows keep the budget, None where none is set."""
    with st.container(horizontal=True, key="project:budget"):
        limit = _draw_limit(frame, axes)
        loss = _draw_loss(project, baseline)
    budget = Budget(axes.x, limit, loss)
    if not budget.is_set:
        return None
    kept = within(frame, budget, project.fit, baseline.metric if baseline else float("nan"))
    st.markdown(verdict(frame, kept, budget, project.fit))
    return kept


def _draw_limit(frame: pd.DataFrame, axes: Axes) -> float | None:
    limits = limits_between(frame["size"].min(), frame["size"].max())
    of_link = limit_of(axes.x, address("limit"))  # it may come from a time, or a filter, with other runs
    texts = {limit_text(axes.x, limit): limit for limit in sorted({*limits, *([of_link] if of_link else [])})}
    least = axes.x.higher_is_better
    options = [NO_LIMIT, *texts] if least else [*texts, NO_LIMIT]
    chosen = st.select_slider(
        f"{axes.x.label}: {'at least' if least else 'at most'}",
        options,
        NO_LIMIT,
        key="limit",
        bind="query-params",
        width=260,
        disabled=not texts,
    )
    return texts.get(str(chosen))


def _draw_loss(project: Project, baseline: Result | None) -> float | None:
    texts = {loss_text(project.fit, loss): loss for loss in LOSSES}
    chosen = st.select_slider(
        f"{metric_of(project.fit).label}: lose at most",
        [*texts, NO_LIMIT],
        NO_LIMIT,
        key="loss",
        help="Against the baseline, by the measured value. Differences inside the 95 % interval may be chance.",
        bind="query-params",
        width=260,
        disabled=baseline is None,
    )
    return texts.get(str(chosen))


def draw_chart(project: Project, frame: pd.DataFrame, axes: Axes, kept: pd.Series | None) -> None:
    """Draw the runs; a click on a point opens its run, a lasso or box selects runs to compare."""
    figure = tradeoff_figure(frame, axes, project.fit, selected=selected_ids(), kept=kept)
    st.plotly_chart(
        figure,
        key=CHART_KEY,
        on_select=_points_selected,
        selection_mode=("points", "box", "lasso"),
        config={"displaylogo": False, "modeBarButtonsToRemove": ["zoom2d", "pan2d", "autoScale2d"]},
        alt=f"Every measured run as a point: {axes.x.label} across, {axes.y.label} up, with the Pareto front",
    )


def _points_selected() -> None:
    selection = st.session_state[CHART_KEY]["selection"]
    run_ids = [str(point["customdata"][0]) for point in selection["points"] if point.get("customdata")]
    if is_area(selection):
        select(run_ids)
    elif run_ids:
        open_later(run_ids[0])
