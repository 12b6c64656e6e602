"""What changed in a model's answers, in sentences. No Streamlit."""

from __future__ import annotations

import math

from measure.behaviour import Behaviour, ClassChange, Flip, NumberChange, OutputChange
from ui.formatting import percent

CHANGED, RIGHT, ERRORS = "What changed", "What it gets right", "How far off it is"
"""Headings."""
_UNLIKELY = 0.05


def change_sentences(behaviour: Behaviour, output: OutputChange) -> list[str]:
    """Return what became of the answers of one output, the most important first; no Markdown in it."""
    if output.classes is not None:
        return _of_classes(output.classes, behaviour.samples)
    return _of_numbers(output.numbers, behaviour.samples) if output.numbers is not None else []


def stands_alone(behaviour: Behaviour, is_baseline: bool) -> bool:
    """Return True for a baseline that answers all as the uploaded model: there is nothing to compare it with."""
    return is_baseline and not any(
        (output.classes is not None and output.classes.changed)
        or (output.numbers is not None and output.numbers.moved.largest > 0)
        for output in behaviour.outputs
    )


def heading_of(behaviour: Behaviour | None, is_baseline: bool) -> str:
    """Return the heading above what is known of the answers; "" where without labels nothing is."""
    if behaviour is None or not stands_alone(behaviour, is_baseline):
        return CHANGED
    if any(output.classes is not None and output.classes.classes for output in behaviour.outputs):
        return RIGHT
    judged = any(output.numbers is not None and output.numbers.errors_after for output in behaviour.outputs)
    return ERRORS if judged else ""


def sentences_alone(behaviour: Behaviour, output: OutputChange) -> list[str]:
    """Return how good the answers of one output are, compared with none before; nothing without labels."""
    if output.classes is not None:
        rows = output.classes.classes
        right, samples = sum(row.right_after for row in rows), sum(row.samples for row in rows)
        if samples != behaviour.samples:  # of very many classes not all are kept, of several labels each counts
            return []
        return [f"{right:,} of {samples:,} test samples are answered right."]
    errors = output.numbers.errors_after if output.numbers is not None else None
    if errors is None:
        return []
    return [
        f"Median error {errors.median:.4g}; 95 % of the {behaviour.samples:,} samples are within {errors.high:.4g}."
    ]


def _of_classes(change: ClassChange, samples: int) -> list[str]:
    if not change.changed:
        return [f"No sample changed class: all {samples:,} are answered as by the uploaded model."]
    what = f"{change.changed:,} of {samples:,} samples changed class"
    said = [f"{what}: {_better_and_worse(change)}." if change.classes else f"{what}."]
    said.append(f"{percent(1 - change.changed / samples)} are answered as by the uploaded model.")
    if change.classes and change.better + change.worse:
        said.append(_by_chance(change.better, change.worse))
    return said


def _better_and_worse(change: ClassChange) -> str:
    neither = change.changed - change.better - change.worse
    words = [f"{change.better:,} got better", f"{change.worse:,} worse"]
    return ", ".join([*words, f"{neither:,} neither"] if neither else words)


def _by_chance(better: int, worse: int) -> str:
    chance = sign_test(better, worse)
    odds = f"sign test, p {'< 0.001' if chance < 0.001 else f'= {chance:.2g}'}"
    if chance >= _UNLIKELY:
        return f"{better:,} better against {worse:,} worse can be chance ({odds})."
    return (
        f"That is more than chance explains ({odds}): the model really got {'worse' if worse > better else 'better'}."
    )


def sign_test(better: int, worse: int) -> float:
    """Return how likely a split at least as uneven is where better and worse are equally likely, 0 to 1."""
    total, fewer = better + worse, min(better, worse)
    if total > 1000:  # the normal distribution is as good, and quicker
        return math.erfc(max(0.0, total - 2 * fewer - 1) / math.sqrt(2 * total))
    ways = sum(math.comb(total, count) for count in range(fewer + 1))
    return min(1.0, 2 * ways / 2**total)


def _of_numbers(change: NumberChange, samples: int) -> list[str]:
    moved = change.moved
    how_far = (
        f"Answers moved by {moved.mean:.4g} on average, 95 % of them by at most {moved.high:.4g}, the furthest by "
        f"{moved.largest:.4g}."
    )
    if moved.largest == 0:
        return [f"No answer changed: all {samples:,} are those of the uploaded model."]
    if change.errors_before is None or change.errors_after is None:
        return [how_far]
    before, after = change.errors_before, change.errors_after
    return [
        f"The error grew in {change.grew:,} of {samples:,} samples and shrank in {change.shrank:,}.",
        f"Median error {before.median:.4g} before, {after.median:.4g} now; 95 % of the samples are within "
        f"{before.high:.4g} before, {after.high:.4g} now.",
        how_far,
    ]


def calibration_sentence(change: ClassChange, alone: bool = False) -> str:
    """Return how far probabilities can be taken at their word; "" where that is not known. Alone: only now."""
    if change.before is None or change.after is None:
        return ""
    now = percent(change.after.expected_calibration_error)
    errors = now if alone else f"{percent(change.before.expected_calibration_error)} before, {now} now"
    return (
        f"Expected calibration error {errors}: so far are the probabilities of the answers from how "
        "often these are right."
    )


def what_became(flip: Flip) -> str:
    """Return whether an answer got better or worse; "" where that is not known."""
    if not flip.truth:
        return ""
    return "– neither" if not flip.gain else "✓ got better" if flip.gain > 0 else "✗ got worse"
