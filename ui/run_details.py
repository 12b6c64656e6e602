"""What a finished run shows: headline figures, sizes, recipe, verified claims, weight tensors, how to repeat it."""

from __future__ import annotations

from typing import Literal

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from intake.fit import Fit
from measure.facts import Fact
from optimizers.recipe import Recipe
from runs.records import Result, RunRecord
from runs.report import RunReport
from ui.formatting import (
    as_text,
    change_percent,
    kilobytes,
    metric_change,
    metric_text,
    milliseconds,
    percent,
    seconds,
    shape_text,
)
from ui.frames import SIZES, is_within_noise
from ui.setting_rows import HEADINGS, setting_rows
from ui.why_size import as_markdown, size_reasons
from ui.wording import METRIC_HELP, METRICS


def draw_headline(result: Result, baseline: Result | None, fit: Fit) -> None:
    """Draw metric, sizes and latency with their change against the baseline (None on the baseline itself)."""
    columns = st.columns(4)
    _draw_metric(columns[0], result, baseline, fit)
    for column, label, field in ((columns[1], ".tflite", "tflite_bytes"), (columns[2], ".tflite, gzip", "gzip_bytes")):
        new, old = getattr(result, field), getattr(baseline, field) if baseline else 0
        stands_still = not old or abs(new / old - 1) < 0.0005
        column.metric(
            label,
            kilobytes(new),
            delta=("no change" if stands_still else change_percent(new, old)) if baseline else None,
            delta_color="off" if stands_still else "inverse",
            delta_arrow="off" if stands_still else "auto",
            border=True,
        )
    delta = change_percent(result.latency_ms, baseline.latency_ms) if baseline else None
    columns[3].metric("Latency", milliseconds(result.latency_ms), delta=delta, delta_color="inverse", border=True,
                      help="Median of one call with one sample, on one thread of this machine.")  # fmt: skip
    _draw_doubts(result, baseline, fit)


def _draw_metric(column: DeltaGenerator, result: Result, baseline: Result | None, fit: Fit) -> None:
    name = fit.metric_name
    low, high = metric_text(name, result.metric_low), metric_text(name, result.metric_high)
    better: Literal["normal", "inverse"] = "normal" if fit.higher_is_better else "inverse"
    column.metric(
        METRICS[name],
        metric_text(name, result.metric),
        delta=metric_change(name, result.metric - baseline.metric) if baseline else None,
        delta_color="off" if baseline is None or is_within_noise(result, baseline) else better,
        border=True,
        help=f"Of the .tflite on {result.test_samples:,} test samples that no training saw. "
        f"95 % interval: {low} to {high}. {METRIC_HELP.get(name, '')}".strip(),
    )


def _draw_doubts(result: Result, baseline: Result | None, fit: Fit) -> None:
    name = fit.metric_name
    low, high = metric_text(name, result.metric_low), metric_text(name, result.metric_high)
    words = [f"{METRICS[name]} between {low} and {high} with 95 % confidence, from {result.test_samples:,} samples."]
    if baseline is not None and is_within_noise(result, baseline):
        words.append("The difference to the baseline is within that noise.")
    words.append(f"The Keras model before conversion: {metric_text(name, result.keras_metric)}.")
    st.caption(as_text(" ".join(words)))
    if not result.metric_low <= result.keras_metric <= result.metric_high:
        st.warning(
            f"Conversion changed the result: the Keras model reaches {metric_text(name, result.keras_metric)}, the "
            f".tflite {metric_text(name, result.metric)}, further apart than noise explains."
        )


def draw_sizes(result: Result, baseline: Result | None, report: RunReport | None) -> None:
    """Draw every size beside the baseline's, and why it is not smaller."""
    st.subheader("Sizes")
    rows = []
    for kind in SIZES:
        new, old = getattr(result, kind.field), getattr(baseline, kind.field) if baseline else None
        change = change_percent(new, old) if old and new else ""
        rows.append(
            {
                "Size": kind.label,
                "This run": kind.text(new),
                **({"Baseline": kind.text(old), "Change": change} if baseline else {}),
            }
        )
    right = st.column_config.TextColumn(alignment="right")
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height="content",
        column_config={"This run": right, "Baseline": right, "Change": right},
        alt="All sizes of this run beside the baseline's" if baseline else "All sizes of this run",
    )
    with st.expander("What each size is", key="run:sizes"):
        st.markdown("\n".join(f"- **{as_text(kind.label)}:** {as_text(kind.help)}" for kind in SIZES))
    if baseline is not None and (reasons := size_reasons(result, baseline, report)):
        st.markdown(as_markdown(reasons))


