"""The report of one run, and of several side by side, with the figures and the words of the pages. No Streamlit."""

from __future__ import annotations

from collections.abc import Sequence

from intake.fit import Fit
from measure.facts import Fact
from optimizers.recipe import Recipe
from runs.handover.source import FinishedRun, SampleSource
from runs.layer_outcomes import LayerOutcome
from runs.records import Project, Result, RunRecord
from runs.report import RunReport
from ui.charts import Curves, curve_figures
from ui.formatting import (
    change_percent,
    kilobytes,
    metric_change,
    metric_text,
    milliseconds,
    percent,
    seconds,
    shape_text,
)
from ui.frames import SIZES, changed_settings, is_within_noise
from ui.report_changes import change_parts
from ui.report_document import Card, Document, Part, Table, as_html
from ui.report_figures import tradeoff_of
from ui.setting_rows import HEADINGS, setting_rows
from ui.wording import METRIC_HELP, METRICS, TASKS, VERDICTS, describe_preprocessing

NO_BASELINE = "–"


class Reports:
    """Writes reports: what `runs.service.Service` is given to do so."""

    def of_run(self, finished: FinishedRun, curves: Curves, samples: SampleSource) -> str:
        """Return the report of one run as one HTML file; `samples` looks rows of the test part up."""
        run, result, project = finished.run, finished.result, finished.project
        return as_html(
            Document(
                title=run.name,
                subtitle=_subtitle(run, project),
                made=_made(finished.report),
                cards=_cards(result, finished.baseline, project.fit),
                notes=[*_doubts(result, finished.baseline, project.fit), *run.error.splitlines(), *run.notes],
                parts=[
                    *_standing([finished], project),
                    _sizes(result, finished.baseline),
                    *(change_parts(finished.report.behaviour, samples, run.is_baseline) if finished.report else ()),
                    *(_claims(finished.report.facts) if finished.report else ()),
                    *_recipe(run.recipe),
                    *_training(curves),
                    *(_layers(run.recipe, finished.report.layers) if finished.report else ()),
                    *(_tensors(finished.report) if finished.report else ()),
                    _project(project),
                    *(_origin(finished, finished.report) if finished.report else ()),
                ],
            )
        )

    def of_comparison(self, project: Project, runs: Sequence[FinishedRun]) -> str:
        """Return the report of several runs of a project, side by side, as one HTML file."""
        return as_html(
            Document(
                title=f"{project.name}: {len(runs)} runs compared",
                subtitle=f"{project.model.file_name} with {project.dataset_name}",
                made=_made(runs[0].report),
                parts=[
                    *_standing(runs, project),
                    _side_by_side(runs, project.fit),
                    _all_sizes(runs),
                    *_settings(runs),
                    _project(project),
                    _hashes(project, runs),
                ],
            )
        )


def _subtitle(run: RunRecord, project: Project) -> str:
    tags = f" · {', '.join(run.tags)}" if run.tags else ""
    ended = f" · {run.ended_at:%d %b %Y, %H:%M} UTC" if run.ended_at else ""
    owner = f" · queued by {run.owner}" if run.owner else ""
    return f"{run.recipe.title} · {project.name}{tags}{ended}{owner}"


def _made(report: RunReport | None) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items()) if report else ""
    return f"Made by Tare. {versions}".strip()


def _cards(result: Result, baseline: Result | None, fit: Fit) -> list[Card]:
    name = fit.metric_name
    low, high = metric_text(name, result.metric_low), metric_text(name, result.metric_high)
    against = f"{metric_change(name, result.metric - baseline.metric)} against the baseline. " if baseline else ""
    cards = [Card(METRICS[name], metric_text(name, result.metric), f"{against}95 % interval {low} to {high}")]
    for label, new, old in (
        (".tflite", result.tflite_bytes, baseline.tflite_bytes if baseline else 0),
        (".tflite, gzip", result.gzip_bytes, baseline.gzip_bytes if baseline else 0),
    ):
        note = f"{change_percent(new, old)} against {kilobytes(old)}" if old else ""
        cards.append(Card(label, kilobytes(new), note))
    slower = f"{change_percent(result.latency_ms, baseline.latency_ms)} against the baseline. " if baseline else ""
    return [*cards, Card("Latency", milliseconds(result.latency_ms), f"{slower}One sample, one thread")]


