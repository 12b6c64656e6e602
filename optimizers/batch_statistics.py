"""Measure the statistics of BatchNormalization layers again, for the weights as they ended.

Keras moves them by a hundredth per step (momentum 0.99), so after a short fine-tuning they still describe the model
before its weights were pruned or clustered, and accuracy in use collapses although the training loss is fine.
Re-estimating them is the usual cure (Li et al. 2020, EagleEye, arXiv 2007.02491, section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from intake.keras_env import keras2

SAMPLES = 2048
SAMPLE_BYTES = 256 * 2**20
"""No more samples than fit into this."""
BATCH_SIZE = 128


def has_batch_statistics(model: Any) -> bool:
    """True where the model has a trainable BatchNormalization."""
    return bool(_layers(model))


def _layers(model: Any) -> list[Any]:
    """Also those within the wrappers of quantization-aware training."""
    kind = keras2().layers.BatchNormalization
    within = [getattr(layer, "layer", layer) for layer in model.layers]
    return [layer for layer in within if isinstance(layer, kind) and layer.trainable]


def freeze_batch_normalization(model: Any) -> set[str]:
    """Let each trainable BatchNormalization, also within wrappers, use and keep its statistics while the model trains.

    Keras keeps scale and offset then too; within TFMOT's quantizing wrapper they go on training.

    Returns:
        Names of the layers, for `unfreeze_batch_normalization`.
    """
    kind = keras2().layers.BatchNormalization
    frozen = [layer for layer in model._flatten_layers() if isinstance(layer, kind) and layer.trainable]
    for layer in frozen:
        layer.trainable = False
    return {layer.name for layer in frozen}


def unfreeze_batch_normalization(model: Any, names: set[str]) -> None:
    """Undo `freeze_batch_normalization` on the model that came of it."""
    kind = keras2().layers.BatchNormalization
    for layer in model._flatten_layers():
        if isinstance(layer, kind) and layer.name in names:
            layer.trainable = True


def before_validation(samples: Sequence[np.ndarray]) -> Any:
    """Return a Keras callback that measures the statistics before each validation.

    An epoch can only be told to be the best by the statistics that its weights would end with.
    """

    class MeasureStatistics(keras2().callbacks.Callback):  # type: ignore[misc]
        def on_test_begin(self, logs: Any = None) -> None:
            measure_batch_statistics(self.model, samples)

    return MeasureStatistics()


def measure_batch_statistics(model: Any, samples: Sequence[np.ndarray]) -> None:
    """Set the moving mean and variance of each trainable BatchNormalization to the average over the samples.

    Args:
        model: tf_keras model, changed in place; its other weights stay as they are.
        samples: for each input an array (n, *input_shape) of preprocessed training samples, n >= 1.
    """
    layers = _layers(model)
    kept = [layer.momentum for layer in layers]
    own = {id(variable) for layer in layers for variable in layer.non_trainable_variables}
    others = [(one, one.numpy()) for one in model.non_trainable_variables if id(one) not in own]  # ranges of quantizers
    count = max(1, len(samples[0]) // BATCH_SIZE)
    for number, batch in enumerate(zip(*(np.array_split(array, count) for array in samples), strict=True)):
        for layer in layers:
            layer.momentum = number / (number + 1)  # the running average of all batches so far, from nothing
        model(list(batch), training=True)
    for layer, momentum in zip(layers, kept, strict=True):
        layer.momentum = momentum
    for variable, values in others:
        variable.assign(values)
