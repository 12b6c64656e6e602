"""What changed in the answers of a run, for its report: sentences, figures, and the samples themselves. No Streamlit."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from intake.previews import data_address
from measure.behaviour import Behaviour, ClassChange, Moved, NumberChange, OutputChange
from runs.handover.source import SampleSource
from runs.shown_samples import ShownSamples
from ui.behaviour_charts import as_figures, number_figure
from ui.behaviour_words import (
    CHANGED,
    calibration_sentence,
    change_sentences,
    heading_of,
    sentences_alone,
    stands_alone,
    what_became,
)
from ui.formatting import percent
from ui.report_document import Part, Picture, Table

MOST_FLIPS, MOST_MOVED = 40, 20
"""Rows of a table of samples, so that a report stays small (a picture has 1 to 4 kB) and can be read."""
COLOURS_NOTE = "In the figures blue is better: more right answers, or fewer of a mistake. Orange is worse."
DISTRIBUTION = "Distribution of the errors, before and now"
DISTRIBUTION_ALONE = "Distribution of the errors"
Cell = str | Picture
_TITLE_PIXELS = 64
"""Above a figure, for its title and its legend."""


def change_parts(behaviour: Behaviour | None, samples: SampleSource, is_baseline: bool = False) -> list[Part]:
    """Return a part for each output; a sentence for runs of versions that did not look.

    Of a baseline the parts say how good it is, and there are none without labels.

    Args:
        behaviour: what changed; None where nobody looked.
        samples: looks rows of the test part up.
        is_baseline: whether the run is one.
    """
    if behaviour is None:
        return [Part(CHANGED, ["This run is older than the comparison of single answers."])]
    heading, alone = heading_of(behaviour, is_baseline), stands_alone(behaviour, is_baseline)
    if not heading:
        return []
    titles = [f"{heading}: output {each.name}" if len(behaviour.outputs) > 1 else heading for each in behaviour.outputs]
    return [
        _alone(title, behaviour, output) if alone else _part(title, behaviour, output, samples)
        for title, output in zip(titles, behaviour.outputs, strict=True)
    ]


def _alone(title: str, behaviour: Behaviour, output: OutputChange) -> Part:
    said = sentences_alone(behaviour, output)
    if output.classes is not None:
        figures = as_figures(output.classes, alone=True)
        said += filter(None, [calibration_sentence(output.classes, alone=True)])
    elif output.numbers is not None and output.numbers.errors_after is not None:
        figures = {DISTRIBUTION_ALONE: number_figure(output.numbers, alone=True)}
    else:
        figures = {}
    return Part(title, said, figures=[(name, _titled(name, figure)) for name, figure in figures.items()])


def _part(title: str, behaviour: Behaviour, output: OutputChange, samples: SampleSource) -> Part:
    said = change_sentences(behaviour, output)
    if output.classes is not None:
        figures = [(title, _titled(title, figure)) for title, figure in as_figures(output.classes).items()]
        notes = [calibration_sentence(output.classes), COLOURS_NOTE if figures else ""]
        return Part(title, [*said, *filter(None, notes)], _flips(output.classes, samples), figures)
    if output.numbers is not None and output.numbers.moved.largest > 0:
        figures = [(DISTRIBUTION, _titled(DISTRIBUTION, number_figure(output.numbers)))]
        return Part(title, said, _moved(output.numbers, samples), figures)
    return Part(title, said)


def _titled(title: str, figure: go.Figure) -> go.Figure:
    """The pages write titles above their figures, a report has them inside."""
    return figure.update_layout(
        title={"text": title, "font": {"size": 14}, "y": 0.99, "yanchor": "top"},
        margin={"t": _TITLE_PIXELS},
        height=figure.layout.height + _TITLE_PIXELS,
    )


def _flips(change: ClassChange, samples: SampleSource) -> list[Table]:
    shown = change.flips[:MOST_FLIPS]
    if not shown:
        return []
    caption = f"The {change.changed:,} samples that changed class"
    if len(shown) < change.changed:
        caption = f"{len(shown):,} of the {change.changed:,} samples that changed class, the worse ones first"
    columns: dict[str, list[Cell]] = {
        "Sample": _samples([flip.row for flip in shown], samples),
        "Test row": [f"{flip.row:,}" for flip in shown],
        "What": [what_became(flip) for flip in shown],
        "Right": [flip.truth for flip in shown],
        "Before": [flip.before for flip in shown],
        "Now": [flip.after for flip in shown],
        "Probability before": [_percent(flip.before_probability) for flip in shown],
        "Probability now": [_percent(flip.after_probability) for flip in shown],
    }
    return [_table(caption, columns, {"Test row", "Probability before", "Probability now"})]


def _moved(change: NumberChange, samples: SampleSource) -> list[Table]:
    shown = change.most_moved[:MOST_MOVED]
    if not shown:
        return []
    caption = "Samples whose error grew most" if change.errors_before else "Samples whose answer moved most"
    columns: dict[str, list[Cell]] = {"Sample": _samples([moved.row for moved in shown], samples)}
    columns["Test row"] = [f"{moved.row:,}" for moved in shown]
    for heading, field in _NUMBERS.items():
        columns[heading] = [_number(moved, field) for moved in shown]
    return [_table(caption, columns, {"Test row", *_NUMBERS})]


_NUMBERS = {
    "Right": "truth",
    "Before": "before",
    "Now": "after",
    "Error before": "error_before",
    "Error now": "error_after",
    "Moved by": "moved",
}


def _table(caption: str, columns: dict[str, list[Cell]], numbers: set[str]) -> Table:
    """Leave out columns that would be empty."""
    filled = {heading: cells for heading, cells in columns.items() if any(cells)}
    rows = [list(row) for row in zip(*filled.values(), strict=True)]
    places = frozenset(place for place, heading in enumerate(filled) if heading in numbers)
    return Table(caption, tuple(filled), rows, places)


def _samples(rows: Sequence[int], samples: SampleSource) -> list[Cell]:
    shown: ShownSamples = samples(rows)
    if shown.images:
        return [
            Picture(data_address(shown.images[row]), f"Test row {row:,}") if row in shown.images else "" for row in rows
        ]
    return [shown.values.get(row, "") for row in rows]


def _percent(value: float | None) -> str:
    return "" if value is None else percent(value)


def _number(moved: Moved, field: str) -> str:
    value = getattr(moved, field)
    return "" if value is None else f"{value:.5g}"
