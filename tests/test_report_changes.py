"""The part "What changed" of a report: the words, figures and samples of the page, in one file."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from measure.behaviour import Behaviour
from runs.shown_samples import ShownSamples
from tests.test_behaviour import fit_of, one_hot, recorded
from ui.behaviour_charts import CALIBRATION, CLASSES_ALONE, as_figures
from ui.behaviour_words import RIGHT, change_sentences
from ui.report_changes import COLOURS_NOTE, DISTRIBUTION, DISTRIBUTION_ALONE, MOST_FLIPS, MOST_MOVED, change_parts
from ui.report_document import Document, Picture, as_html

PICTURE = np.random.default_rng(0).bytes(4_000)


def pictures(rows: Sequence[int]) -> ShownSamples:
    return ShownSamples(images=dict.fromkeys(rows, PICTURE))


def values(rows: Sequence[int]) -> ShownSamples:
    return ShownSamples(values={row: f"value {row}" for row in rows})


def nothing(rows: Sequence[int]) -> ShownSamples:
    return ShownSamples()


def changed() -> Behaviour:
    """All of 90 samples got worse."""
    truth = [row % 3 for row in range(90)]
    after = [(row + 1) % 3 for row in range(90)]
    return recorded(fit_of("classification"), one_hot(truth), one_hot(after), truth, ("<b>", "bee", "cat"))


def test_a_part_has_sentences_figures_and_the_samples() -> None:
    behaviour = changed()
    (part,) = change_parts(behaviour, pictures)
    assert list(part.texts)[:2] == change_sentences(behaviour, behaviour.outputs[0])[:2]
    assert part.texts[-1] == COLOURS_NOTE
    change = behaviour.outputs[0].classes
    assert change is not None
    assert [alt for alt, _ in part.figures] == list(as_figures(change))
    assert [figure.layout.title.text for _, figure in part.figures] == list(as_figures(change))
    (table,) = part.tables
    assert table.caption.startswith(f"{MOST_FLIPS} of the 90 samples")
    assert len(table.rows) == MOST_FLIPS
    assert isinstance(table.rows[0][0], Picture)
    assert list(table.rows[0][1:6]) == ["0", "✗ got worse", "<b>", "<b>", "bee"]


def test_a_file_with_many_pictures_is_small_and_loads_nothing() -> None:
    html = as_html(Document("t", "s", "m", parts=change_parts(changed(), pictures)))
    sources = re.findall(r'<img src="([^"]*)" alt="([^"]*)">', html)
    assert len(sources) == MOST_FLIPS
    assert all(source.startswith("data:image/webp;base64,") and alt.startswith("Test row") for source, alt in sources)
    assert "<td><b></td>" not in html
    assert len(html.encode()) < 8e6


def test_columns_that_would_be_empty_are_left_out() -> None:
    (part,) = change_parts(changed(), nothing)
    assert "Sample" not in part.tables[0].headings
    (part,) = change_parts(changed(), values)
    assert part.tables[0].rows[0][0] == "value 0"


def test_numbers_have_their_distribution_and_the_worst_samples() -> None:
    truth = np.zeros((50, 1), np.float32)
    behaviour = recorded(fit_of("regression"), truth + 1, truth + np.arange(50)[:, None] + 2, truth)
    (part,) = change_parts(behaviour, values)
    assert [alt for alt, _ in part.figures] == [DISTRIBUTION]
    assert len(part.tables[0].rows) == MOST_MOVED
    assert list(part.tables[0].rows[0]) == ["value 49", "49", "0", "1", "51", "1", "51", "50"]
    same = recorded(fit_of("regression"), truth, truth, truth)
    assert [(len(part.figures), len(part.tables)) for part in change_parts(same, values)] == [(0, 0)]


def test_a_baseline_has_a_part_that_compares_nothing_and_none_without_labels() -> None:
    truth = [row % 3 for row in range(90)]
    same = recorded(fit_of("classification"), one_hot(truth), one_hot(truth), truth, ("a", "b", "c"))
    (part,) = change_parts(same, nothing, is_baseline=True)
    assert (part.title, part.texts[0]) == (RIGHT, "90 of 90 test samples are answered right.")
    assert [alt for alt, _ in part.figures] == [CLASSES_ALONE, CALIBRATION]
    assert not part.tables
    zeros = np.zeros((5, 1), np.float32)
    (part,) = change_parts(recorded(fit_of("regression"), zeros + 1, zeros + 1, zeros), nothing, is_baseline=True)
    assert [alt for alt, _ in part.figures] == [DISTRIBUTION_ALONE]
    unlabelled = recorded(fit_of("agreement", outputs=("classes",)), one_hot(truth), one_hot(truth), None)
    assert change_parts(unlabelled, nothing, is_baseline=True) == []


def test_several_outputs_have_a_part_each_and_old_runs_a_sentence() -> None:
    one = changed().outputs[0]
    both = Behaviour(samples=90, outputs=(one, one.model_copy(update={"name": "second"})))
    assert [part.title for part in change_parts(both, nothing)][1] == "What changed: output second"
    assert "older than the comparison" in change_parts(None, nothing)[0].texts[0]
