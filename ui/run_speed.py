"""Speed and working memory of a run beside the baseline, measured anew on as many threads as are wanted."""

from __future__ import annotations

import os

import pandas as pd
import streamlit as st

from intake.errors import UserError
from measure.speed import Speed
from runs.records import Result, RunRecord
from runs.speed_job import MOST_THREADS
from ui.cells import as_cells
from ui.formatting import as_text, change_percent, kilobytes, milliseconds
from ui.live import finished
from ui.run_operations import draw_operations
from ui.session import may_change, service, show_problems


def draw_speed(run: RunRecord, result: Result, baseline: Result | None) -> None:
    """Draw what the run measured, and the way to measure again."""
    with st.expander("Speed and working memory", key="run:speed"):
        st.markdown(as_text(run_sentence(result, baseline)))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            threads = st.selectbox(
                "Threads", thread_counts(os.cpu_count() or 1), key="run:speed:threads", width=140,
                help="Of the processor. Small models are fastest on one.",
            )  # fmt: skip
            if may_change() and st.button(
                "Measure",
                key="run:speed:measure",
                help="Calls this file and the baseline's in turns, a few seconds long.",
            ):
                _measure(run, threads)
        job = service().speed(run.run_id, threads)
        if job is not None and finished(job):
            st.dataframe(
                as_cells(speed_table(job.result)),
                hide_index=True,
                column_config={"Working memory": st.column_config.TextColumn(help=_MEMORY_HELP)},
                alt="Time of a call and working memory, of this run and of the baseline",
            )
            st.caption(
                f"{job.result[0].calls:,} calls of each file, in turns, with one sample, on this machine and whatever "
                "else it does."
            )
        draw_operations(run, threads)


_MEMORY_HELP = (
    "For intermediate results and scratch space of one call, beside the weights, as LiteRT's own kernels plan it. "
    "XNNPACK, which it uses on larger processors, plans by itself."
)


def _measure(run: RunRecord, threads: int) -> None:
    try:
        service().measure_speed(run.run_id, threads)
    except UserError as error:
        show_problems(error.problems)


def thread_counts(processors: int) -> list[int]:
    """Return the numbers of threads to choose from: 1, 2, 4, ... up to the processors of the machine."""
    return [count for count in (1, 2, 4, 8, MOST_THREADS) if count <= max(1, processors)]


def run_sentence(result: Result, baseline: Result | None) -> str:
    """Return the latency that the run measured, with that of the baseline's run."""
    beside = f"; the baseline took {milliseconds(baseline.latency_ms)} in its run" if baseline else ""
    return f"In the run a call took {milliseconds(result.latency_ms)} in the median, on one thread{beside}."


def speed_table(speeds: tuple[Speed, ...]) -> pd.DataFrame:
    """Return a row for the run, one for the baseline where it was measured too, and the change."""
    names = ("This run", "Baseline")
    rows = [
        {
            "": name,
            "Median": milliseconds(speed.median_ms),
            "95 % of calls within": milliseconds(speed.p95_ms),
            "Working memory": "–" if speed.working_bytes is None else kilobytes(speed.working_bytes),
        }
        for name, speed in zip(names, speeds, strict=False)
    ]
    if len(speeds) == 2:
        new, old = speeds
        rows.append(
            {
                "": "Change",
                "Median": change_percent(new.median_ms, old.median_ms),
                "95 % of calls within": change_percent(new.p95_ms, old.p95_ms),
                "Working memory": change_percent(new.working_bytes, old.working_bytes)
                if new.working_bytes and old.working_bytes
                else "",
            }
        )
    return pd.DataFrame(rows)
