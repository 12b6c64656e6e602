"""One colour and one symbol per technique, by its position in the registry; none is named here."""

from __future__ import annotations

from dataclasses import dataclass

from optimizers import TECHNIQUES

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito (2008), which stay apart for colour-blind readers; readable on light and on dark."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "pentagon", "hexagon")
NEUTRAL = "#7A868F"
"""For the baseline and for lines: stands out from a light and from a dark background alike."""


@dataclass(frozen=True)
class Look:
    """How the points of one kind of run are drawn."""

    colour: str
    symbol: str
    outline: str


def look_of(techniques: tuple[str, ...]) -> Look:
    """Return the look of a recipe: body of the first technique, outline of the last."""
    names = [entry.name for entry in TECHNIQUES]
    if not techniques:
        return Look(NEUTRAL, "star", NEUTRAL)
    first, last = (names.index(name) % len(COLOURS) for name in (techniques[0], techniques[-1]))
    return Look(COLOURS[first], SYMBOLS[first], COLOURS[last])


def rank_of(techniques: tuple[str, ...]) -> tuple[int, ...]:
    """Return the place of a recipe in legends: the order of the registry."""
    names = [entry.name for entry in TECHNIQUES]
    return tuple(names.index(name) for name in techniques)
