"""What an output answers with, classes, labels or numbers, and what its units are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from intake.fit import Fit

AnswerKind = Literal["classes", "labels", "numbers"]
"""classes: one of several, or yes and no; labels: yes or no to each of several; numbers: anything else."""


def kind_of(fit: Fit, number: int, shape: tuple[int, ...]) -> AnswerKind:
    """Return the kind of output `number` of a model, whose answers have this shape, (n, ...)."""
    if fit.task == "multilabel_classification":
        return "labels"
    if fit.task != "agreement":
        return "classes" if "classification" in fit.task else "numbers"
    declared = fit.outputs[number]
    chooses = len(shape) == 2 and (declared == "classes" or (declared == "yes_no" and shape[1] == 1))
    return "classes" if chooses else "numbers"


def unit_names(fit: Fit, class_names: Sequence[str], units: int) -> list[str]:
    """Return a name for each unit of an output; numbers where the dataset has no names, or other classes than it.

    Args:
        fit: knows the order of the classes.
        class_names: of the dataset, in its own order; empty without classes.
        units: of the output, a single unit of yes or no counting as two: no first.
    """
    names = [class_names[i] for i in fit.class_order] if fit.class_order else list(class_names)
    return names if len(names) == units else [str(unit) for unit in range(units)]
