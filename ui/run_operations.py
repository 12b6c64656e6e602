"""Where the time of a call goes, operation by operation, for a run beside the baseline."""

from __future__ import annotations

import streamlit as st

from intake.errors import UserError
from measure.operation_times import LONGEST_SECONDS, OperationTimes
from runs.records import RunRecord
from ui.cells import as_cells
from ui.formatting import as_text, milliseconds, percent
from ui.layer_table import table_height
from ui.live import finished
from ui.operation_rows import BASELINE, RUN, kind_table, largest_figure, operation_table, whole_sentence
from ui.session import may_change, service, show_problems

_HOW = (
    "Each operation is run by itself on what it is given in a call, in turns with all others, of this file and of the "
    "baseline's. What calling any file takes is taken off. The parts need not add up to the whole: XNNPACK, LiteRT's fast "
    "kernels, can treat neighbours together, going from one operation to the next takes time, and other work on the machine "
    "interrupts a long call more often than a short one."
)
_FORMATS = {RUN: "{:.4f}", BASELINE: "{:.4f}", "Share": lambda share: percent(share, 1),
            "Operations": "{:.0f}", "Operations in the baseline": "{:.0f}"}  # fmt: skip


def draw_operations(run: RunRecord, threads: int) -> None:
    """Draw the way to time each operation, and what was measured; to viewers only the latter, if anything was."""
    job = service().operations.times(run.run_id, threads)
    if job is None and not may_change():
        return
    st.markdown("**Time of each operation**")
    st.caption(as_text(_HOW))
    if may_change() and st.button(
        "Time each operation",
        key="run:operations:measure",
        help=f"Takes about 5 seconds; up to {LONGEST_SECONDS:.0f} and some for preparation with large models.",
    ):
        try:
            service().operations.measure(run.run_id, threads)
        except UserError as error:
            show_problems(error.problems)
    job = service().operations.times(run.run_id, threads)
    if job is not None and finished(job):
        _draw_times(job.result)


def _draw_times(measured: tuple[OperationTimes, ...]) -> None:
    st.markdown(as_text(whole_sentence(measured[0])))
    largest, kinds, all_of_them = st.tabs(
        ["Longest", "By kind", f"All {len(measured[0].operations):,} operations"], key="run:operations:view"
    )
    with largest:
        st.plotly_chart(
            largest_figure(measured), key="run:operations:largest", config={"displayModeBar": False},
            alt="Bars of the operations that take longest, of this run and of the baseline. All operations has the figures.",
        )  # fmt: skip
    with kinds:
        table = kind_table(measured)
        st.dataframe(
            as_cells(table).style.format(_FORMATS, na_rep=""), hide_index=True, key="run:operations:kinds",
            height=table_height(len(table)), placeholder="", alt="Time of all operations of each kind",
        )  # fmt: skip
    with all_of_them:
        table = operation_table(measured)
        st.dataframe(
            as_cells(table).style.format(_FORMATS, na_rep=""), hide_index=True, key="run:operations:all",
            height=table_height(len(table)), placeholder="",
            alt="Each operation of this run in the order of execution, its layer, its time, and that in the baseline",
        )  # fmt: skip
    first = measured[0]
    st.caption(
        f"{first.turns:,} turns with one sample, {first.threads} "
        f"{'thread' if first.threads == 1 else 'threads'}, on this machine and whatever else it does. "
        f"Taken off each: {milliseconds(first.overhead_ms)}; 0 stands for what is too short to tell."
    )
