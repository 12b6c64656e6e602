"""Which layers cost accuracy under a run's recipe, and the run that leaves one of them as it is."""

from __future__ import annotations

import streamlit as st

from intake.dataset_info import RANDOM_INPUTS_NOTE
from intake.errors import UserError
from optimizers.recipe import Recipe
from optimizers.sensitivity import Sensitivity
from runs.records import Project, RunRecord
from ui.cells import as_cells
from ui.formatting import as_text
from ui.layer_table import table_height
from ui.live import finished
from ui.sensitivity_figures import (
    costly,
    how_measured,
    sensitivity_figure,
    sensitivity_sentence,
    sensitivity_table,
    worst_first,
)
from ui.session import RUN, may_change, service, show_problems
from ui.setting_rows import setting_rows

_KEY = "run:sensitivity"
_BEFORE = (
    "Treats one layer after the other by this recipe, without training, and measures what that costs on training or "
    "validation samples. A minute at most."
)
_HELP = {
    "95 % noise": "Half of the 95 % interval of the change, from the number of samples: a smaller change may be chance.",
    "Share of bytes saved": "Of what the recipe saves in the gzip of the file, by its estimate: what is given up where the "
    "layer is left.",
}


def draw_sensitivity(run: RunRecord, project: Project) -> None:
    """Draw what each layer costs by itself, or the way to measure it; nothing for the baseline.

    Viewers see what was measured: to measure keeps the worker from others for up to a minute.
    """
    if not run.recipe.steps:
        return
    job = service().sensitivities.job(run)
    if not may_change() and job is None and service().sensitivities.known(run) is None:
        return
    with st.expander("Which layers cost accuracy", key=_KEY):
        done = job is None or finished(job)
        if job is not None and not job.is_done:
            return
        found = service().sensitivities.known(run) or (job.result if job and done else None)
        if found is None:
            st.caption(_BEFORE)
            _draw_measure(run, "Measure the layers")
        elif not found.layers:
            st.caption("This recipe acts on no kernel, so no layer can cost anything.")
        else:
            _draw_found(run, project, found)


def _draw_measure(run: RunRecord, label: str) -> None:
    if may_change() and st.button(label, key=f"{_KEY}:measure"):
        try:
            service().sensitivities.measure(run)
        except UserError as error:
            show_problems(error.problems)
        else:
            st.rerun()


def _draw_found(run: RunRecord, project: Project, found: Sensitivity) -> None:
    if project.dataset is None:
        st.caption(RANDOM_INPUTS_NOTE)
    st.markdown(sensitivity_sentence(found))
    table = sensitivity_table(found)
    left, right = st.columns([1.3, 1], gap="large")
    with left:
        chosen = st.dataframe(
            as_cells(table),
            key=f"{_KEY}:table",
            hide_index=True,
            on_select="rerun",
            selection_mode="single-row",
            height=table_height(len(table)),
            column_config={
                **{name: st.column_config.TextColumn(alignment="right", help=_HELP.get(name)) for name in table},
                "Layer": st.column_config.TextColumn(pinned=True),
                **{name: st.column_config.TextColumn() for name in ("Kind", "Not measured")},
            },
            alt="What each layer costs by itself, the most costly first",
        )
    if any(cost.change is not None for cost in found.layers):
        with right:
            st.plotly_chart(
                sensitivity_figure(found),
                key=f"{_KEY}:figure",
                config={"displayModeBar": False},
                alt="Metric lost by each layer treated alone, with its 95 % interval",
            )
    ranked = worst_first(found)
    ticked = [ranked[row].layer for row in chosen["selection"]["rows"] if row < len(ranked)]
    if may_change():
        _draw_ways_out(run, list(dict.fromkeys([*ticked, *(cost.layer for cost in costly(found))])))
    st.caption(as_text(how_measured(found)))
    if any(cost.change is None for cost in found.layers):
        _draw_measure(run, "Measure again")


def _draw_ways_out(run: RunRecord, layers: list[str]) -> None:
    """Draw a button for each of some layers that queues the run without it."""
    with st.container(horizontal=True, key=f"{_KEY}:ways"):
        for layer in layers:
            try:
                recipe, problem = service().sensitivities.without(run, layer), ""
            except UserError as error:
                recipe, problem = None, " ".join(error.problems)
            if st.button(
                f"Leave {as_text(layer)} as it is and run",
                key=f"{_KEY}:leave:{layer}",
                icon=":material/play_arrow:",
                disabled=recipe is None,
                help=as_text(problem) if recipe is None else _what_changes(run.recipe, recipe),
            ):
                _leave(run, layer)
    st.caption("Tick a row to choose another layer." if layers else "Tick a row to choose a layer to leave as it is.")


def _what_changes(old: Recipe, new: Recipe) -> str:
    """In which settings a recipe differs, step by step."""
    lines = [
        as_text(f"{after.entry.title}: {label.lower()} {value}.")
        for before, after in zip(old.steps, new.steps, strict=True)
        for label, value, _ in setting_rows(after)
        if (label, value) not in [row[:2] for row in setting_rows(before)]
    ]
    return f"Queues the same recipe, with this changed. {' '.join(lines)}"


def _leave(run: RunRecord, layer: str) -> None:
    try:
        queued = service().sensitivities.leave(run, layer)
    except UserError as error:
        show_problems(error.problems)
        return
    st.switch_page(RUN, query_params={"run": queued.run_id})
