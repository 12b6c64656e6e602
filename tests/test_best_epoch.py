"""Early stopping and the best weights: chosen on the validation part, never before a schedule has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from intake.errors import InvalidParams
from measure.export import convert
from measure.weights import read_weights
from optimizers import TECHNIQUES
from optimizers.apply import Optimized, apply_recipe
from optimizers.best_epoch import merit
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import Recipe, RecipeStep
from optimizers.training import Trained, train
from tests.conftest import EasyData, dense_model

TRAINING = [entry for entry in TECHNIQUES if entry.fine_tuning is not None]
WORSE_EACH_EPOCH: dict[str, Any] = {
    "epochs": 6, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.01, "early_stopping_patience": 2,
    "restore_best_weights": True,
}  # fmt: skip


class Misleading(EasyData):
    """Trains towards wrong labels, so that each epoch is worse on the validation part than the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.right = self.y
        self.y = (self.y + 1) % 3

    def validation(self, settings: FineTuning) -> Any:
        """With the right labels."""
        return self.x[:32], self.right[:32]


def carried_out(
    recipe: Recipe, model: Any, data: EasyData
) -> tuple[Optimized, list[tuple[int, int]], list[dict[str, float]]]:
    """The outcome, the reported (step, total), and the figures of each reported epoch."""
    steps: list[tuple[int, int]] = []
    epochs: list[dict[str, float]] = []

    def on_step(step: int, total: int, live: Callable[[], dict[str, float]]) -> None:
        steps.append((step, total))
        live()

    outcome = apply_recipe(model, recipe, data, on_step, lambda _epoch, _step, figures: epochs.append(figures))
    return outcome, steps, epochs


def missed(outcome: Optimized, data: EasyData) -> list[Any]:
    """What the exported file does not keep of what was promised."""
    count = outcome.conversion.representative_samples
    tflite = convert(outcome.to_convert, outcome.conversion, data.representative(count, 0) if count else None)
    facts = [fact for claim in outcome.claims for fact in claim.verify(read_weights(tflite))]
    assert any(fact.met for fact in facts)
    return [fact for fact in facts if fact.met is False]


def trained(model: Any, settled_step: int = 0, **settings: Any) -> tuple[Trained, list[list[np.ndarray]]]:
    """How it ended, and the weights after each epoch."""
    data, chosen = Misleading(), FineTuning(**{**WORSE_EACH_EPOCH, **settings})
    weights: list[list[np.ndarray]] = []
    ended = train(
        model,
        data.fit,
        chosen,
        data.batches(chosen),
        data.validation(chosen),
        [],
        lambda *_: None,
        lambda *_: weights.append(model.get_weights()),
        settled_step,
    )
    return ended, weights


def worse_each_epoch(entry: Any) -> dict[str, Any]:
    """What each of the shared values learns is the sum over its weights: clustering goes astray at the others' rate."""
    return {**WORSE_EACH_EPOCH, "learning_rate": 1e-4} if entry.name == "clustering" else WORSE_EACH_EPOCH


def settled(entry: Any) -> int:
    """First epoch, from 0, that counts: pruning to the end at 0.3 of 18 steps ends in the second of 6."""
    return 1 if entry.name == "pruning" else 0


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def good_model(easy_data: EasyData) -> Any:
    model = dense_model()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(easy_data.x, easy_data.y, epochs=5, batch_size=16, verbose=0)
    return model


def test_patience_stops_and_the_best_weights_come_back(good_model: Any) -> None:
    ended, weights = trained(good_model)
    assert ended == Trained(epochs=3, steps=9, best_epoch=1)
    assert same(good_model.get_weights(), weights[0])


def test_best_weights_come_back_without_stopping_early(good_model: Any) -> None:
    ended, weights = trained(good_model, early_stopping_patience=0)
    assert ended == Trained(epochs=6, steps=18, best_epoch=1)
    assert same(good_model.get_weights(), weights[0])


