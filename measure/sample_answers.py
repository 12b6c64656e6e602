"""What two files answer to one sample, side by side, output by output. Plain data, to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

from intake.fit import Fit
from intake.previews import as_webp, data_address, large_image, looks_like_images
from measure.answer_kinds import kind_of, unit_names
from measure.class_answers import NOT_A_NUMBER, chosen
from measure.reliability import are_probabilities, sigmoid, softmax

Floats = NDArray[np.float64]
MOST_CLASSES = 5
MOST_NUMBERS = 12
_SEGMENTS = (
    *((68, 1, 84), (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233)),
    (240, 228, 66),
)
"""Colours of the classes of pixels, again from the first after the last."""
_SUM_TOLERANCE = 0.05


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class ClassScore(_Record):
    """One class: its probability, 0 to 1, or what stands for it where outputs are no probabilities."""

    name: str
    before: float | None
    """Of the original; None where only one file was asked. The same below."""
    after: float


class NumberPair(_Record):
    """One number of an answer."""

    before: float | None
    after: float


class OutputPair(_Record):
    """One output of both files."""

    name: str
    kind: Literal["classes", "labels", "numbers", "images"]
    says_before: str = ""
    """Name of the class, or of the labels that are on; "" for numbers and images, and where only one was asked."""
    says_after: str = ""
    scores: tuple[ClassScore, ...] = ()
    """The most likely classes or labels, by the one file or the other."""
    are_probabilities: bool = False
    numbers: tuple[NumberPair, ...] = ()
    """The first ones."""
    values: int = 0
    """How many numbers the answer has."""
    moved: float | None = None
    """Mean absolute difference of the two answers; None where only one was asked, or one is not a number."""
    image_before: str = ""
    """Address of a WebP with the picture in it ("data:...")."""
    image_after: str = ""

    @property
    def agrees(self) -> bool:
        """True where both say the same class or labels."""
        return self.says_before == self.says_after

    def score_of(self, name: str) -> ClassScore | None:
        """Return the scores of a class; None where it is not among the most likely."""
        return next((score for score in self.scores if score.name == name), None)


def output_pairs(
    fit: Fit,
    class_names: Sequence[str],
    names: Sequence[str],
    before: Sequence[NDArray[Any]] | None,
    after: Sequence[NDArray[Any]],
    picture: NDArray[Any] | None = None,
) -> tuple[OutputPair, ...]:
    """Return the answers of two files to one sample.

    Args:
        fit: how answers are meant.
        class_names: of the dataset, in its own order; empty without classes.
        names: of the outputs.
        before: of the original, for each output (1, *output shape); None to show one file alone.
        after: of the other file, likewise.
        picture: the sample as the model is fed with it, (h, w, ...), where what comes out is to equal it; tells the range of values, and
            the shape of answers that are flat.
    """
    return tuple(
        _pair(fit, class_names, number, name, None if before is None else before[number], after[number], picture)
        for number, name in enumerate(names)
    )


def _pair(
    fit: Fit,
    class_names: Sequence[str],
    number: int,
    name: str,
    before: NDArray[Any] | None,
    after: NDArray[Any],
    picture: NDArray[Any] | None,
) -> OutputPair:
    kind = kind_of(fit, number, after.shape)
    old = None if before is None else before.astype(np.float64)
    new = after.astype(np.float64)
    if kind == "classes":
        return _classes(name, unit_names(fit, class_names, max(2, new.shape[1])), old, new, fit.from_logits)
    if kind == "labels":
        return _labels(name, unit_names(fit, class_names, new.shape[1]), old, new, fit.from_logits)
    if picture is not None and new.size == picture.size:
        new, old = new.reshape(1, *picture.shape), None if old is None else old.reshape(1, *picture.shape)
    return _numbers(name, old, new, picture)


def _classes(name: str, units: list[str], old: Floats | None, new: Floats, from_logits: bool) -> OutputPair:
    def says(answers: Floats) -> str:
        unit = int(chosen(answers, from_logits)[0][0])
        return "not a number" if unit == NOT_A_NUMBER else units[unit]

    pair = (None if old is None else says(old), says(new))
    return OutputPair(
        name=name,
        kind="classes",
        says_before=pair[0] or "",
        says_after=pair[1],
        **_scores(units, None if old is None else _each(old, from_logits), _each(new, from_logits)),
    )


def _each(answers: Floats, from_logits: bool) -> Floats:
    """Probabilities of all classes (classes,), those of yes or no made two."""
    if answers.shape[1] == 1:
        yes = sigmoid(answers[0, 0]) if from_logits else answers[0, 0]
        return np.asarray([1 - yes, yes], np.float64)
    return np.asarray((softmax(answers) if from_logits else answers)[0], np.float64)


def _labels(name: str, units: list[str], old: Floats | None, new: Floats, from_logits: bool) -> OutputPair:
    def says(values: Floats) -> str:
        return ", ".join(unit for unit, value in zip(units, values, strict=True) if value > 0.5) or "none"

    after = sigmoid(new[0]) if from_logits else new[0]
    before = None if old is None else sigmoid(old[0]) if from_logits else old[0]
    return OutputPair(
        name=name,
        kind="labels",
        says_before="" if before is None else says(before),
        says_after=says(after),
        **_scores(units, before, after),
    )


def _scores(units: list[str], before: Floats | None, after: Floats) -> dict[str, Any]:
    """The classes that either file likes best: its first choice always, then by the higher of the two values."""
    both = [np.nan_to_num(values, nan=-np.inf) for values in (before, after) if values is not None]
    first = [int(values.argmax()) for values in both]
    ranked = np.argsort(-np.max(both, axis=0), kind="stable").tolist()
    shown = sorted(list(dict.fromkeys([*first, *ranked]))[:MOST_CLASSES], key=ranked.index)
    return {
        "scores": tuple(
            ClassScore(
                name=units[unit], before=None if before is None else _finite(before[unit]), after=_finite(after[unit])
            )
            for unit in shown
        ),
        "are_probabilities": all(are_probabilities(values) for values in both),
    }


def _finite(value: Any) -> float:
    """JSON has no NaN, and pydantic would make it None; a bar of 0 is what can be shown of it."""
    return float(value) if np.isfinite(value) else 0.0


def _numbers(name: str, old: Floats | None, new: Floats, picture: NDArray[Any] | None) -> OutputPair:
    moved = None if old is None else float(np.abs(new - old).mean())
    given = {"name": name, "values": new.size, "moved": moved if moved is not None and np.isfinite(moved) else None}
    if _is_picture(new.shape[1:], picture):
        images = ["" if answers is None else _picture(answers[0], (old, new), picture) for answers in (old, new)]
        return OutputPair(**given, kind="images", image_before=images[0], image_after=images[1])
    first = None if old is None else old.ravel()[:MOST_NUMBERS]
    return OutputPair(
        **given,
        kind="numbers",
        numbers=tuple(
            NumberPair(before=None if first is None else _finite(first[i]), after=_finite(value))
            for i, value in enumerate(new.ravel()[:MOST_NUMBERS])
        ),
    )


def _is_picture(shape: tuple[int, ...], picture: NDArray[Any] | None) -> bool:
    """What equals a picture, or rows by columns by channels; two axes alone can as well be a sequence."""
    if picture is not None and shape == picture.shape:
        return looks_like_images(shape)
    return len(shape) == 3 and (looks_like_images(shape) or looks_like_images(shape[:2]))


def _picture(answer: Floats, both: tuple[Floats | None, Floats], picture: NDArray[Any] | None) -> str:
    if picture is None and _chooses_pixels(answer):
        classes = np.nan_to_num(answer).argmax(axis=-1)
        colours = np.asarray(_SEGMENTS, np.uint8)[classes % len(_SEGMENTS)]
        factor = max(1, round(256 / max(classes.shape)))
        large = Image.fromarray(colours).resize(
            (classes.shape[1] * factor, classes.shape[0] * factor), Image.Resampling.NEAREST
        )
        return data_address(as_webp(large, exact=True))
    known = [array for array in (*both, picture) if array is not None]
    low = min(0.0, *(float(np.nan_to_num(array).min()) for array in known))
    high = max(1.0, *(float(np.nan_to_num(array).max()) for array in known))
    return data_address(large_image(np.nan_to_num(answer), (low, high)))


def _chooses_pixels(answer: Floats) -> bool:
    """True for another number of channels than pictures have, and for three that sum up to one in each pixel."""
    if not looks_like_images(answer.shape):
        return True
    return answer.shape[-1] == 3 and bool(np.all(np.abs(answer.sum(axis=-1) - 1) < _SUM_TOLERANCE))
