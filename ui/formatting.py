"""Numbers with their units, and text from users made safe to show."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from intake.fit import SHARES, Metric

_PUNCTUATION = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=])")


def kilobytes(size_bytes: float) -> str:
    """Return "1,234.5 kB" (1 kB = 1000 bytes); "37 bytes" where that says more."""
    return f"{size_bytes / 1000:,.1f} kB" if size_bytes >= 100 else f"{size_bytes:.0f} bytes"


def percent(share: float, digits: int = 2) -> str:
    """Return a share (0 to 1) as "97.22 %"."""
    return f"{share * 100:,.{digits}f} %"


def change_percent(new: float, old: float) -> str:
    """Return how far `new` is from `old` as "-74.1 %", or "" where there is nothing to compare with."""
    if not old:
        return ""
    text = f"{(new / old - 1) * 100:+,.1f} %"
    return "0.0 %" if text in ("+0.0 %", "-0.0 %") else text


def times_smaller(new: float, old: float) -> str:
    """Return how `new` compares with a larger `old` as "÷3.4"; "as large" where they hardly differ, "×1.1" if it grows."""
    if not new or not old or abs(new / old - 1) < 0.01:
        return "as large"
    return f"÷{old / new:.1f}" if new < old else f"×{new / old:.1f}"


def metric_text(name: Metric, value: float) -> str:
    """Return a share as "97.22 %", an error with four significant digits."""
    return percent(value) if name in SHARES else f"{value:,.4g}"


def metric_change(name: Metric, change: float) -> str:
    """Return a difference of metrics: "-0.28 points" of a percentage, or "+0.0123" of an error."""
    return f"{change * 100:+.2f} points" if name in SHARES else f"{change:+.4g}"


def milliseconds(value: float) -> str:
    """Return "0.123 ms", "12.3 ms"."""
    return f"{value:,.3f} ms" if value < 1 else f"{value:,.1f} ms"


def seconds(value: float) -> str:
    """Return a length of time for people: "8.2 s", "2 min 05 s", "1 h 03 min"."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def seconds_left(value: float | None) -> str:
    """Return "about 12 s left", or "" while too little is known."""
    if value is None:
        return ""
    return f"about {value:.0f} s left" if value < 60 else f"about {seconds(value)} left"


def shape_text(shape: Iterable[int | None]) -> str:
    """Return "28 × 28 × 1"; the batch axis (None) is left out, other open sides are "any"."""
    sides = list(shape)
    if sides and sides[0] is None:
        sides = sides[1:]
    return " × ".join("any" if side is None else f"{side:,}" for side in sides) or "one number"


def as_text(value: str) -> str:
    """Return text that Markdown shows exactly as it is."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(value.split()))


def as_hover(value: str) -> str:
    """Return text that a plotly hover card shows exactly as it is."""
    return html.escape(" ".join(value.split()))


def sentences(problems: Iterable[str]) -> str:
    """Return sentences as Markdown, one a line; only `names in backticks` keep a meaning."""
    return "  \n".join(_with_code(line) for problem in problems for line in problem.splitlines() if line.strip())


def _with_code(sentence: str) -> str:
    parts = sentence.split("`")
    if len(parts) % 2 == 0:
        return as_text(sentence)
    return "".join(f"`{part}`" if index % 2 else _keep_ends(part) for index, part in enumerate(parts))


def _keep_ends(part: str) -> str:
    """Escape without losing the blanks beside a code span."""
    return _PUNCTUATION.sub(r"\\\1", part)
