"""Where a recipe stands at the end of an epoch, so that whoever was interrupted goes on from there.

What belongs to a training beside the weights is kept by those who have it: a Keras callback with the methods
`training_state()` (name -> array) and `restore_training_state(arrays)` is asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from intake.keras_env import keras2

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Standing:
    """How far a recipe is."""

    steps_done: int = 0
    """Of the recipe, from its beginning."""
    plain: tuple[np.ndarray, ...] = ()
    """Weights, in the order of `get_weights` of the clean model, that those steps ended with; none where none is done."""
    optimizer_steps: int = 0
    """That those steps took."""
    epochs: int = 0
    """That those steps took."""
    training: Arrays = field(default_factory=dict)
    """State of the training of the next step at the end of an epoch; empty before the first."""
    trained_epochs: int = 0
    """Of that training."""


class Checkpoints(Protocol):
    """Keeps the standing of one run where a crash does not reach it."""

    def newest(self) -> Standing | None:
        """Return what was kept last; None where there is nothing that can be used."""

    def is_time(self) -> bool:
        """True where the last one is old enough to be worth the time that another takes."""

    def keep(self, standing: Standing) -> None:
        """Keep a standing in place of the last."""


@dataclass
class Journey:
    """The standing of a recipe while it is carried out.

    Args:
        checkpoints: that keep it; None where nobody does.
        standing: where it began.
    """

    checkpoints: Checkpoints | None
    standing: Standing

    def step_ended(self, number: int, plain: Sequence[np.ndarray], optimizer_steps: int, epochs: int) -> None:
        """Keep what a step of the recipe ended with; `number` counts from 1, the others from the recipe's beginning."""
        self.standing = Standing(number, tuple(plain), optimizer_steps, epochs)
        if self.checkpoints is not None:
            self.checkpoints.keep(self.standing)

    def epoch_ended(self, epochs: int, state: Callable[[], Arrays], *, is_last: bool) -> None:
        """Keep a training at the end of an epoch (from 1), where it is time to; of the last epoch always."""
        if self.checkpoints is not None and (is_last or self.checkpoints.is_time()):
            self.checkpoints.keep(replace(self.standing, training=state(), trained_epochs=epochs))


class TrainingState:
    """Everything that changes while a compiled model trains.

    Args:
        model: compiled tf_keras model.
        keepers: callbacks, and others with `training_state` and `restore_training_state`; those without are passed by.
    """

    def __init__(self, model: Any, keepers: Sequence[Any]) -> None:
        self._model = model
        self._keepers = [keeper for keeper in keepers if hasattr(keeper, "training_state")]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return it all, by names that are the same for the same recipe on the same model."""
        found = {f"variable/{index}": variable.numpy() for index, variable in enumerate(self._variables())}
        for number, keeper in enumerate(self._keepers):
            found |= {f"keeper/{number}/{name}": np.asarray(array) for name, array in keeper.training_state().items()}
        return found

    def restore(self, arrays: Arrays) -> None:
        """Bring it all back; raises ValueError where the arrays are of another model or recipe."""
        variables = self._variables()
        kept = [arrays.get(f"variable/{index}") for index in range(len(variables))]
        shapes = [None if array is None else array.shape for array in kept]
        if shapes != [tuple(variable.shape) for variable in variables]:
            raise ValueError("the kept training is of another model")
        for variable, array in zip(variables, kept, strict=True):
            variable.assign(array)
        for number, keeper in enumerate(self._keepers):
            prefix = f"keeper/{number}/"
            keeper.restore_training_state(
                {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            )

    def _variables(self) -> list[Any]:
        optimizer = self._model.optimizer
        optimizer.build(self._model.trainable_variables)
        several = [*self._model.variables, *optimizer.variables]
        return list({id(variable): variable for variable in several}.values())


def epoch_watch(journey: Journey, state: TrainingState, epochs: int) -> Any:
    """Return the Keras callback that keeps a training at the end of its epochs; it must come last.

    Args:
        journey: told of each epoch.
        state: of the training.
        epochs: that are planned.
    """

    class WatchEpochs(keras2().callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            is_last = epoch + 1 == epochs or bool(self.model.stop_training)
            journey.epoch_ended(epoch + 1, state.arrays, is_last=is_last)

    return WatchEpochs()
