"""What the steps of a recipe promised of the exported file, and what of it the file does not keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from measure.facts import Fact, WeightOf
from measure.weights import WeightTensor
from optimizers.recipe import RecipeStep

_NAMED = 4
"""Kernels that one sentence names."""


@dataclass(frozen=True)
class Claim:
    """What one step promised of which weights, to be verified on the exported file."""

    step: RecipeStep
    weights: list[WeightOf]

    def verify(self, tensors: list[WeightTensor]) -> list[Fact]:
        """Return what was asked beside what the file shows."""
        return self.step.entry.verify(self.step.checked_params, self.weights, tensors)


def broken(verified: Sequence[tuple[Claim, Sequence[Fact]]]) -> list[str]:
    """Return what the file does not keep, a sentence for each step of the recipe; empty where it keeps everything.

    Args:
        verified: the claim of each step, in their order, with what the file shows of it.
    """
    found = []
    for number, (claim, facts) in enumerate(verified, start=1):
        missed = [fact for fact in facts if fact.met is False]
        if missed:
            found.append(_sentence(claim.step, missed, [later.step for later, _ in verified[number:]]))
    return found


def _sentence(step: RecipeStep, missed: Sequence[Fact], later: Sequence[RecipeStep]) -> str:
    named = [f"{fact.layer} (asked {fact.asked}, found {fact.measured})" for fact in missed[:_NAMED]]
    more = f", and {len(missed) - _NAMED} more" if len(missed) > _NAMED else ""
    claims = " and ".join(dict.fromkeys(fact.claim for fact in missed))
    after = f", after {' and '.join(one.entry.title for one in later)}" if later else ""
    return (
        f"The exported file does not keep what {step.entry.title} promised{after}: {claims} of {', '.join(named)}{more}. "
        "Its figures are real, but do not count on that property; run again with other settings."
    )
