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


def colour_between(first: str, last: str, place: float) -> str:
    """Return the colour at a place from 0 to 1 between two colours "#rrggbb", as a scale of plotly has it."""
    pairs = [(int(first[at : at + 2], 16), int(last[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(start + place * (end - start)):02x}" for start, end in pairs)


def text_colour(fill: str) -> str:
    """Return black or white, whichever stands out more from a colour "#rrggbb" (contrast of WCAG 2)."""
    light = luminance(fill)
    return "#ffffff" if 1.05 / (light + 0.05) > (light + 0.05) / 0.05 else "#000000"


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2 of a colour "#rrggbb", 0 to 1."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
