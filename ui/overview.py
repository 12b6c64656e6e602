"""A model that was just opened: what every technique will do to it with its defaults, before there is a dataset."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from optimizers import TECHNIQUES
from optimizers.layer_facts import LayerFacts
from optimizers.recipe import Recipe
from optimizers.treatment import Treatment, counts
from runs.plan import ModelPlan
from ui.cells import as_cells
from ui.estimates import plan_job
from ui.formatting import kilobytes, sentences, times_smaller
from ui.layer_table import table_height
from ui.live import job_progress
from ui.session import service
from ui.upload_step import retry_button
from ui.wording import VERDICTS


def draw_overview(upload_id: str) -> None:
    """Draw the expected size under each technique, and a table layer by technique."""
    job = plan_job(upload_id)
    if job is None:
        return
    if not job.is_done:
        job_progress(job)
    elif job.problems:
        st.warning(f"What the techniques will do could not be found out. {sentences(job.problems)}")
        retry_button("plan", job)
    else:
        _draw_known(upload_id, job.result)


def _draw_known(upload_id: str, plan: ModelPlan) -> None:
    if plan.problem:
        st.warning(sentences([plan.problem]))
    treatments = [entry.treatments(plan.layers, entry.Params()) for entry in TECHNIQUES]
    st.markdown("**What to expect of each technique** with its default settings")
    st.dataframe(
        as_cells(_sizes(upload_id, plan, treatments)),
        hide_index=True,
        alt="Estimated sizes and number of layers for each technique",
    )
    with st.expander("Layer by layer", key=f"overview:{upload_id}"):
        table = overview_table(plan.layers, treatments)
        narrow = st.column_config.TextColumn(alignment="center")
        st.dataframe(
            as_cells(table),
            hide_index=True,
            column_config={
                "Weights": st.column_config.NumberColumn(format="localized"),
                **{entry.title: narrow for entry in TECHNIQUES},
                "Why not": st.column_config.TextColumn(width=600),
            },
            height=table_height(len(table)),
            alt="What each technique does to each layer",
        )
        st.caption(", ".join(VERDICTS.values()))


def _sizes(upload_id: str, plan: ModelPlan, treatments: list[tuple[Treatment, ...]]) -> pd.DataFrame:
    rows = [
        {
            "Technique": "Baseline",
            "Estimated .tflite": kilobytes(plan.tflite_bytes) if plan.tflite_bytes else "",
            "in gzip": kilobytes(plan.gzip_bytes) if plan.gzip_bytes else "",
            "Layers": f"{len(plan.layers):,}",
        }
    ]
    for entry, found in zip(TECHNIQUES, treatments, strict=True):
        expected = service().estimate(upload_id, Recipe.single(entry.name))
        number = counts(found)
        raw = compressed = ""
        if expected is not None:
            raw = f"{kilobytes(expected.tflite_bytes)} ({times_smaller(expected.tflite_bytes, plan.tflite_bytes)})"
            compressed = f"{kilobytes(expected.gzip_bytes)} ({times_smaller(expected.gzip_bytes, plan.gzip_bytes)})"
        rows.append(
            {
                "Technique": entry.title,
                "Estimated .tflite": raw,
                "in gzip": compressed,
                "Layers": f"✓ {number['acts']:,}  – {number['left']:,}  ✕ {number['impossible']:,}",
            }
        )
    return pd.DataFrame(rows)


def overview_table(layers: tuple[LayerFacts, ...], treatments: list[tuple[Treatment, ...]]) -> pd.DataFrame:
    """Return a row for each layer, a column with a symbol for each technique, and why those pass it by that do."""
    table = pd.DataFrame(
        {
            "Layer": [layer.name for layer in layers],
            "Kind": [layer.class_name for layer in layers],
            "Weights": [layer.parameters for layer in layers],
        }
    )
    for entry, found in zip(TECHNIQUES, treatments, strict=True):
        table[entry.title] = [VERDICTS[treatment.verdict].split()[0] for treatment in found]
    table["Why not"] = [_why_not([found[index] for found in treatments]) for index in range(len(layers))]
    return table


def _why_not(of_layer: list[Treatment]) -> str:
    """The reasons of the techniques that pass a layer by; one that several share stands once."""
    reasons: dict[str, list[str]] = {}
    for entry, treatment in zip(TECHNIQUES, of_layer, strict=True):
        if treatment.verdict != "acts":
            reasons.setdefault(" ".join((treatment.reason, treatment.fix)).strip(), []).append(entry.title)
    return " ".join(f"{', '.join(titles)}: {reason}" for reason, titles in reasons.items())
