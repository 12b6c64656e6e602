"""The section "What changed" of a run's page: its sentences, its figures, its tables with the samples."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from intake.dataset_info import DatasetOptions
from intake.datasets import parse_dataset
from measure.behaviour import Behaviour, ClassChange, NumberChange
from runs.paths import samples_folder
from runs.records import Project, RunRecord
from runs.report import RunReport
from runs.service import Service
from runs.shown_samples import ShownSamples, shown_samples
from runs.store import Store
from tests import test_pages
from tests.conftest import easy_images
from tests.test_behaviour import ANIMALS, classes_of, fit_of, numbers_of, one_hot, recorded
from tests.test_pages import measured, open_page, texts
from ui.behaviour_charts import (
    CALIBRATION,
    CLASSES_ALONE,
    as_figures,
    class_figure,
    confusion_figure,
    number_figure,
)
from ui.behaviour_words import (
    CHANGED,
    ERRORS,
    RIGHT,
    calibration_sentence,
    change_sentences,
    heading_of,
    sentences_alone,
    sign_test,
)
from ui.formatting import as_text
from ui.run_behaviour import flip_table, moved_table

service, project = test_pages.service, test_pages.project
TRUTH, OLD, NEW = [0, 1, 2, 2, 1, 0], [0, 1, 2, 0, 0, 2], [0, 2, 2, 2, 2, 2]


def changed() -> Behaviour:
    """Three of six changed class: one better, one worse, one neither."""
    return recorded(fit_of("classification"), one_hot(OLD), one_hot(NEW, 0.6), TRUTH, ("<b>ant</b>", "**bee**", "cat"))


def class_change() -> ClassChange:
    return classes_of(fit_of("classification"), one_hot(OLD), one_hot(NEW, 0.6), TRUTH, ANIMALS)


def sentences_of(behaviour: Behaviour) -> str:
    return " ".join(change_sentences(behaviour, behaviour.outputs[0]))


# --- sentences ----------------------------------------------------------------------------------------------------


def test_the_first_sentence_counts_better_and_worse() -> None:
    said = sentences_of(changed())
    assert said.startswith("3 of 6 samples changed class: 1 got better, 1 worse, 1 neither.")
    assert "50.00 % are answered as by the uploaded model." in said
    assert "1 better against 1 worse can be chance (sign test, p = 1)" in said


def test_no_change_is_said_in_one_sentence() -> None:
    same = recorded(fit_of("classification"), one_hot(OLD), one_hot(OLD), TRUTH, ANIMALS)
    assert sentences_of(same) == "No sample changed class: all 6 are answered as by the uploaded model."


def test_without_labels_nothing_is_called_better() -> None:
    said = sentences_of(recorded(fit_of("agreement", outputs=("classes",)), one_hot(OLD), one_hot(NEW)))
    assert said == "3 of 6 samples changed class. 50.00 % are answered as by the uploaded model."


def test_numbers_say_how_the_errors_and_the_answers_moved() -> None:
    truth = np.zeros((4, 1), np.float32)
    said = sentences_of(recorded(fit_of("regression"), [[1.0], [2], [3], [4]], [[0.5], [2.5], [3], [4]], truth))
    assert said.startswith("The error grew in 1 of 4 samples and shrank in 1. Median error 2.5 before, 2.75 now;")
    assert "Answers moved by 0.25 on average" in said
    assert sentences_of(recorded(fit_of("regression"), truth, truth, truth)).startswith("No answer changed")


@pytest.mark.parametrize(("better", "worse", "chance"), [(0, 5, 0.0625), (3, 9, 0.1460), (0, 0, 1.0), (5, 5, 1.0)])
def test_sign_test_is_exact(better: int, worse: int, chance: float) -> None:
    assert sign_test(better, worse) == sign_test(worse, better) == pytest.approx(chance, abs=1e-4)


def test_sign_test_of_many_goes_on_from_that_of_few() -> None:
    assert sign_test(475, 526) == pytest.approx(sign_test(475, 525), rel=0.1)
    assert sign_test(100_000, 200_000) == pytest.approx(0, abs=1e-12)


def test_calibration_is_told_in_both_figures() -> None:
    assert calibration_sentence(class_change()).startswith("Expected calibration error 30.00 % before, 10.00 % now")
    plain = classes_of(fit_of("classification"), np.eye(3) * 7, np.eye(3) * 7, [0, 1, 2], ANIMALS)
    assert calibration_sentence(plain) == ""


# --- figures ------------------------------------------------------------------------------------------------------


def test_figures_are_those_that_there_is_something_for() -> None:
    assert len(as_figures(class_change())) == 3
    agreeing = classes_of(fit_of("agreement", outputs=("classes",)), one_hot(OLD), one_hot(NEW))
    assert as_figures(agreeing) == {}


def test_class_figure_has_both_shares_of_each_class() -> None:
    points = [trace for trace in class_figure(class_change()).data if trace.mode == "markers"]
    assert [list(trace.x) for trace in points] == [[50.0, 50.0, 50.0], [50.0, 0.0, 100.0]]
    assert "1 of 2 right before, 0 now" in points[1].hovertext[1]


def test_confusion_figure_shows_the_cells_that_changed() -> None:
    figure = confusion_figure(class_change())
    assert figure is not None
    heat = figure.data[0]
    shown = {
        (truth, answer): (heat.text[row][column], heat.z[row][column])
        for row, truth in enumerate(heat.y)
        for column, answer in enumerate(heat.x)
        if heat.text[row][column]
    }
    assert shown[("bee", "bee")] == ('<span style="color:#000000">-1</span>', -1)
    assert shown[("bee", "cat")] == ('<span style="color:#000000">+2</span>', -2)
    assert shown[("cat", "ant")] == ('<span style="color:#000000">-1</span>', 1)
    assert ("ant", "bee") not in shown


def test_numbers_stand_out_from_their_cells() -> None:
    truth, after = [0] * 30 + [1] * 20, [0] * 30 + [0] * 20
    change = classes_of(fit_of("classification"), one_hot(after), one_hot(truth), truth, ANIMALS)  # all got better
    figure = confusion_figure(change)
    assert figure is not None
    heat = figure.data[0]
    assert {text for row in heat.text for text in row if text} == {
        '<span style="color:#ffffff">+20</span>',
        '<span style="color:#ffffff">-20</span>',
    }


def test_a_baseline_shows_how_good_it_is_and_compares_nothing() -> None:
    same = recorded(fit_of("classification"), one_hot(OLD), one_hot(OLD), TRUTH, ANIMALS)
    assert (heading_of(same, True), heading_of(same, False)) == (RIGHT, CHANGED)
    assert heading_of(changed(), True) == CHANGED  # its conversion changed answers
    assert sentences_alone(same, same.outputs[0]) == ["3 of 6 test samples are answered right."]
    change = same.outputs[0].classes
    assert change is not None
    figures = as_figures(change, alone=True)
    assert list(figures) == [CLASSES_ALONE, CALIBRATION]
    assert [trace.name for trace in figures[CLASSES_ALONE].data] == ["now"]
    assert "before" not in "".join(str(trace.name) for trace in figures[CALIBRATION].data)
    assert calibration_sentence(change, alone=True).startswith("Expected calibration error 30.00 %: so far")
    truth = np.zeros((4, 1), np.float32)
    numbers = recorded(fit_of("regression"), truth + 0.5, truth + 0.5, truth)
    assert heading_of(numbers, True) == ERRORS
    assert sentences_alone(numbers, numbers.outputs[0]) == ["Median error 0.5; 95 % of the 4 samples are within 0.5."]
    unlabelled = recorded(fit_of("agreement", outputs=("classes",)), one_hot(OLD), one_hot(OLD), None)
    assert heading_of(unlabelled, True) == ""


def test_of_many_classes_those_are_shown_that_changed_most() -> None:
    count, names = 120, tuple(f"class {number}" for number in range(120))
    truth = np.repeat(np.arange(count), 3)
    old, new = truth.copy(), (truth + 60) % count
    new[:-6] = truth[:-6]  # only the last two classes are lost whole
    new[:-6:3] = (truth[:-6:3] + 60) % count
    change = classes_of(fit_of("classification"), np.eye(count)[old], np.eye(count)[new], truth, names)
    figure = confusion_figure(change)
    assert figure is not None
    assert len(figure.data[0].x) == 40
    assert {"class 118", "class 119"} <= set(figure.data[0].y)
    assert sum(bool(text) for row in figure.data[0].text for text in row) >= 40


def test_names_of_classes_stay_text_in_figures() -> None:
    change = changed().outputs[0].classes
    assert change is not None
    assert "&lt;b&gt;ant&lt;/b&gt;" in class_figure(change).data[-1].y


def test_number_figure_has_one_series_without_labels_and_two_with() -> None:
    old, new = [[0.0], [1.0], [2.0]], [[0.0], [1.5], [1.0]]
    with_truth = numbers_of(fit_of("regression"), old, new, np.zeros((3, 1), np.float32))
    without = numbers_of(fit_of("agreement", outputs=("numbers",)), old, new)
    assert [trace.name for trace in number_figure(with_truth).data] == ["before", "now"]
    assert [trace.name for trace in number_figure(without).data] == ["now"]
    assert [sum(trace.y) for trace in number_figure(with_truth).data] == [3, 3]


# --- tables and samples -------------------------------------------------------------------------------------------


def stored(folder: Path, options: DatasetOptions | None = None, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", **arrays)
    parse_dataset(folder / "data.npz", options or DatasetOptions(), folder / "parsed")
    return folder / "parsed"


def test_samples_that_are_images_are_shown_as_such(tmp_path: Path) -> None:
    x, y = easy_images(60, 0)
    large = np.random.default_rng(0).integers(0, 256, (12, 200, 100, 3), dtype=np.uint8)
    (tmp_path / "large").mkdir()
    found = shown_samples(stored(tmp_path, x_train=x, y_train=y, x_test=x[:9], y_test=y[:9]), [8, 0, 9, -1])
    assert list(found.images) == [8, 0]
    assert Image.open(io.BytesIO(found.images[0])).size == (64, 64)
    many = stored(tmp_path / "large", x=large, y=np.arange(12) % 2)
    assert Image.open(io.BytesIO(shown_samples(many, [0]).images[0])).size == (48, 96)


def test_rows_of_a_table_are_shown_with_the_names_of_their_columns(tmp_path: Path) -> None:
    lines = ["age,size,class", *(f"{i * 7 % 31},{i * 7 % 31 * 2},{'ab'[i % 2]}" for i in range(40))]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    parse_dataset(tmp_path / "table.csv", DatasetOptions(label_column="class"), tmp_path / "parsed")
    values = shown_samples(tmp_path / "parsed", [0]).values[0]
    age = int(values.split(", ")[0].removeprefix("age "))
    assert values == f"age {age}, size {age * 2}"


def test_a_table_of_flips_has_no_empty_columns() -> None:
    table = flip_table(class_change().flips, ShownSamples(values={1: "x 1"}))
    assert list(table["What"]) == ["✗ got worse", "✓ got better", "– neither"]
    assert list(table["Sample"]) == ["x 1", "", ""]
    agreeing = classes_of(fit_of("agreement", outputs=("classes",)), np.eye(3) * 7, np.eye(3)[::-1] * 7)
    assert list(flip_table(agreeing.flips, ShownSamples())) == ["Test row", "Before", "Now"]


def test_a_table_of_errors_has_no_empty_columns() -> None:
    whole = NumberChange.model_validate(
        numbers_of(fit_of("reconstruction", metric_name="mse"), np.zeros((3, 2)), np.ones((3, 2)), np.zeros((3, 2)))
    )
    assert list(moved_table(whole.most_moved, ShownSamples())) == ["Test row", "Error before", "Error now", "Moved by"]


# --- page ---------------------------------------------------------------------------------------------------------


def with_report(
    service: Service, project: Project, behaviour: Behaviour | None, folder: Path, of_baseline: bool = False
) -> RunRecord:
    """A measured run that left a report."""
    baseline, smaller = measured(service, project)
    run = baseline if of_baseline else smaller
    report = RunReport(
        facts=(), tensors=(), behaviour=behaviour, versions={}, model_sha256="", dataset_sha256="", one_dnn=True
    )
    (folder / "files").mkdir()
    (folder / "files" / "report.json").write_text(report.model_dump_json())
    Store(service.settings).log_artifacts(run.run_id, folder / "files")
    return run


def test_the_run_page_shows_what_changed_with_the_samples(service: Service, project: Project, tmp_path: Path) -> None:
    x, y = easy_images(60, 0)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    folder = samples_folder(service.settings, project.model.upload_id, project.dataset_id, project.options)
    parse_dataset(tmp_path / "data.npz", project.options, folder)
    run = with_report(service, project, changed(), tmp_path)
    app = open_page("pages/run.py", run=run.run_id)
    said = texts(app)
    assert as_text("3 of 6 samples changed class: 1 got better, 1 worse, 1 neither.") in said
    assert as_text("Expected calibration error 30.00 % before") in said
    assert len(app.get("plotly_chart")) >= 3
    table = next(frame.value for frame in app.dataframe if "Test row" in frame.value)
    assert list(table["Right"]) == ["**bee**", "cat", "**bee**"]
    assert all(address.startswith("data:image/webp;base64,") for address in table["Sample"])


def test_the_page_of_a_baseline_says_what_it_gets_right(service: Service, project: Project, tmp_path: Path) -> None:
    same = recorded(fit_of("classification"), one_hot(OLD), one_hot(OLD), TRUTH, ANIMALS)
    app = open_page("pages/run.py", run=with_report(service, project, same, tmp_path, of_baseline=True).run_id)
    said = texts(app)
    assert RIGHT in said
    assert CHANGED not in said
    assert f"**{CLASSES_ALONE}**" in said
    assert "before" not in said.split(RIGHT)[1].split("Try it")[0]


def test_the_table_of_flips_stays_where_the_samples_are_gone(
    service: Service, project: Project, tmp_path: Path
) -> None:
    run = with_report(service, project, changed(), tmp_path)
    app = open_page("pages/run.py", run=run.run_id)
    table = next(frame.value for frame in app.dataframe if "Test row" in frame.value)
    assert "Sample" not in table
    assert list(table["Test row"]) == [1, 3, 4]


def test_a_run_of_an_older_version_says_that_nobody_looked(service: Service, project: Project, tmp_path: Path) -> None:
    run = with_report(service, project, None, tmp_path)
    assert "older than the comparison of single answers" in texts(open_page("pages/run.py", run=run.run_id))


def test_numbers_and_several_outputs_are_shown(service: Service, project: Project, tmp_path: Path) -> None:
    truth = np.zeros((4, 1), np.float32)
    numbers = recorded(fit_of("regression"), [[1.0], [2], [3], [4]], [[0.5], [2.5], [3], [4]], truth)
    both = Behaviour(samples=4, outputs=(numbers.outputs[0], changed().outputs[0].model_copy(update={"name": "*two*"})))
    app = open_page("pages/run.py", run=with_report(service, project, both, tmp_path).run_id)
    assert as_text("The error grew in 1 of 4 samples and shrank in 1.") in texts(app)
    assert "**Output \\*two\\***" in texts(app)
