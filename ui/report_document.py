"""A report as one HTML file that needs no network: parts of words, tables and plotly figures. No Streamlit.

Everything that users typed goes through Jinja's escaping; figures are JSON without any `<`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

_TEMPLATE = Path(__file__).parent / "report_template.html"


@dataclass(frozen=True)
class Card:
    """One headline figure."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A cell that shows a small picture."""

    address: str
    """With the picture in it ("data:..."): a report loads nothing."""
    alt: str


@dataclass(frozen=True)
class Table:
    """Rows of text, or of pictures."""

    caption: str
    """What it shows, also for those who do not see it."""
    headings: Sequence[str]
    rows: Sequence[Sequence[str | Picture]]
    numbers: frozenset[int] = frozenset()
    """Columns that hold numbers, from 0."""


@dataclass(frozen=True)
class Part:
    """A section with a heading."""

    title: str
    texts: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[tuple[str, go.Figure]] = ()
    """(what it shows, in words; figure)."""


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    made: str
    """With which versions, from what."""
    cards: Sequence[Card] = ()
    notes: Sequence[str] = ()
    parts: Sequence[Part] = field(default_factory=tuple)


def as_html(document: Document) -> str:
    """Return the file: style, figures and plotly.js in it."""
    number, parts = 0, []
    for part in document.parts:
        figures = []
        for alt, figure in part.figures:
            figures.append({"number": number, "alt": alt, "json": _json(figure)})
            number += 1
        parts.append({"title": part.title, "texts": part.texts, "tables": part.tables, "figures": figures})
    return _template().render(
        title=document.title,
        subtitle=document.subtitle,
        made=document.made,
        cards=document.cards,
        notes=document.notes,
        parts=parts,
        has_figures=number > 0,
        plotly=Markup(get_plotlyjs()),
    )


@cache
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))


def _json(figure: go.Figure) -> Markup:
    """JSON that cannot end the script element it stands in; the look is the report's, not plotly's template."""
    figure.update_layout(template="none")
    if figure.layout.title.text:
        figure.update_layout(title={"x": 0, "xanchor": "left"})
    return Markup(figure.to_json().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))
