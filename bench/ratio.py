"""One line of `make bench`: how long Tare takes, as a share of how long the other way takes, measured side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.table import markdown_table


@dataclass(frozen=True)
class Ratio:
    """A figure of ours over one of theirs."""

    what: str
    ours: float
    theirs: float
    unit: str
    bar: float
    """Largest ratio that is good enough, included."""
    aim: float = 0.0
    """Largest ratio that is hoped for, included; 0 where there is none."""
    how: str = ""
    """What was measured, in a few words."""
    ratio: float = 0.0
    ok: str = ""
    """ "yes" or "no"."""

    @classmethod
    def of(
        cls, what: str, ours: float, theirs: float, unit: str, bar: float, *, aim: float = 0.0, how: str = ""
    ) -> Ratio:
        """Return a line that is judged."""
        ratio = ours / theirs
        judged = "yes" if ratio <= bar else "no"
        return cls(what, round(ours, 4), round(theirs, 4), unit, bar, aim, how, round(ratio, 3), judged)


def ratio_table(rows: Sequence[Ratio]) -> str:
    """Return the lines as a Markdown table, with how many bars were met."""
    headings = ("what", "Tare", "the other way", "ratio", "bar", "aim", "met", "measured")
    table = markdown_table(headings, [_cells(row) for row in rows])
    return f"{table}\n\n{sum(row.ok == 'yes' for row in rows)} of {len(rows)} bars met."


def _cells(row: Ratio) -> list[str]:
    aim = f"≤ {row.aim:g}" if row.aim else ""
    return [
        row.what, _figure(row.ours, row.unit), _figure(row.theirs, row.unit), f"**{row.ratio:.2f}**", f"≤ {row.bar:g}",
        aim, row.ok, row.how,
    ]  # fmt: skip


def _figure(value: float, unit: str) -> str:
    return f"{value:,.3g} {unit}" if value < 100 else f"{value:,.0f} {unit}"