def _doubts(result: Result, baseline: Result | None, fit: Fit) -> list[str]:
    name = fit.metric_name
    found = [
        f"{METRICS[name]} is that of the .tflite on {result.test_samples:,} test samples that no training saw. "
        f"{METRIC_HELP.get(name, '')}".strip(),
        f"The Keras model before conversion: {metric_text(name, result.keras_metric)}.",
    ]
    if baseline is not None and is_within_noise(result, baseline):
        found.append("The difference to the baseline is within the noise of so many test samples.")
    return found


def _standing(runs: Sequence[FinishedRun], project: Project) -> list[Part]:
    figure = tradeoff_of(runs, project.fit)
    alt = f"Size of the .tflite against {METRICS[project.fit.metric_name].lower()}, one point for each run"
    return [Part("Size against " + METRICS[project.fit.metric_name].lower(), figures=[(alt, figure)])]


def _sizes(result: Result, baseline: Result | None) -> Part:
    rows = []
    for kind in SIZES:
        new, old = getattr(result, kind.field), getattr(baseline, kind.field) if baseline else None
        change = change_percent(new, old) if new and old else ""
        exact = f"{new:,}" if new is not None else NO_BASELINE
        rows.append([kind.label, kind.text(new), exact, kind.text(old), change, kind.help])
    caption = "Every size beside the baseline's; exact ones are in bytes, or in weights"
    headings = ("Size", "This run", "Exact", "Baseline", "Change", "What it is")
    return Part("Sizes", tables=[Table(caption, headings, rows, frozenset({1, 2, 3, 4}))])


def _claims(facts: Sequence[Fact]) -> list[Part]:
    title = "Verified in the exported file"
    if not facts:
        return [Part(title, ["Nothing was claimed: the file only had to be exported."])]
    missed, unknown = sum(fact.met is False for fact in facts), sum(fact.met is None for fact in facts)
    met = len(facts) - missed - unknown
    text = f"{met} of {len(facts)} targets were met, {missed} missed, {unknown} could not be checked."
    order = sorted(facts, key=lambda fact: {False: 0, None: 1, True: 2}[fact.met])
    rows = [[fact.verdict, fact.claim, fact.layer, fact.asked, fact.measured] for fact in order]
    table = Table("What was asked, and what the file shows", ("", "Claim", "Layer", "Asked", "Found"), rows)
    return [Part(title, [text], [table])]


def _recipe(recipe: Recipe) -> list[Part]:
    if not recipe.steps:
        return [Part("Recipe", ["None: the model as it was uploaded, exported in float32."])]
    tables = [
        Table(f"Step {number}: {step.entry.title}", HEADINGS, setting_rows(step))
        for number, step in enumerate(recipe.steps, start=1)
    ]
    return [Part("Recipe", tables=tables)]


def _training(curves: Curves) -> list[Part]:
    if not curves:
        return []
    figures = [(f"{name} by optimizer step", figure) for name, figure in curve_figures(curves).items()]
    return [Part("Training", figures=figures)]


def _layers(recipe: Recipe, layers: Sequence[LayerOutcome]) -> list[Part]:
    if not layers:
        return []
    titles = [f"{number}. {step.entry.title}" for number, step in enumerate(recipe.steps, start=1)]
    rows = [
        [
            layer.layer,
            layer.class_name,
            f"{layer.parameters:,}",
            *(VERDICTS[treatment.verdict] for treatment in layer.treatments),
            layer.dtype,
            "" if layer.zero_share is None else percent(layer.zero_share),
            *(
                [" ".join(dict.fromkeys(f"{one.reason} {one.fix}".strip() for one in layer.treatments))]
                if titles
                else []
            ),
        ]
        for layer in layers
    ]
    headings = ("Layer", "Kind", "Weights", *titles, "Stored as", "Zeros", *(["Why"] if titles else []))
    numbers = frozenset({2, 4 + len(titles)})
    caption = "What was done to each layer" if titles else "The layers of the model"
    return [Part("Layers", tables=[Table(caption, headings, rows, numbers)])]