def draw_recipe(recipe: Recipe) -> None:
    """Draw what was asked for: of each step what is not the default, and every parameter behind a click."""
    st.subheader("Recipe")
    if not recipe.steps:
        st.caption("None: the model as it was uploaded, exported in float32.")
    for number, step in enumerate(recipe.steps, start=1):
        st.markdown(f"**{step.entry.title}**")
        rows = pd.DataFrame(setting_rows(step), columns=list(HEADINGS))
        changed = rows[rows["Value"] != rows["Default"]]
        if changed.empty:
            st.caption("With its default settings.")
        else:
            st.dataframe(
                changed, hide_index=True, height="content", alt=f"Settings of {step.entry.title} that were changed"
            )
        with st.expander(f"All {len(rows)} settings", key=f"run:recipe:{number}"):
            st.dataframe(rows, hide_index=True, height="content", alt=f"Settings of {step.entry.title}")


def draw_facts(facts: tuple[Fact, ...]) -> None:
    """Draw what was asked beside what the exported file shows; what was missed comes first."""
    st.subheader("Verified in the exported file")
    if not facts:
        st.caption("Nothing was claimed: the file only had to be exported.")
        return
    missed = [fact for fact in facts if fact.met is False]
    if missed:
        st.error(f"{len(missed)} of {len(facts)} targets were missed.")
    else:
        unknown = sum(fact.met is None for fact in facts)
        rest = f" {unknown} could not be checked." if unknown else ""
        st.success(f"{len(facts) - unknown} of {len(facts)} targets were met, none missed.{rest}")
    rows = [
        {
            "": {True: "✓", False: "✗", None: "?"}[fact.met],
            "Claim": fact.claim,
            "Layer": fact.layer,
            "Asked": fact.asked,
            "Found": fact.measured,
        }
        for fact in sorted(facts, key=lambda fact: {False: 0, None: 1, True: 2}[fact.met])
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config={"": st.column_config.TextColumn(width=40)},
        alt="Claims with what was asked and what was found",
    )


def draw_tensors(report: RunReport) -> None:
    """Draw the weight tensors of the exported file, largest first."""
    table = pd.DataFrame(
        {
            "Tensor": [row.name for row in report.tensors],
            "Shape": [shape_text(row.shape) for row in report.tensors],
            "Type": [row.dtype for row in report.tensors],
            "Stored, bytes": [row.stored_bytes for row in report.tensors],
            "Zeros": [row.zero_share for row in report.tensors],
            "Distinct values": [row.distinct for row in report.tensors],
        }
    )
    formats = {"Stored, bytes": "{:,}", "Zeros": percent, "Distinct values": "{:,}"}
    with st.expander(f"{len(report.tensors):,} weight tensors of the .tflite", key="run:tensors"):
        st.dataframe(table.style.format(formats), hide_index=True, alt="Weight tensors of the exported file")


def draw_origin(run: RunRecord, report: RunReport) -> None:
    """Draw what is needed to repeat the run: versions, hashes of the inputs, times."""
    with st.expander("Versions and hashes", key="run:origin"):
        rows = [{"": name, "Value": version} for name, version in report.versions.items()]
        rows += [
            {"": "SHA-256 of the model", "Value": report.model_sha256},
            {
                "": "SHA-256 of the dataset",
                "Value": "none: random inputs" if report.random_inputs else report.dataset_sha256,
            },
            {"": "oneDNN", "Value": "on" if report.one_dnn else "off, after a crash of TensorFlow with it"},
            {"": "Run id", "Value": run.run_id},
        ]
        if run.result is not None:
            rows.append({"": "Whole run", "Value": seconds(run.result.duration_s)})
            rows.append({"": "Of it fine-tuning", "Value": seconds(run.result.training_s)})
        st.dataframe(pd.DataFrame(rows), hide_index=True, height="content", alt="Versions, hashes and times")
