"""What each candidate of a match costs sample by sample, and which one to believe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intake.dataset_info import DatasetInfo
from intake.fit import Fit
from intake.parts import Array
from intake.preprocessing import label_numbers
from intake.scores import sample_scores

_Z = 1.96
_SMALLEST_PROBABILITY = 1e-7
_WORST = 1e30
_NO_BETTER = 0.9
"""A model that keeps more than this share of the cost of guessing has not learned the task at hand."""

Each = NDArray[np.float64]


@dataclass(frozen=True)
class Costs:
    """Costs of each sample, float64 (n,), lower is better.

    main: share of wrong answers, or error. surprise: -log of the probability given to the right answer, which
    tells candidates apart that answer alike (a model fed 255 times too large values often still answers right,
    but is far too sure when it does not); None outside classification.
    """

    main: Each
    surprise: Each | None = None


def costs(fit: Fit, predictions: Array, targets: Array) -> Costs:
    """Return the costs of predictions (n, ...) against targets as `apply_labels` returns them."""
    if fit.metric_name == "accuracy":
        return Costs(1 - sample_scores(fit, predictions, targets), _surprise(fit, predictions, targets))
    each = sample_scores(fit, predictions, targets)
    if fit.task == "reconstruction":
        # The target changes with the scale, so the error is taken relative to its spread.
        each = each / max(float(np.var(targets, dtype=np.float64)), 1e-12)
    return Costs(np.where(np.isfinite(each), each, _WORST))


def _surprise(fit: Fit, predictions: Array, targets: Array) -> Each:
    flat = predictions.reshape(len(predictions), -1).astype(np.float64)
    truth = targets.reshape(len(targets), -1)
    with np.errstate(all="ignore"):
        if fit.task == "classification":
            classes = truth.argmax(axis=1) if truth.shape[1] > 1 else truth[:, 0]
            shares = np.exp(flat - flat.max(axis=1, keepdims=True)) if fit.from_logits else flat
            right = shares[np.arange(len(flat)), classes] / shares.sum(axis=1)
        else:
            shares = 1 / (1 + np.exp(-flat)) if fit.from_logits else flat
            right = np.where(truth > 0.5, shares, 1 - shares)
        each = -np.log(np.clip(np.nan_to_num(right, nan=0.0), _SMALLEST_PROBABILITY, 1.0))
    return np.asarray(each.reshape(len(flat), -1).mean(axis=1))


def not_clearly_worse(candidates: Sequence[Costs], guessing: float) -> list[int]:
    """Return the indices, ascending, of the candidates that no other one clearly beats; at least one.

    Clearly: by more than 1.96 standard errors of the paired difference, and by more than a step that matters
    (0.5 % of the answers or 2 % of the error; then 0.02 nats and 10 % of the surprise). Where none is better than
    guessing, none beats another.

    Args:
        guessing: main cost of answering without looking; surprise says nothing about a model that does no better.
    """
    kept = list(range(len(candidates)))
    relative = 0.0 if candidates[0].surprise is not None else 0.02
    kept = _not_worse({i: candidates[i].main for i in kept}, 0.005 if relative == 0 else 0.0, relative)
    least = min(float(candidates[i].main.mean()) for i in kept)
    if least >= guessing:
        return list(range(len(candidates)))
    if least > _NO_BETTER * guessing:
        return kept
    surprises = {i: surprise for i in kept if (surprise := candidates[i].surprise) is not None}
    return _not_worse(surprises, 0.02, 0.1) if surprises else kept


def _not_worse(each: dict[int, Each], step: float, relative: float) -> list[int]:
    best = min(each, key=lambda i: float(each[i].mean()))
    least = max(step, relative * float(each[best].mean()))

    def clearly_worse(i: int) -> bool:
        difference = each[i] - each[best]
        noise = _Z * float(difference.std()) / float(np.sqrt(len(difference)))
        return float(difference.mean()) > max(noise, least)

    return [i for i in each if not clearly_worse(i)]


def guessing_cost(fit: Fit, info: DatasetInfo, y: Array | None) -> float:
    """Return the mean main cost of an answer given without looking: the commonest class, the median, the mean image."""
    if fit.task == "reconstruction" or y is None:
        return 1.0
    if fit.task == "regression":
        numbers = label_numbers(info, y)
        return float(np.abs(numbers - np.median(numbers, axis=0)).mean())
    if y.ndim == 1:
        return 1 - float(np.bincount(y).max()) / len(y)
    share = y.mean(axis=0)
    return float(np.minimum(share, 1 - share).mean())


def guessing_note(fit: Fit, metric: float, best: Costs, guessing: float) -> str | None:
    """Return a doubt where the chosen candidate is hardly better than not looking at the sample, else None."""
    if fit.task == "reconstruction":
        cost, found = float(best.main.mean()), "reconstruction is no better than the mean image"
    elif fit.task == "regression":
        cost, found = metric, f"error {metric:.4g} is close to always answering the median ({guessing:.4g})"
    else:
        cost = 1 - metric
        found = f"accuracy {metric:.3f} is close to guessing (always the commonest answer: {1 - guessing:.3f})"
    # Written so that NaN is in doubt too.
    if cost <= _NO_BETTER * guessing:
        return None
    return f"The {found}. Check the dataset, the preprocessing and the order of the classes."
