"""Chains of techniques: each legal one keeps what its steps won, each other one says why not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from intake.keras_env import keras2
from measure.conversion import Conversion
from measure.export import convert
from measure.litert import predict
from measure.weights import read_weights
from optimizers import facts_of
from optimizers.apply import Done, Optimized, apply_recipe
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import Recipe
from runs.checks import check_layers
from tests.conftest import CLASSES, EasyData, easy_images
from tests.legal_chains import CHAINS, MODES, NAMES, Chain, Order, steps_of

SAMPLES = 64


class ColourData(EasyData):
    """The easy images in three colours, and few of them: properties are there or not, however long the training."""

    def __init__(self) -> None:
        super().__init__(SAMPLES)
        self.x = np.repeat(self.x, 3, axis=-1)
        self.x_test = np.repeat(easy_images(16, 1)[0], 3, axis=-1)

    def validation(self, settings: FineTuning) -> None:
        """None: nothing is chosen by it."""


def suits_everything() -> Any:
    """A model that no technique refuses in any mode: XNNPACK's rules hold, and there are kernels of each kind.

    Convolution and pointwise one, each with a BatchNormalization; dense kernels, one that blocks divide.
    """
    layers = keras2().layers
    keras2().utils.set_random_seed(0)
    inputs = keras2().Input((8, 8, 3))
    x = layers.Conv2D(8, 3, strides=2, use_bias=False, name="stem")(layers.ZeroPadding2D(1)(inputs))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Conv2D(64, 1, use_bias=False, name="pointwise")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Flatten()(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Dense(32, activation="relu", name="hidden")(x)
    return keras2().Model(inputs, layers.Dense(CLASSES, activation="softmax", name="head")(x))


class Workshop:
    """Carries chains out on one model. What several chains begin with is trained once."""

    def __init__(self) -> None:
        self.model, self.data = suits_everything(), ColourData()
        self.facts = facts_of(self.model)
        self._trained: dict[str, Optimized] = {}
        self._float_files: dict[str, bytes] = {}

    def carried_out(self, order: Order, chain: Chain) -> tuple[Optimized, bytes]:
        """Return the outcome of a chain and its exported file."""
        recipe = Recipe.checked(steps_of(order, chain))
        check_layers(recipe, self.facts)
        training = [step for step in recipe.steps if step.settings is not None]
        key = Recipe(steps=tuple(training)).model_dump_json()
        if key not in self._trained:
            self._trained[key] = self._applied(Recipe(steps=tuple(training)))
        if len(training) == len(recipe.steps):
            outcome, floats = self._trained[key], None
        else:
            outcome = self._applied(recipe, Done(len(training), self._trained[key].plain))
            floats = self._float_file(key)
        count = outcome.conversion.representative_samples
        samples = self.data.representative(count, 0) if count else None
        return outcome, convert(outcome.to_convert, outcome.conversion, samples, floats)

    def _applied(self, recipe: Recipe, done: Done | None = None) -> Optimized:
        return apply_recipe(self.model, recipe, self.data, lambda *_: None, lambda *_: None, done)

    def _float_file(self, key: str) -> bytes:
        if key not in self._float_files:
            self._float_files[key] = convert(self._trained[key].plain, Conversion())
        return self._float_files[key]


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    """One for all chains."""
    yield Workshop()
    keras2().backend.clear_session()  # hundreds of models


def named(order: Order, chain: Chain) -> str:
    return "+".join(f"{name}{mode or ''}" for name, mode in zip(order, chain, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "chain"),
    [pytest.param(order, chain, id=named(order, chain)) for order, chains in CHAINS.items() for chain in chains],
)
def test_every_claim_of_every_legal_chain_holds_in_the_exported_file(
    order: Order, chain: Chain, workshop: Workshop
) -> None:
    outcome, tflite = workshop.carried_out(order, chain)
    tensors = read_weights(tflite)
    assert [claim.step.technique for claim in outcome.claims] == list(order)
    for claim in outcome.claims:
        facts = claim.verify(tensors)
        assert [fact for fact in facts if fact.met is False] == []
        assert any(fact.met for fact in facts), f"nothing of {claim.step.technique} could be checked"
    assert np.isfinite(predict(tflite, [workshop.data.x_test])[0]).all()


def test_chains_of_every_length_are_among_them() -> None:
    orders = {order for order in CHAINS if len(set(order)) == len(order)}
    assert ("pruning", "clustering", "quantization_aware_training") in orders
    assert ("pruning", "clustering", "post_training_quantization") in orders
    assert {order[-1] for order in orders} == set(NAMES)
    assert ("pruning", "pruning", "clustering", "post_training_quantization") in CHAINS


def test_every_mode_is_there_alone_and_at_the_end_of_a_longer_chain() -> None:
    for name, all_modes in MODES.items():
        assert [chain[0] for chain in CHAINS[(name,)]] == all_modes
        longer = [chain for order, chains in CHAINS.items() if len(order) > 1 and order[-1] == name for chain in chains]
        possible = [mode for mode in all_modes if any(chain[-1] == mode for chain in longer)]
        assert len(all_modes) > 5
        assert possible == all_modes or name == "pruning", "which follows only itself"
