"""What changed between two models' answers: flips, classes, confusion, calibration, errors; answers that are kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake import stored_answers
from intake.fit import Fit
from intake.stored_answers import StoredAnswers
from measure.behaviour import Behaviour, ClassChange, NumberChange
from measure.behaviour_recorder import BehaviourRecorder
from measure.class_answers import MOST_FLIPS

ANIMALS = ("ant", "bee", "cat")


def fit_of(task: str, **changed: Any) -> Fit:
    kind = "accuracy" if "classification" in task else {"agreement": "agreement"}.get(task, "mae")
    loss = {"classification": "sparse_categorical_crossentropy", "agreement": "distillation"}.get(task)
    loss = loss or ("mean_squared_error" if kind == "mae" else "binary_crossentropy")
    return Fit.model_validate({"task": task, "loss": loss, "metric_name": kind, **changed})


def recorded(fit: Fit, before: Any, after: Any, truth: Any = None, names: tuple[str, ...] = ()) -> Behaviour:
    """What changed, from two chunks as from one."""
    old, new = np.asarray(before, np.float32), np.asarray(after, np.float32)
    right = None if truth is None else np.asarray(truth)
    whole, parts = (BehaviourRecorder(fit, names, ("out",)) for _ in range(2))
    whole.add([old], [new], right)
    for rows in (slice(0, 2), slice(2, None)):
        parts.add([old[rows]], [new[rows]], None if right is None else right[rows])
    assert parts.behaviour() == whole.behaviour()
    return whole.behaviour()


def classes_of(*given: Any, **named: Any) -> ClassChange:
    change = recorded(*given, **named).outputs[0].classes
    assert change is not None
    return change


def numbers_of(*given: Any, **named: Any) -> NumberChange:
    change = recorded(*given, **named).outputs[0].numbers
    assert change is not None
    return change


def one_hot(classes: list[int], sure: float = 0.8) -> np.ndarray:
    return np.eye(3)[classes] * (sure - (1 - sure) / 2) + (1 - sure) / 2


def test_flips_are_counted_and_told_apart() -> None:
    truth, old, new = [0, 1, 2, 2, 1, 0], [0, 1, 2, 0, 0, 2], [0, 2, 2, 2, 2, 2]
    change = classes_of(fit_of("classification"), one_hot(old), one_hot(new, 0.6), truth, ANIMALS)
    assert (change.changed, change.better, change.worse) == (3, 1, 1)
    assert [(flip.row, flip.truth, flip.before, flip.after) for flip in change.flips] == [
        (1, "bee", "bee", "cat"),
        (3, "cat", "ant", "cat"),
        (4, "bee", "ant", "cat"),
    ]
    assert change.flips[0].before_probability == pytest.approx(0.8)
    assert change.flips[0].after_probability == pytest.approx(0.6)


def test_each_class_and_each_cell_of_the_confusion_matrix_is_counted() -> None:
    change = classes_of(fit_of("classification"), one_hot([0, 1, 2, 0]), one_hot([0, 2, 2, 2]), [0, 1, 2, 2], ANIMALS)
    assert [(row.name, row.samples, row.right_before, row.right_after) for row in change.classes] == [
        ("ant", 1, 1, 1),
        ("bee", 1, 1, 0),
        ("cat", 2, 1, 2),
    ]
    cells = {(cell.truth, cell.answer): (cell.before, cell.after) for cell in change.cells}
    assert cells == {(0, 0): (1, 1), (1, 1): (1, 0), (1, 2): (0, 1), (2, 0): (1, 0), (2, 2): (1, 2)}
    assert change.cells[-1].before == change.cells[-1].after


def test_units_in_another_order_keep_their_names() -> None:
    fit = fit_of("classification", class_order=(2, 0, 1))
    change = classes_of(fit, one_hot([0, 1, 2]), one_hot([1, 1, 2]), [0, 1, 2], ANIMALS)
    assert change.names == ("cat", "ant", "bee")
    assert [(flip.truth, flip.before, flip.after) for flip in change.flips] == [("cat", "cat", "ant")]


def test_one_hot_truth_and_logits_are_understood() -> None:
    fit = fit_of("classification", loss="categorical_crossentropy", from_logits=True)
    logits = np.asarray([[5.0, 0, 0], [0, 5, 0], [0, 0, 5]])
    change = classes_of(fit, logits, logits[::-1], np.eye(3, dtype=np.float32), ANIMALS)
    assert (change.changed, change.worse) == (2, 2)
    assert change.flips[0].before_probability == pytest.approx(np.exp(5) / (np.exp(5) + 2))


@pytest.mark.parametrize(("from_logits", "half"), [(False, 0.5), (True, 0.0)])
def test_yes_or_no_is_a_choice_of_two_classes(from_logits: bool, half: float) -> None:
    fit = fit_of("binary_classification", from_logits=from_logits)
    old, new = [[half + 0.3], [half - 0.3], [half]], [[half - 0.1], [half - 0.2], [half]]
    change = classes_of(fit, old, new, [[1.0], [0.0], [0.0]], ("no", "yes"))
    assert [(flip.row, flip.truth, flip.before, flip.after) for flip in change.flips] == [(0, "yes", "yes", "no")]
    assert [row.right_after for row in change.classes] == [2, 0]
    assert change.after is not None
    assert sum(change.after.samples) == 3
    assert not any(change.after.samples[:5])  # the class that is chosen has at least one half


def test_calibration_is_the_distance_of_probability_and_truth() -> None:
    old, new = one_hot([0, 1, 2, 0], 0.75), one_hot([0, 1, 2, 0], 0.95)
    change = classes_of(fit_of("classification"), old, new, [0, 1, 2, 2], ANIMALS)
    assert change.before is not None
    assert change.after is not None
    assert change.before.expected_calibration_error == pytest.approx(0.0, abs=1e-6)
    assert change.after.expected_calibration_error == pytest.approx(0.2, abs=1e-6)
    assert change.after.samples == (0,) * 9 + (4,)
    assert change.after.right[9] == 0.75


def test_outputs_that_are_no_probabilities_are_not_calibrated() -> None:
    change = classes_of(fit_of("classification"), np.eye(3) * 7, np.eye(3) * 7, [0, 1, 2], ANIMALS)
    assert (change.before, change.after, change.changed) == (None, None, 0)


def test_an_answer_that_is_no_number_is_wrong() -> None:
    broken = one_hot([0, 1, 2])
    broken[1] = np.nan
    change = classes_of(fit_of("classification"), one_hot([0, 1, 2]), broken, [0, 1, 2], ANIMALS)
    assert (change.worse, change.flips[0].after) == (1, "not a number")
    assert [row.right_after for row in change.classes] == [1, 0, 1]


def test_only_some_of_many_flips_are_kept_the_worse_first() -> None:
    truth, old = np.arange(1000) % 3, (np.arange(1000) + 1) % 3
    old[-10:] = truth[-10:]
    change = classes_of(fit_of("classification"), np.eye(3)[old], np.eye(3)[(old + 1) % 3], truth, ANIMALS)
    assert (change.changed, change.worse, len(change.flips)) == (1000, 10, MOST_FLIPS)
    assert [flip.row for flip in change.flips[:10]] == list(range(990, 1000))


def test_several_labels_a_sample_are_judged_one_by_one() -> None:
    old, new = [[0.9, 0.1, 0.9], [0.2, 0.2, 0.2], [0.9, 0.9, 0.9]], [[0.9, 0.6, 0.9], [0.2, 0.2, 0.9], [0.9, 0.9, 0.9]]
    truth = np.asarray([[1, 0, 1], [0, 0, 1], [1, 1, 1]], np.float32)
    change = classes_of(fit_of("multilabel_classification"), old, new, truth, ANIMALS)
    assert (change.changed, change.better, change.worse) == (2, 1, 1)
    assert [(flip.truth, flip.before, flip.after) for flip in change.flips] == [
        ("ant, cat", "ant, cat", "ant, bee, cat"),
        ("cat", "none", "cat"),
    ]
    assert [row.right_after for row in change.classes] == [3, 2, 3]
    assert change.after is not None
    assert sum(change.after.samples) == 9


def test_agreement_tells_flips_without_judging_them() -> None:
    fit = fit_of("agreement", outputs=("classes",))
    change = classes_of(fit, one_hot([0, 1, 2]), one_hot([0, 0, 2]))
    assert (change.changed, change.better, change.worse, change.classes, change.before) == (1, 0, 0, (), None)
    assert [(flip.truth, flip.before, flip.after) for flip in change.flips] == [("", "1", "0")]


def test_errors_of_numbers_are_compared() -> None:
    old, new = [[1.0], [2.0], [3.0], [4.5]], [[1.5], [2.0], [3.0], [4.0]]
    change = numbers_of(fit_of("regression"), old, new, np.asarray([[1.0], [2.5], [3.0], [4.0]], np.float32))
    assert (change.grew, change.shrank, change.is_signed) == (1, 1, True)
    assert change.errors_before is not None
    assert change.errors_after is not None
    assert (change.errors_before.mean, change.errors_after.mean) == (0.25, 0.25)
    assert (change.moved.mean, change.moved.largest) == (0.25, 0.5)
    assert sum(change.before) == sum(change.after) == 4
    worst = change.most_moved[0]
    assert (worst.row, worst.truth, worst.before, worst.after, worst.error_after) == (0, 1.0, 1.0, 1.5, 0.5)
    assert len(change.most_moved) == 1  # where the error shrank is no trouble


def test_answers_of_several_numbers_have_a_mean_error() -> None:
    old, new = np.zeros((3, 2, 2)), np.ones((3, 2, 2)) * [[[1]], [[0]], [[2]]]
    change = numbers_of(fit_of("reconstruction", metric_name="mse"), old, new, np.zeros((3, 2, 2), np.float32))
    assert not change.is_signed
    assert [(moved.row, moved.truth, moved.error_after) for moved in change.most_moved] == [
        (2, None, 2.0),
        (0, None, 1.0),
    ]


def test_without_labels_the_differences_are_counted() -> None:
    change = numbers_of(fit_of("agreement", outputs=("numbers",)), [[0.0], [1.0], [2.0]], [[0.0], [1.5], [1.0]])
    assert (change.before, sum(change.after), change.errors_before) == ((), 3, None)
    assert change.edges[0] == -change.edges[-1]
    assert [moved.row for moved in change.most_moved] == [2, 1]


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_numbers_that_are_none_do_not_end_up_in_the_figures(broken: float) -> None:
    truth = np.zeros((3, 1), np.float32)
    whole = recorded(fit_of("regression"), [[0.0], [1.0], [0.5]], [[0.0], [broken], [0.5]], truth)
    assert Behaviour.model_validate_json(whole.model_dump_json()) == whole
    change = whole.outputs[0].numbers
    assert change is not None
    assert sum(change.after) == 2
    assert [(moved.row, moved.after, moved.moved) for moved in change.most_moved] == [(1, None, None)]


def test_answers_are_kept_until_the_model_is_newer(tmp_path: Path) -> None:
    model = tmp_path / "model.h5"
    model.write_bytes(b"")
    kept = StoredAnswers(tmp_path / "answers" / "a.npz", model)
    assert kept.read(3) is None
    answers = [np.arange(6, dtype=np.float32).reshape(3, 2), np.ones((3, 1), np.float32)]
    kept.write(answers)
    found = kept.read(3)
    assert found is not None
    assert [array.tolist() for array in found] == [array.tolist() for array in answers]
    assert kept.read(4) is None
    later = (tmp_path / "answers" / "a.npz").stat().st_mtime_ns + 10**9
    os.utime(model, ns=(later, later))
    assert kept.read(3) is None


def test_answers_that_are_broken_or_too_large_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = tmp_path / "model.h5", tmp_path / "a.npz"
    model.write_bytes(b"")
    path.write_bytes(b"no archive")
    kept = StoredAnswers(path, model)
    assert kept.read(3) is None
    path.unlink()
    monkeypatch.setattr(stored_answers, "KEPT_BYTES", 8)
    kept.write([np.zeros((3, 2), np.float32)])
    assert not path.exists()