def test_without_restoring_the_last_weights_stay(good_model: Any) -> None:
    ended, weights = trained(good_model, restore_best_weights=False)
    assert ended.epochs == 3
    assert same(good_model.get_weights(), weights[-1])


def test_epochs_before_a_schedule_has_ended_neither_count_nor_stop(good_model: Any) -> None:
    ended, weights = trained(good_model, settled_step=10)
    assert (ended.epochs, ended.best_epoch) == (6, 4)
    assert same(good_model.get_weights(), weights[3])


def test_metric_decides_and_the_loss_where_it_is_equal() -> None:
    best = merit({"val_accuracy": 0.9, "val_loss": 0.5})
    assert best > merit({"val_accuracy": 0.8, "val_loss": 0.1})
    assert best > merit({"val_accuracy": 0.9, "val_loss": 0.6})
    assert merit({"val_mae": 0.1, "val_loss": 2.0}) > merit({"val_mae": 0.2, "val_loss": 1.0})
    assert merit({"val_a_agreement": 0.1, "val_b_mae": 2.0, "val_loss": 1.0}) > merit({"val_loss": 2.0})
    assert merit({"val_loss": float("nan")}) < merit({"val_loss": 1e9})


@pytest.mark.parametrize("name", ["early_stopping_patience", "restore_best_weights"])
def test_nothing_is_chosen_on_what_is_trained_on(name: str) -> None:
    with pytest.raises(InvalidParams, match=name):
        Recipe.single("pruning", {}, {name: 1, "train_on_validation": True})


def test_choosing_without_a_validation_part_is_refused(easy_data: EasyData) -> None:
    settings = FineTuning(early_stopping_patience=1)
    with pytest.raises(InvalidParams, match="validation part"):
        train(dense_model(), easy_data.fit, settings, easy_data.batches(settings), None, [], print, print)


@pytest.mark.slow
@pytest.mark.parametrize("entry", TRAINING, ids=lambda entry: entry.name)
def test_the_exported_file_keeps_its_promises_although_the_best_epoch_came_early(
    entry: Any, trained_model: Any
) -> None:
    data = Misleading()
    recipe = Recipe.single(entry.name, {"end": 0.3} if entry.name == "pruning" else {}, worse_each_epoch(entry))
    outcome, steps, epochs = carried_out(recipe, trained_model, data)
    assert missed(outcome, data) == []
    best = max(range(len(epochs)), key=lambda epoch: merit(epochs[epoch]) if epoch >= settled(entry) else (-1.0, 0.0))
    assert best + 1 < len(epochs)
    assert f"ended with the weights of epoch {best + 1}" in outcome.notes[-1]
    outcome.to_convert.compile(loss="sparse_categorical_crossentropy")
    loss = outcome.to_convert.evaluate(*data.validation(FineTuning()), verbose=0)
    assert loss == pytest.approx(epochs[best]["val_loss"], rel=1e-4)
    assert steps[-1][0] == steps[-1][1] == len(epochs) * 3
    assert all(step <= total for step, total in steps)


@pytest.mark.slow
def test_a_chain_keeps_its_promises_and_its_progress_ends_where_its_steps_stop_early(trained_model: Any) -> None:
    data = Misleading()
    names = ("pruning", "clustering", "quantization_aware_training")
    steps = [
        RecipeStep(technique=name, params={"end": 0.3} if name == "pruning" else {}, fine_tuning=WORSE_EACH_EPOCH)
        for name in names
    ]
    outcome, reported, epochs = carried_out(Recipe.checked(steps), trained_model, data)
    assert missed(outcome, data) == []
    assert len(epochs) < 18
    assert reported[-1][0] == reported[-1][1] == len(epochs) * 3
    shares = [step / total for step, total in reported]
    assert shares == sorted(shares)
    assert len([note for note in outcome.notes if "stopped after epoch" in note]) > 0
