"""The presentation of a project: which run it shows, its three figures, its samples, and a page without controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake.datasets import parse_dataset
from measure.behaviour import Behaviour
from optimizers import TECHNIQUES
from optimizers.recipe import Recipe
from runs.paths import samples_folder
from runs.records import Project, RunRecord
from runs.service import Service
from tests import test_pages
from tests.conftest import easy_images
from tests.test_behaviour import ANIMALS, fit_of, one_hot, recorded
from tests.test_charts import ACCURACY, result
from tests.test_pages import finished, links, measured, open_page, texts
from tests.test_run_behaviour import with_report
from ui.formatting import as_text
from ui.frames import runs_frame, with_changes
from ui.presentation import presentation_figure
from ui.presentation_samples import EACH, groups_of
from ui.presentation_words import LEAST_LOSS, WITHIN_NOISE, chosen_run, headlines
from ui.quantities import SIZES

service, project = test_pages.service, test_pages.project
SMALLER = Recipe.single(TECHNIQUES[-1].name)


def run_of(run_id: str, metric: float, size: int, **values: Any) -> RunRecord:
    from datetime import UTC, datetime

    about = {"project_id": "1", "name": run_id, "recipe": SMALLER, "state": "finished", "created_at": datetime.now(UTC)}
    figures = result(metric, size, metric_low=metric - 0.01, metric_high=metric + 0.01)
    return RunRecord.model_validate({"run_id": run_id, "is_baseline": False, "result": figures, **about, **values})


BASELINE = run_of("base", 0.98, 100_000, is_baseline=True, recipe=Recipe())


# --- which run ----------------------------------------------------------------------------------------------------


def test_the_smallest_run_within_the_noise_is_shown() -> None:
    runs = [BASELINE, run_of("large", 0.985, 60_000), run_of("small", 0.975, 30_000), run_of("poor", 0.9, 10_000)]
    chosen = chosen_run(runs, ACCURACY)
    assert chosen is not None
    assert (chosen[0].run_id, chosen[1]) == ("small", WITHIN_NOISE)


def test_else_the_run_that_loses_least() -> None:
    runs = [BASELINE, run_of("poor", 0.9, 10_000), run_of("fair", 0.95, 50_000), run_of("old", 0.96, 9, archived=True)]
    chosen = chosen_run(runs, ACCURACY)
    assert chosen is not None
    assert (chosen[0].run_id, chosen[1]) == ("fair", LEAST_LOSS)
    errors = fit_of("regression", metric_name="mae")
    chosen = chosen_run([BASELINE, run_of("far", 3.0, 10), run_of("near", 2.0, 20)], errors)
    assert chosen is not None
    assert chosen[0].run_id == "near"
    assert chosen_run([BASELINE, run_of("waiting", 0.9, 9, state="failed")], ACCURACY) is None


# --- figures ------------------------------------------------------------------------------------------------------


def test_three_figures_say_size_cost_and_time() -> None:
    before, after = result(0.98, 100_000, latency_ms=0.4), result(0.975, 25_000, latency_ms=0.1)
    after = after.model_copy(update={"metric_low": 0.96, "metric_high": 0.985})
    size, cost, time = headlines(after, before, ACCURACY)
    assert (size.label, size.value) == ("Smaller", "4.0 times")
    assert size.note == "100.0 kB → 25.0 kB, as the deployable .tflite; in gzip 50.0 kB → 12.5 kB"
    assert (cost.label, cost.value) == ("Accuracy", "-0.50 points")
    assert cost.note.startswith("98.00 % → 97.50 %, 95 % interval 96.00 % to 98.50 %: within the noise")
    assert time.value == "0.400 ms → 0.100 ms"


def test_figures_do_not_flatter() -> None:
    larger = headlines(result(0.9, 120_000), result(0.98, 100_000), ACCURACY)
    assert (larger[0].label, larger[0].value) == ("Larger", "1.2 times")
    assert "noise" not in larger[1].note
    same = headlines(result(0.98, 100_000), result(0.98, 100_000), ACCURACY)
    assert (same[0].value, same[1].value) == ("as large", "no change")


def test_the_plot_names_the_original_and_the_run() -> None:
    runs = [BASELINE, run_of("one", 0.97, 30_000), run_of("two", 0.96, 20_000)]
    frame = with_changes(runs_frame(runs), SIZES[0], BASELINE.result)
    figure = presentation_figure(frame, ACCURACY, {"base": "Original", "two": "<i>mine</i>"})
    named = {note.text: (note.x, note.y) for note in figure.layout.annotations}
    assert named == {
        "<b>Original</b>": (100, pytest.approx(98)),
        "<b>&lt;i&gt;mine&lt;/i&gt;</b>": (20, pytest.approx(96)),
    }
    assert figure.layout.yaxis.title.text == "Accuracy, % (up is better)"
    ring = next(trace for trace in figure.data if trace.marker.symbol == "circle-open")
    assert ring.customdata.tolist() == [["two"]]


# --- samples ------------------------------------------------------------------------------------------------------


def behaviour() -> Behaviour:
    """Of 12 samples three changed: two worse, one better."""
    truth = [0, 1, 2] * 4
    old, new = list(truth), list(truth)
    old[11], new[0], new[4] = 0, 1, 2
    return recorded(fit_of("classification"), one_hot(old), one_hot(new, 0.6), truth, ("*ant*", "bee", "cat"))


def test_samples_of_both_kinds_are_shown() -> None:
    same, other = groups_of(behaviour())
    assert (same.title, other.title) == ("Answered as before: 9 of 12", "Answered otherwise: 3 of 12")
    assert [sample.row for sample in same.samples] == [1, 2, 3, 5, 6, 7], "classes in turn"
    assert len(same.samples) == EACH
    assert [sample.row for sample in other.samples] == [0, 11, 4], "worse and better in turn"
    assert other.samples[0].lines[0] == f"Label **{as_text('*ant*')}**"
    assert other.samples[0].lines[2].startswith("Now **bee** ✗")


def test_labels_are_not_needed() -> None:
    agreeing = recorded(fit_of("agreement", outputs=("classes",)), one_hot([0, 1]), one_hot([0, 2]), None)
    same, other = groups_of(agreeing)
    assert (same.samples[0].row, other.samples[0].row) == (0, 1)
    assert all("✓" not in line and "✗" not in line for line in (*same.samples[0].lines, *other.samples[0].lines))


def test_labels_of_several_and_numbers_have_samples_too() -> None:
    several = recorded(fit_of("multilabel_classification"), [[0.9, 0.9], [0.1, 0.9]], [[0.9, 0.1], [0.1, 0.9]],
                       np.asarray([[1, 1], [0, 1]]), ANIMALS[:2])  # fmt: skip
    same, other = groups_of(several)
    assert (same.samples[0].row, other.samples[0].row) == (1, 0)
    truth = np.zeros((20, 1), np.float32)
    numbers = recorded(fit_of("regression"), truth + 1, truth + np.arange(20)[:, None], truth)
    usual, worst = groups_of(numbers)
    assert [sample.row for sample in usual.samples] == [0, 2, 5, 8, 10, 13]
    assert worst.samples[0].row == 19
    assert worst.samples[0].lines == ("Label **0**", "Original **1**", "Now **19**")


def test_reports_of_older_versions_show_what_they_have() -> None:
    known = behaviour().model_dump(mode="json")
    del known["outputs"][0]["classes"]["unchanged"]
    assert [group.title for group in groups_of(Behaviour.model_validate(known))] == ["Answered otherwise: 3 of 12"]


# --- page ---------------------------------------------------------------------------------------------------------


def test_the_page_has_figures_and_samples_but_no_controls(service: Service, project: Project, tmp_path: Path) -> None:
    x, y = easy_images(60, 0)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    folder = samples_folder(service.settings, project.model.upload_id, project.dataset_id, project.options)
    parse_dataset(tmp_path / "data.npz", project.options, folder)
    run = with_report(service, project, behaviour(), tmp_path)
    assert run.result is not None
    app = open_page("pages/presentation.py", run=run.run_id)
    assert app.title[0].value == as_text(project.name)
    assert [metric.value for metric in app.metric] == ["3.3 times", "-1.00 points", "0.500 ms → 0.500 ms"]
    assert WITHIN_NOISE not in texts(app)
    assert "Answered otherwise: 3 of 12" in texts(app)
    assert len(app.get("plotly_chart")) == 1
    assert len(app.get("image")) == 9
    controls = (
        app.button,
        app.selectbox,
        app.text_input,
        app.toggle,
        app.slider,
        app.multiselect,
        app.get("download_button"),
    )
    assert [len(kind) for kind in controls] == [0] * len(controls)


def test_without_a_run_the_best_is_shown_and_the_rule_said(service: Service, project: Project) -> None:
    measured(service, project)
    finished(service, project, "poor", SMALLER, 0.5, 10_000)
    app = open_page("pages/presentation.py", project=project.project_id)
    assert "**smaller**" in texts(app)
    assert as_text(WITHIN_NOISE) in texts(app)
    gone = open_page("pages/presentation.py", project=project.project_id, run="0" * 32)
    assert "no longer here, or has no result" in texts(gone)
    assert "**smaller**" in texts(gone)


def test_what_is_missing_is_said(service: Service, project: Project) -> None:
    assert "Nothing here" in texts(open_page("pages/presentation.py"))
    assert "Nothing here" in texts(open_page("pages/presentation.py", run="0" * 32))
    assert "Nothing of this project is measured yet" in texts(
        open_page("pages/presentation.py", project=project.project_id)
    )
    finished(service, project, "Baseline", Recipe(), 0.98, 100_000)
    assert "no finished run to show" in texts(open_page("pages/presentation.py", project=project.project_id))


def test_the_pages_of_project_and_run_link_to_it(service: Service, project: Project) -> None:
    baseline, run = measured(service, project)
    assert "Present" in links(open_page("pages/project.py", project=project.project_id))
    assert "Present" in links(open_page("pages/run.py", run=run.run_id))
    assert "Present" not in links(open_page("pages/run.py", run=baseline.run_id))


def test_the_report_of_a_comparison_is_offered_where_runs_are_selected(
    service: Service, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline, run = measured(service, project)
    made: list[Any] = []
    monkeypatch.setattr("streamlit.download_button", lambda label, data, **given: made.append((label, data, given)))
    selected = f"{baseline.run_id},{run.run_id}"
    open_page("pages/project.py", project=project.project_id, selected=selected)
    data, given = next((data, given) for label, data, given in made if "comparison" in label)
    assert given["file_name"] == "f1-2-runs.html"
    monkeypatch.setattr("runs.handover.desk.HandoverDesk.comparison", lambda self, ids: ("", ids))
    assert data() == [baseline.run_id, run.run_id]
    made.clear()
    open_page("pages/project.py", project=project.project_id, selected=run.run_id)
    assert [label for label, *_ in made if "comparison" in label] == []