def _tensors(report: RunReport) -> list[Part]:
    rows = [
        [row.name, shape_text(row.shape), row.dtype, kilobytes(row.stored_bytes), percent(row.zero_share), f"{row.distinct:,}"]
        for row in report.tensors
    ]  # fmt: skip
    headings = ("Tensor", "Shape", "Type", "Stored", "Zeros", "Distinct values")
    table = Table("Weight tensors of the .tflite, largest first", headings, rows, frozenset({3, 4, 5}))
    return [Part("Weight tensors", tables=[table])]


def _project(project: Project) -> Part:
    rows = [
        ["Model", project.model.file_name],
        ["Dataset", project.dataset_name],
        ["Task", TASKS[project.fit.task]],
        ["Preprocessing", "; ".join(describe_preprocessing(project.fit))],
    ]
    return Part("Project", tables=[Table("What was made smaller, and what it was measured on", ("", ""), rows)])


def _origin(finished: FinishedRun, report: RunReport) -> list[Part]:
    rows = [[name, version] for name, version in report.versions.items()]
    rows += [
        ["SHA-256 of the model", report.model_sha256],
        ["SHA-256 of the dataset", "none: random inputs" if report.random_inputs else report.dataset_sha256],
        ["SHA-256 of the .tflite", finished.tflite_sha256],
        ["oneDNN", "on" if report.one_dnn else "off, after a crash of TensorFlow with it"],
        ["Run id", finished.run.run_id],
        ["Whole run", seconds(finished.result.duration_s)],
        ["Of it fine-tuning", seconds(finished.result.training_s)],
    ]
    return [Part("Versions and hashes", tables=[Table("What is needed to repeat the run", ("", "Value"), rows)])]


def _side_by_side(runs: Sequence[FinishedRun], fit: Fit) -> Part:
    name, rows = fit.metric_name, []
    for finished in runs:
        result, baseline = finished.result, finished.baseline
        low, high = metric_text(name, result.metric_low), metric_text(name, result.metric_high)
        checked = f"{finished.run.verified_met}/{finished.run.verified_count}" if finished.run.verified_count else ""
        rows.append(
            [
                finished.run.name,
                finished.run.recipe.title,
                metric_text(name, result.metric),
                f"{low} to {high}",
                metric_change(name, result.metric - baseline.metric) if baseline else "",
                kilobytes(result.tflite_bytes),
                change_percent(result.tflite_bytes, baseline.tflite_bytes) if baseline else "",
                kilobytes(result.gzip_bytes),
                milliseconds(result.latency_ms),
                checked,
            ]
        )
    headings = ["Run", "Technique", METRICS[name], "95 % interval", "Change", ".tflite", "Change", ".tflite, gzip",
                "Latency", "Verified"]  # fmt: skip
    if any(finished.run.owner for finished in runs):
        headings.append("Owner")
        rows = [[*row, finished.run.owner] for row, finished in zip(rows, runs, strict=True)]
    caption = "The runs in the order in which they were chosen; changes are against the baseline"
    return Part("Side by side", tables=[Table(caption, headings, rows, frozenset(range(2, 10)))])


def _all_sizes(runs: Sequence[FinishedRun]) -> Part:
    rows = [[kind.label, *(kind.text(getattr(one.result, kind.field)) for one in runs)] for kind in SIZES]
    headings = ("Size", *(one.run.name for one in runs))
    table = Table("Every size of each run", headings, rows, frozenset(range(1, len(headings))))
    return Part("Sizes", tables=[table])


def _settings(runs: Sequence[FinishedRun]) -> list[Part]:
    rows = [[one.run.name, "; ".join(changed_settings(one.run.recipe)) or "defaults"] for one in runs]
    notes = [[one.run.name, note] for one in runs for note in (*one.run.error.splitlines(), *one.run.notes)]
    tables = [Table("Settings that are not the defaults", ("Run", "Settings"), rows)]
    return [Part("Recipes", tables=[*tables, *([Table("Notes", ("Run", "Note"), notes)] if notes else [])])]


def _hashes(project: Project, runs: Sequence[FinishedRun]) -> Part:
    rows = [["Model", project.model.sha256]]
    rows += [["Dataset", project.dataset.sha256]] if project.dataset else []
    rows += [[f".tflite of {one.run.name} ({one.run.run_id})", one.tflite_sha256] for one in runs]
    return Part("Hashes", tables=[Table("SHA-256 of what went in and of what came out", ("File", "SHA-256"), rows)])
