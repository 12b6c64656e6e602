"""How a model and a dataset go together, in words."""

from __future__ import annotations

import streamlit as st

from intake.fit import Fit
from ui.formatting import as_text
from ui.wording import METRICS, OUTPUTS, TASKS, describe_loss, describe_preprocessing

_SHOWN_CLASSES = 30


def draw_fit(fit: Fit, class_names: tuple[str, ...]) -> None:
    """Draw task, loss, metric, preprocessing and the order of the classes."""
    steps = "\n".join(f"{number}. {as_text(text)}" for number, text in enumerate(describe_preprocessing(fit), 1))
    st.markdown(
        f"**Task:** {TASKS[fit.task]}  \n**Loss:** {describe_loss(fit)}  \n**Metric:** {METRICS[fit.metric_name]}"
    )
    if fit.outputs:
        kinds = "; ".join(OUTPUTS[kind] for kind in dict.fromkeys(fit.outputs))
        st.markdown(f"**What agrees:** {kinds}")
    st.markdown(f"**Preprocessing**\n\n{steps}")
    if fit.class_order and class_names:
        st.markdown(f"**Order of the classes** (output unit 0 first): {_class_order(fit, class_names)}")


def _class_order(fit: Fit, class_names: tuple[str, ...]) -> str:
    known = [class_names[index] for index in fit.class_order if index < len(class_names)]
    more = f" and {len(known) - _SHOWN_CLASSES} more" if len(known) > _SHOWN_CLASSES else ""
    return ", ".join(as_text(name) for name in known[:_SHOWN_CLASSES]) + more
