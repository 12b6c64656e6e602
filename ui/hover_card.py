"""The card of a run that the chart shows under the mouse, as plotly's markup with user text escaped."""

from __future__ import annotations

from runs.records import RunRecord
from ui.formatting import as_hover, metric_text
from ui.quantities import OTHERS, SIZES, value_of
from ui.wording import METRICS

MOST_SETTINGS = 6


def card_of(run: RunRecord, settings: list[str]) -> str:
    """Return what is known of a run without looking at another: name, technique, settings, metric, sizes, times."""
    lines = [f"<b>{as_hover(run.name)}</b>", as_hover(run.recipe.title), *_shortened(settings)]
    if run.tags:
        lines.append(as_hover(f"Tags: {', '.join(run.tags)}"))
    if run.result is not None:
        name = run.result.metric_name
        metric, low, high = (metric_text(name, getattr(run.result, f"metric{end}")) for end in ("", "_low", "_high"))
        lines += ["", f"{METRICS[name]} {metric} ({low} to {high})"]
        lines += [
            f"{quantity.label}: {quantity.text(value_of(run.result, quantity))}" for quantity in (*SIZES, *OTHERS)
        ]
    return "<br>".join(lines)


def _shortened(settings: list[str]) -> list[str]:
    more = len(settings) - MOST_SETTINGS
    shown = settings if more <= 0 else [*settings[:MOST_SETTINGS], f"and {more} more"]
    return [as_hover(text) for text in shown]
