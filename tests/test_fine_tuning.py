"""The training loop: settings are honoured, and a loss that is no number ends the run with advice."""

from __future__ import annotations

from typing import Any

import pytest

from intake.fit import Fit
from intake.keras_env import keras2
from optimizers.fine_tuning import FineTuning, TrainingPlan, suggested
from optimizers.training import TrainingDiverged, compile_for, train
from tests.conftest import EasyData, dense_model


def fitted(model: Any, data: EasyData, settings: FineTuning) -> Any:
    train(model, data.fit, settings, data.batches(settings), None, [], lambda *_: None, lambda *_: None)
    return model


def test_loss_that_is_no_number_ends_with_advice(easy_data: EasyData) -> None:
    model = dense_model()
    weights = model.get_weights()
    weights[0][:] = float("nan")
    model.set_weights(weights)
    with pytest.raises(TrainingDiverged, match="learning rate"):
        fitted(model, easy_data, FineTuning())


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_optimizer_and_rate_are_those_of_the_settings(optimizer: Any, easy_data: EasyData) -> None:
    model = dense_model()
    compile_for(model, easy_data.fit, FineTuning(optimizer=optimizer, learning_rate=0.25), 10)
    assert type(model.optimizer).__name__.lower() == optimizer
    assert float(model.optimizer.learning_rate) == pytest.approx(0.25)


def test_cosine_schedule_ends_near_zero(easy_data: EasyData) -> None:
    model = fitted(dense_model(), easy_data, FineTuning(learning_rate_schedule="cosine", epochs=2, batch_size=32))
    assert float(model.optimizer.learning_rate) < 0.05 * 1e-3


@pytest.mark.parametrize(("train_samples", "epochs"), [(54_000, 2), (12_800, 3), (1_293, 28), (50, 30)])
def test_small_datasets_are_suggested_more_epochs(train_samples: int, epochs: int) -> None:
    assert suggested(FineTuning(epochs=2, batch_size=128), train_samples).epochs == epochs


def test_plan_counts_the_last_smaller_batch() -> None:
    assert TrainingPlan.of(FineTuning(epochs=3, batch_size=100), 101) == TrainingPlan(3, 2)
    assert TrainingPlan.of(FineTuning(epochs=1, batch_size=100), 5).total_steps == 1


@pytest.mark.parametrize(
    ("fit", "units", "activation"),
    [
        (Fit(task="regression", loss="mean_squared_error", metric_name="mae"), 1, "linear"),
        (Fit(task="binary_classification", loss="binary_crossentropy", metric_name="accuracy"), 1, "sigmoid"),
        (
            Fit(task="binary_classification", loss="binary_crossentropy", from_logits=True, metric_name="accuracy"),
            1,
            "linear",
        ),
        (Fit(task="reconstruction", loss="mean_squared_error", metric_name="mse"), 4, "linear"),
        (Fit(task="multilabel_classification", loss="binary_crossentropy", metric_name="accuracy"), 4, "sigmoid"),
        (Fit(task="classification", loss="categorical_crossentropy", metric_name="accuracy"), 4, "softmax"),
    ],
    ids=lambda value: getattr(value, "task", None),
)
def test_every_task_compiles_and_trains(fit: Fit, units: int, activation: str, easy_data: EasyData) -> None:
    import numpy as np

    model = keras2().Sequential([keras2().layers.Dense(units, activation=activation, input_shape=(4,))])
    x = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    y = np.eye(units, dtype=np.float32)[np.arange(32) % units]
    seen: list[dict[str, float]] = []
    settings = FineTuning(epochs=1, batch_size=8)
    batches = keras2().utils.Sequence
    data = _batches(batches, x, y)
    train(model, fit, settings, data, (x, y), [], lambda *_: None, lambda _epoch, _step, logs: seen.append(logs))
    assert {"loss", fit.metric_name, f"val_{fit.metric_name}"} <= set(seen[0])


def _batches(base: Any, x: Any, y: Any) -> Any:
    class Batches(base):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            part = slice(index * 8, index * 8 + 8)
            return x[part], y[part]

    return Batches()
