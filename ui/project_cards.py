"""The cards of the home page, and what a first visit sees."""

from __future__ import annotations

import streamlit as st

from runs.records import Project, RunRecord
from runs.versions import NewerTare
from ui.dialogs import delete_project, rename_project
from ui.formatting import as_text, change_percent, kilobytes, metric_text
from ui.frames import baseline_of, best_run
from ui.live import job_progress
from ui.session import NEW_PROJECT, PROJECT, may_change, service, show_problems
from ui.wording import METRICS

EXAMPLE_KEY = "home:example"
_JOB_WANTED = "home:example_wanted"


def draw_welcome() -> None:
    """Say what Tare does, and offer the two ways in to those who may take them."""
    with st.container(border=True, key="welcome"):
        st.subheader("Make a Keras model smaller, and see what it costs")
        st.markdown(
            "Upload a trained Keras model, best with a dataset, and Tare prunes, clusters or quantizes it in the background, "
            "fine-tuning where that helps. Every run becomes a deployable .tflite and one measured point of size "
            "against accuracy, so that you can pick the one you can afford."
        )
        if not may_change():
            st.caption("There is no project yet. What editors make will be here.")
            return
        with st.container(horizontal=True):
            draw_example_button(primary=True)
            if st.button("Start with your own model", key="home:own"):
                st.switch_page(NEW_PROJECT)
    draw_example_progress()


def draw_example_button(primary: bool = False) -> None:
    """Draw the button that creates the built-in project."""
    if st.button("Try the example", key=EXAMPLE_KEY, type="primary" if primary else "secondary",
                 help="A small network that reads handwritten digits, with its data. Takes a few seconds."):  # fmt: skip
        service().create_example()
        st.session_state[_JOB_WANTED] = True
        st.rerun()


def draw_example_progress() -> None:
    """Show the example on its way, and go to its page once it is there."""
    job = service().example_job()
    if job is None or not st.session_state.get(_JOB_WANTED):
        return
    if not job.is_done:
        job_progress(job)
        return
    st.session_state[_JOB_WANTED] = False
    if job.problems:
        show_problems(job.problems)
    else:
        st.switch_page(PROJECT, query_params={"project": job.result.project_id})


def draw_card(project: Project) -> None:
    """Draw one project: name, files, runs, best result, and what can be done with it."""
    with st.container(border=True, key=f"project:{project.project_id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(PROJECT, label=f"**{as_text(project.name)}**", query_params={"project": project.project_id})
            st.space("stretch")
            _draw_menu(project)
        made_of = (project.model.file_name, project.dataset_name, project.owner)
        st.caption(" · ".join(as_text(part) for part in made_of if part))
        try:
            runs = service().runs(project.project_id)
        except NewerTare as error:  # the other projects can be used
            show_problems(error.problems)
            return
        _draw_figures(project, runs)


def _draw_figures(project: Project, runs: list[RunRecord]) -> None:
    baseline, best = baseline_of(runs), best_run(runs, project.fit)
    metric, count = project.fit.metric_name, len([run for run in runs if not run.is_baseline])
    left, middle, right = st.columns([1, 2, 2])
    left.metric("Runs", f"{count:,}", delta=_active_text(runs), delta_color="off", delta_arrow="off")
    if baseline is None or baseline.result is None:
        return
    middle.metric("Baseline", kilobytes(baseline.result.tflite_bytes),
                  delta=f"{METRICS[metric]} {metric_text(metric, baseline.result.metric)}",
                  delta_color="off", delta_arrow="off")  # fmt: skip
    if best is None or best.result is None:
        return
    right.metric("Smallest without loss", kilobytes(best.result.tflite_bytes),
                 delta=change_percent(best.result.tflite_bytes, baseline.result.tflite_bytes), delta_color="inverse",
                 help=f"{as_text(best.name)}: the smallest .tflite whose {METRICS[metric].lower()} is not worse than "
                 "the baseline's beyond its 95 % interval.")  # fmt: skip


def _active_text(runs: list[RunRecord]) -> str | None:
    active = sum(run.is_active for run in runs)
    return f"{active} at work" if active else None


def _draw_menu(project: Project) -> None:
    if not may_change():
        return
    chosen = st.menu_button("Manage", ["Rename", "Delete"], key=f"menu:{project.project_id}", type="tertiary")
    if chosen == "Rename":
        rename_project(project)
    elif chosen == "Delete":
        delete_project(project)
