"""Chains of techniques: each legal order keeps what its steps won, each other one says why not."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from intake.errors import InvalidParams
from measure.export import convert
from measure.weights import read_weights
from optimizers import TECHNIQUES
from optimizers.apply import Optimized, apply_recipe
from optimizers.recipe import Recipe, RecipeStep
from tests.conftest import EasyData

QUICK = {"epochs": 2, "batch_size": 32}


def step(name: str, **params: Any) -> RecipeStep:
    trains = next(entry for entry in TECHNIQUES if entry.name == name).fine_tuning is not None
    return RecipeStep(technique=name, params=params, fine_tuning=QUICK if trains else None)


def legal(names: tuple[str, ...]) -> bool:
    try:
        Recipe.checked([step(name) for name in names])
    except InvalidParams:
        return False
    return True


NAMES = [entry.name for entry in TECHNIQUES]
ORDERS = [order for length in (2, 3) for order in itertools.permutations(NAMES, length)]
CHAINS = [order for order in ORDERS if legal(order)]


def carried_out(recipe: Recipe, model: Any, data: EasyData) -> tuple[Optimized, bytes]:
    outcome = apply_recipe(model, recipe, data, lambda *_: None, lambda *_: None)
    count = outcome.conversion.representative_samples
    return outcome, convert(outcome.to_convert, outcome.conversion, data.representative(count, 0) if count else None)


def test_there_are_chains_of_three() -> None:
    assert ("pruning", "clustering", "quantization_aware_training") in CHAINS
    assert ("pruning", "clustering", "post_training_quantization") in CHAINS


@pytest.mark.parametrize("order", [order for order in ORDERS if order not in CHAINS], ids="+".join)
def test_an_illegal_order_says_why(order: tuple[str, ...]) -> None:
    with pytest.raises(InvalidParams) as refused:
        Recipe.checked([step(name) for name in order])
    titles = [entry.title for entry in TECHNIQUES if entry.name in order]
    assert all(any(title in problem for title in titles) for problem in refused.value.problems)


@pytest.mark.slow
@pytest.mark.parametrize("order", CHAINS, ids="+".join)
def test_every_claim_of_a_legal_chain_holds_in_the_exported_file(
    order: tuple[str, ...], trained_model: Any, easy_data: EasyData
) -> None:
    outcome, tflite = carried_out(Recipe.checked([step(name) for name in order]), trained_model, easy_data)
    tensors = read_weights(tflite)
    assert len(outcome.claims) == len(order)
    for claim in outcome.claims:
        facts = claim.verify(tensors)
        assert facts
        assert [fact for fact in facts if fact.met is False] == []
