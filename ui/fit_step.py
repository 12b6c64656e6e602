"""Third step of a new project: how model and dataset fit, found out automatically, each part open to another choice."""

from __future__ import annotations

from typing import Any, get_args

import pandas as pd
import streamlit as st

from intake.dataset_info import DatasetInfo
from intake.fit import FitOverrides, Loss, MatchReport, ScaleMode, Task
from ui.fit_view import draw_fit
from ui.formatting import as_text, metric_text
from ui.layer_table import table_height
from ui.session import record_to_address, show_problems
from ui.wording import LOSSES, METRICS, SCALES, TASKS, describe_step

AUTOMATIC = "automatic"
_OUTPUTS = {AUTOMATIC: None, "probabilities": False, "logits (no softmax or sigmoid yet)": True}


def draw_report(report: MatchReport, class_names: tuple[str, ...]) -> None:
    """Draw the candidates with the chosen one marked, the fit in words, and doubts."""
    if report.fit.task == "agreement":
        st.markdown("**Measured by agreement with the uploaded model**, so there was nothing to find out from labels")
    else:
        name = METRICS[report.fit.metric_name]
        st.markdown(
            f"**{name} {metric_text(report.fit.metric_name, report.metric)}** on {report.samples:,} training samples"
        )
    for note in report.notes:
        st.warning(as_text(note))
    left, right = st.columns(2, gap="large")
    with left:
        draw_fit(report.fit, class_names)
    if report.fit.task == "agreement":
        return
    with right:
        st.dataframe(
            _candidates(report),
            hide_index=True,
            column_config={"": st.column_config.TextColumn(width=40)},
            alt="Candidates with their metric, the chosen one marked",
        )


def _candidates(report: MatchReport) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "": ["✓" if candidate.chosen else "" for candidate in report.candidates],
            "Values": [SCALES[candidate.scale] for candidate in report.candidates],
            METRICS[report.fit.metric_name]: [
                metric_text(candidate.metric_name, candidate.metric) for candidate in report.candidates
            ],
            "Order of the classes": [candidate.class_order for candidate in report.candidates],
        }
    )


def draw_overrides(overrides: FitOverrides, report: MatchReport | None, dataset: DatasetInfo, pair: str) -> None:
    """Draw what can be decided by hand; a press on the button keeps it in the address and matches again.

    Args:
        overrides: in force.
        report: what was found with them; None where that failed.
        dataset: names the classes.
        pair: ids of both files, which names the widgets.
    """
    with st.expander("Decide by hand", key=f"new:overrides:{pair}", expanded=report is None):
        with st.form(f"new:overrides_form:{pair}", border=False):
            values = _draw_choices(overrides, pair)
            order, problem = _draw_class_order(overrides, report, dataset, pair)
            if report is not None:
                _draw_shape_steps(report)
            apply = st.form_submit_button("Match again", key=f"new:overrides_apply:{pair}")
        if problem:
            show_problems((problem,))
        elif apply:
            record_to_address("fit", overrides.model_copy(update={**values, "class_order": order}))
            st.rerun()
        if overrides != FitOverrides() and st.button("Back to automatic", key=f"new:overrides_reset:{pair}"):
            record_to_address("fit", FitOverrides())
            st.rerun()


def _draw_choices(overrides: FitOverrides, pair: str) -> dict[str, Any]:
    left, right = st.columns(2)
    with left:
        scale = _choose("Values", "scale", SCALES, get_args(ScaleMode), overrides.scale, pair)
        task = _choose("Task", "task", TASKS, get_args(Task), overrides.task, pair)
    with right:
        loss = _choose("Loss", "loss", LOSSES, get_args(Loss), overrides.loss, pair)
        outputs = list(_OUTPUTS)
        current = next(text for text, value in _OUTPUTS.items() if value is overrides.from_logits)
        output = st.selectbox("Model output is", outputs, outputs.index(current), key=f"new:from_logits:{pair}")
    return {"scale": scale, "task": task, "loss": loss, "from_logits": _OUTPUTS[output]}


def _choose(label: str, name: str, words: dict[Any, str], choices: tuple[str, ...], now: Any, pair: str) -> str | None:
    options = [AUTOMATIC, *choices]
    chosen = st.selectbox(
        label,
        options,
        options.index(now) if now else 0,
        format_func={AUTOMATIC: AUTOMATIC, **words}.__getitem__,
        key=f"new:{name}:{pair}",
    )
    return None if chosen == AUTOMATIC else str(chosen)


def _draw_class_order(
    overrides: FitOverrides, report: MatchReport | None, dataset: DatasetInfo, pair: str
) -> tuple[tuple[int, ...] | None, str]:
    """Return (the order, None for automatic; a problem in a sentence or "")."""
    found = overrides.class_order or (report.fit.class_order if report else ())
    names = dataset.class_names
    if not names or len(found) != len(names):
        return overrides.class_order, ""
    st.markdown("Order of the classes: which class each output unit of the model stands for")
    table = pd.DataFrame({"Output unit": range(len(found)), "Class": [names[index] for index in found]})
    edited = st.data_editor(
        table,
        hide_index=True,
        disabled=["Output unit"],
        column_config={"Class": st.column_config.SelectboxColumn(options=list(names), required=True)},
        height=table_height(len(table)),
        key=f"new:class_order:{pair}:{abs(hash(found))}",
    )
    return read_class_order(list(edited["Class"]), names, found, overrides.class_order)


def read_class_order(
    chosen: list[str], names: tuple[str, ...], found: tuple[int, ...], decided: tuple[int, ...] | None
) -> tuple[tuple[int, ...] | None, str]:
    """Return (class order from class names, a problem or ""); what was not edited stays as it was decided."""
    if sorted(chosen) != sorted(names):
        missing = sorted(set(names) - set(chosen))
        return decided, f"Each class must stand at exactly one output unit; missing: {', '.join(missing)}."
    order = tuple(names.index(name) for name in chosen)
    return (decided if order == found else order), ""


def _draw_shape_steps(report: MatchReport) -> None:
    steps = [describe_step(step) for feed in report.fit.feeds for step in feed.preprocessing if step.kind != "scale"]
    st.caption("Shapes: " + as_text("; ".join(steps) if steps else "the samples have the shape that the model takes"))
