"""The samples of a presentation: some that are answered as before, and some that are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from intake.previews import data_address
from measure.behaviour import Behaviour, ClassChange, Flip, Moved, NumberChange
from runs.records import Project
from ui.formatting import as_text, percent
from ui.session import service

EACH = 6
"""Samples of either kind."""
_CARD_WIDTH = 168
_VALUES_LETTERS = 90


@dataclass(frozen=True)
class Shown:
    """One sample with what is said of it."""

    row: int
    lines: tuple[str, ...]
    """Markdown; names are escaped."""


@dataclass(frozen=True)
class Group:
    """Samples under one heading."""

    title: str
    samples: tuple[Shown, ...]


def groups_of(behaviour: Behaviour) -> list[Group]:
    """Return the groups of samples of the first output that has any, none of them empty."""
    for output in behaviour.outputs:
        change = output.classes or output.numbers
        groups = _of_classes(change, behaviour.samples) if isinstance(change, ClassChange) else _of_numbers(change)
        if filled := [group for group in groups if group.samples]:
            return filled
    return []


def _of_classes(change: ClassChange, samples: int) -> list[Group]:
    same = change.unchanged[:EACH]
    return [
        Group(f"Answered as before: {samples - change.changed:,} of {samples:,}", tuple(map(_flip, same))),
        Group(f"Answered otherwise: {change.changed:,} of {samples:,}", tuple(map(_flip, _mixed(change.flips)))),
    ]


def _mixed(flips: Sequence[Flip]) -> list[Flip]:
    """Worse, better and neither in turn, so that not only the one kind is seen."""
    kinds = [[flip for flip in flips if flip.gain < 0], [flip for flip in flips if flip.gain > 0]]
    kinds.append([flip for flip in flips if flip.gain == 0])
    longest = max(map(len, kinds), default=0)
    return [kind[turn] for turn in range(min(longest, EACH)) for kind in kinds if turn < len(kind)][:EACH]


def _flip(flip: Flip) -> Shown:
    return Shown(
        flip.row,
        (
            *([f"Label **{as_text(flip.truth)}**"] if flip.truth else []),
            f"Original {_said(flip.before, flip.before_probability, flip.truth)}",
            f"Now {_said(flip.after, flip.after_probability, flip.truth)}",
        ),
    )


def _said(name: str, probability: float | None, truth: str) -> str:
    mark = "" if not truth else " ✓" if name == truth else " ✗"
    sure = "" if probability is None else f", {percent(probability, 0)}".replace(" %", "\u00a0%")
    return f"**{as_text(name)}**{mark}{sure}"


def _of_numbers(change: NumberChange | None) -> list[Group]:
    if change is None:
        return []
    worst = "Error grew most" if change.errors_before else "Answer moved most"
    return [
        Group("Spread over the test part", tuple(map(_moved, change.usual[:EACH]))),
        Group(worst, tuple(map(_moved, change.most_moved[:EACH]))),
    ]


def _moved(moved: Moved) -> Shown:
    named = [("Label", moved.truth), ("Original", moved.before), ("Now", moved.after)]
    if moved.before is None:
        named = [("Error before", moved.error_before), ("Error now", moved.error_after), ("Moved by", moved.moved)]
    return Shown(moved.row, tuple(f"{name} **{value:.4g}**" for name, value in named if value is not None))


def draw_samples(project: Project, behaviour: Behaviour | None) -> None:
    """Draw the groups; nothing for runs of versions that did not look."""
    for number, group in enumerate(groups_of(behaviour) if behaviour else []):
        st.markdown(f"#### {group.title}")
        shown = service().test_samples(project, [sample.row for sample in group.samples])
        with st.container(horizontal=True, key=f"presentation:group:{number}"):
            for sample in group.samples:
                with st.container(border=True, width=_CARD_WIDTH, key=f"presentation:sample:{number}:{sample.row}"):
                    if sample.row in shown.images:
                        st.image(data_address(shown.images[sample.row]), width=96, alt=f"Test row {sample.row:,}")
                    st.markdown("  \n".join(sample.lines))
                    st.caption(as_text(_short(shown.values.get(sample.row, f"Test row {sample.row:,}"))))


def _short(text: str) -> str:
    return text if len(text) <= _VALUES_LETTERS else f"{text[: _VALUES_LETTERS - 1]}…"
