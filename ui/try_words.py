"""What two files answer to one sample, in sentences. No Streamlit."""

from __future__ import annotations

from measure.sample_answers import OutputPair
from runs.try_job import Tried
from ui.formatting import milliseconds, percent


def answer_sentences(tried: Tried) -> list[str]:
    """Return a sentence for each output, named where there are several, and what would be right where that is known."""
    several = len(tried.outputs) > 1
    said = [f"{pair.name}: {_lower(_answer(pair))}" if several else _answer(pair) for pair in tried.outputs]
    return [*said, f"Its label is {tried.truth}."] if tried.truth else said


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _answer(pair: OutputPair) -> str:
    if pair.kind in ("classes", "labels"):
        return _classes(pair)
    if len(pair.numbers) == 1 and pair.values == 1:
        return _number(pair)
    what = "The pictures" if pair.kind == "images" else f"The {pair.values:,} numbers"
    if pair.moved is None:
        return f"{what} that the original answers." if not pair.image_before else f"{what} cannot be compared."
    return (
        f"{what} of both are the same." if pair.moved == 0 else f"{what} of both differ by {pair.moved:.4g} on average."
    )


def _classes(pair: OutputPair) -> str:
    after = _sure(pair, pair.says_after, now=True)
    if not pair.says_before:
        return f"The original says {pair.says_after}{f' ({after})' if after else ''}."
    before = _sure(pair, pair.says_before, now=False)
    if pair.agrees:
        return f"Both say {pair.says_after}{f' ({before} and {after})' if after and before else ''}."
    return (
        f"The original says {pair.says_before}{f' ({before})' if before else ''}, this run says "
        f"{pair.says_after}{f' ({after})' if after else ''}."
    )


def _sure(pair: OutputPair, name: str, *, now: bool) -> str:
    """The probability of one class; "" for labels, which have one each."""
    score = pair.score_of(name) if pair.kind == "classes" and pair.are_probabilities else None
    if score is None:
        return ""
    value = score.after if now else score.before
    return "" if value is None else percent(value, 1)


def _number(pair: OutputPair) -> str:
    number = pair.numbers[0]
    if number.before is None:
        return f"The original says {number.after:.5g}."
    if number.before == number.after:
        return f"Both say {number.after:.5g}."
    return (
        f"The original says {number.before:.5g}, this run says {number.after:.5g}: a difference of "
        f"{number.after - number.before:+.4g}."
    )


def latency_sentence(tried: Tried) -> str:
    """Return how long a call of each takes."""
    how = "median of some calls with this sample, on one thread of this machine and whatever else it does"
    if tried.before_ms is None:
        return f"A call takes {short_times(tried.after_ms)[0]} ({how})."
    before, after = short_times(tried.before_ms, tried.after_ms)
    return f"A call takes {before} with the original and {after} with this run ({how})."


def short_times(*values_ms: float) -> list[str]:
    """Return times in one unit: "12.3 ms", or "1.4 µs" where milliseconds would round one of them away."""
    if min(values_ms) >= 0.01:
        return [milliseconds(value) for value in values_ms]
    return [f"{value * 1000:,.1f} µs" for value in values_ms]
