"""Which weights of some kernels are kept while a model trains, and how the others stay at zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intake.keras_env import keras2, tensorflow
from optimizers.checkpoint import Arrays


@dataclass(frozen=True)
class MaskedKernel:
    """One kernel to prune."""

    variable: Any
    schedule: Any
    """TFMOT's: step -> (whether to prune now, share of zeros). Kernels may share one, which is then asked once."""
    mask: Callable[[np.ndarray, float], np.ndarray]
    """(weights, share of zeros) -> mask of 0 and 1, of the shape and dtype of the weights."""


class Masks:
    """Masks of some kernels, updated at the steps of their schedules."""

    def __init__(self, kernels: Sequence[MaskedKernel]) -> None:
        tf = tensorflow()
        self._kernels = kernels
        self._step = tf.Variable(0, trainable=False, dtype="int64")
        self._masks = [tf.Variable(tf.ones_like(kernel.variable), trainable=False) for kernel in kernels]
        self.next_step = tf.function(self._next_step, autograph=False)
        self.apply = tf.function(self._apply, autograph=False)

    def _next_step(self) -> None:
        """Go on to the next optimizer step, prune where it is time, and keep at zero what was pruned."""
        tf = tensorflow()
        self._step.assign_add(1)
        schedules = {id(kernel.schedule): kernel.schedule for kernel in self._kernels}
        now = {key: schedule(self._step) for key, schedule in schedules.items()}
        for kernel, mask in zip(self._kernels, self._masks, strict=True):
            is_time, sparsity = now[id(kernel.schedule)]
            mask.assign(tf.cond(is_time, _new_mask(kernel, sparsity), mask.read_value))
        self._apply()

    def _apply(self) -> None:
        for kernel, mask in zip(self._kernels, self._masks, strict=True):
            kernel.variable.assign(kernel.variable * mask)

    def sparsity(self) -> float:
        """Share of zeros over all the kernels, 0 to 1."""
        size = sum(int(mask.shape.num_elements()) for mask in self._masks)
        kept = sum(float(tensorflow().reduce_sum(mask)) for mask in self._masks)
        return 1 - kept / size

    def callback(self) -> Any:
        """Return the Keras callback that does this while a model trains."""
        masks = self

        class MaskKernels(keras2().callbacks.Callback):  # type: ignore[misc]
            def training_state(self) -> dict[str, Any]:
                kept = {f"mask/{index}": mask.numpy() for index, mask in enumerate(masks._masks)}
                return {"step": masks._step.numpy(), **kept}

            def restore_training_state(self, arrays: Arrays) -> None:
                masks._step.assign(int(arrays["step"]))
                for index, mask in enumerate(masks._masks):
                    mask.assign(arrays[f"mask/{index}"])

            def before_step(self) -> None:
                masks.next_step()

            def on_test_begin(self, logs: Any = None) -> None:
                masks.apply()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                masks.apply()

        return MaskKernels()


def _new_mask(kernel: MaskedKernel, sparsity: Any) -> Callable[[], Any]:
    """Return what makes the mask of a kernel at a sparsity, within TensorFlow's graph."""

    def make() -> Any:
        made = tensorflow().numpy_function(_masked(kernel), [kernel.variable, sparsity], kernel.variable.dtype)
        made.set_shape(kernel.variable.shape)
        return made

    return make


def _masked(kernel: MaskedKernel) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda weights, sparsity: kernel.mask(weights, float(sparsity)).astype(weights.dtype, copy=False)
