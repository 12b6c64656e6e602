"""Functions that are copied, as they stand here, into scripts that repeat a run: training and conversion.

In the script `tf`, `tf_keras`, `tfmot`, `PARTS`, `FROM_LOGITS`, `inputs_of` and `targets_of` are there; here they are only
named, because nothing but the worker loads TensorFlow.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from intake.split import stratified_draw

tf: Any = None
tf_keras: Any = None
PARTS: dict[str, tuple[list[Any], Any]] = {}
FROM_LOGITS = False
inputs_of: Any = None
targets_of: Any = None


def clone(model: Any, change: Any = None) -> Any:
    """Return a copy with weights of its own; change: layer -> layer. TFMOT spoils the very model that it wraps."""
    copy = tf_keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy if change is None else tf_keras.models.clone_model(copy, clone_function=change)


def representative(count: int, seed: int) -> list[Any]:
    """Return preprocessed training samples, for each input float32 (count or fewer, ...); drawn class by class."""
    arrays, labels = PARTS["train"]
    classes = labels if labels is not None and labels.ndim == 1 else None
    index = stratified_draw(len(arrays[0]), classes, count, seed)
    order = np.random.default_rng(seed).permutation(len(index))
    return [array[order] for array in inputs_of([array[index] for array in arrays])]


def batches(parts: Sequence[str], batch_size: int, loss: str, seed: int, balanced: bool) -> Any:
    """Return a Keras Sequence of preprocessed batches, shuffled anew in each epoch with the seed."""
    arrays = [np.concatenate(same) for same in zip(*(PARTS[part][0] for part in parts), strict=True)]
    no_labels = PARTS["train"][1] is None
    labels = None if no_labels else np.concatenate([PARTS[part][1] for part in parts])
    inputs = inputs_of(arrays)
    targets = targets_of(labels, inputs, loss)
    weights = None
    if balanced:
        _, members, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
        weights = np.asarray((len(members) / (len(counts) * counts))[members], np.float32)

    class Batches(tf_keras.utils.Sequence):
        def __init__(self) -> None:
            self.epoch = 0
            self.order = np.random.default_rng((seed, 0)).permutation(len(inputs[0]))

        def __len__(self) -> int:
            return math.ceil(len(inputs[0]) / batch_size)

        def __getitem__(self, index: int) -> tuple[Any, ...]:
            rows = self.order[index * batch_size : (index + 1) * batch_size]
            x = inputs[0][rows] if len(inputs) == 1 else tuple(array[rows] for array in inputs)
            return (x, targets[rows]) if weights is None else (x, targets[rows], weights[rows])

        def on_epoch_end(self) -> None:
            self.epoch += 1
            self.order = np.random.default_rng((seed, self.epoch)).permutation(len(inputs[0]))

    return Batches()


def loss_of(name: str) -> Any:
    """Return the Keras loss of that name, for probabilities or for logits as the model gives them."""
    words = "".join(word.capitalize() for word in name.split("_"))
    kind = getattr(tf_keras.losses, words)
    return kind(from_logits=FROM_LOGITS) if "Crossentropy" in words else kind()


def fine_tune(
    model: Any,
    callbacks: list[Any],
    *,
    epochs: int,
    batch_size: int,
    optimizer: Any,
    loss: str,
    seed: int,
    parts: Sequence[str] = ("train",),
    balanced: bool = False,
) -> None:
    """Train `model` in place."""
    tf_keras.utils.set_random_seed(seed)
    model.compile(optimizer=optimizer, loss=loss_of(loss))
    model.fit(
        batches(parts, batch_size, loss, seed, balanced), epochs=epochs, callbacks=callbacks, shuffle=False, verbose=2
    )


def measure_batch_statistics(model: Any, seed: int) -> None:
    """Set the statistics of each BatchNormalization to those of the changed weights, averaged over training samples."""
    within = [getattr(layer, "layer", layer) for layer in model.layers]
    layers = [one for one in within if isinstance(one, tf_keras.layers.BatchNormalization) and one.trainable]
    if not layers:
        return
    sample_bytes = sum(array.nbytes for array in representative(1, seed))
    samples = representative(max(2, min(2048, 256 * 2**20 // sample_bytes)), seed)
    own = {id(variable) for layer in layers for variable in layer.non_trainable_variables}
    others = [(one, one.numpy()) for one in model.non_trainable_variables if id(one) not in own]
    momentums = [layer.momentum for layer in layers]
    count = max(1, len(samples[0]) // 128)
    for number, batch in enumerate(zip(*(np.array_split(array, count) for array in samples), strict=True)):
        for layer in layers:
            layer.momentum = number / (number + 1)  # the running average of all batches so far
        model(list(batch), training=True)
    for layer, momentum in zip(layers, momentums, strict=True):
        layer.momentum = momentum
    for variable, values in others:
        variable.assign(values)


def freeze_batch_normalization(model: Any) -> list[Any]:
    """Let each BatchNormalization keep its statistics while the model trains; return those that were not frozen."""
    kind = tf_keras.layers.BatchNormalization
    frozen = [layer for layer in model._flatten_layers() if isinstance(layer, kind) and layer.trainable]
    for layer in frozen:
        layer.trainable = False
    return frozen


def keep_zeros(wrapped: Any, before: Any, names: Sequence[str]) -> Any:
    """Return a callback that keeps at zero, in these layers of `wrapped`, what is zero in the kernels of `before`."""
    masks = {name: [weights == 0 for weights in before.get_layer(name).get_weights()] for name in names}
    rules = []
    for layer in wrapped.layers:
        name = getattr(layer, "layer", layer).name
        for variable in layer.trainable_weights if name in masks else ():
            if variable.shape.rank >= 2:
                mask = next(mask for mask in masks[name] if mask.shape == tuple(variable.shape))
                rules.append((variable, tf.constant(mask)))

    class KeepZeros(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            for variable, mask in rules:
                variable.assign(tf.where(mask, tf.zeros_like(variable), variable))

    return KeepZeros()


def start_ranges(wrapped: Any, samples: list[Any]) -> None:
    """Start the activation ranges of a quantization-aware model at what the samples show; TFMOT's own are -6 to 6."""
    from unittest import mock

    from tensorflow_model_optimization.python.core.quantization.keras import quant_ops

    def seen(quantize: Any, more: dict[str, Any]) -> Any:
        return lambda *given, **settings: quantize(*given, **{**settings, "is_training": True, **more})

    quantizers = {"MovingAvgQuantize": {"ema_decay": 0.0}, "LastValueQuantize": {}, "AllValuesQuantize": {}}
    changed = {name: seen(getattr(quant_ops, name), more) for name, more in quantizers.items()}
    with mock.patch.multiple(quant_ops, **changed):  # ranges are set while layers behave as in use
        wrapped(samples[0] if len(samples) == 1 else samples, training=False)


def without_negative_zeros(model: Any) -> None:
    """Make 0.0 of each -0.0, which a mask leaves: equal to everyone but a compressor."""
    model.set_weights(
        [weights + np.float32(0) if weights.dtype == np.float32 else weights for weights in model.get_weights()]
    )


def converter_of(model: Any) -> Any:
    """Return LiteRT's converter for a model, with one named signature as Tare makes it."""
    recurrent = any(isinstance(getattr(layer, "layer", layer), tf_keras.layers.RNN) for layer in model.layers)
    names = [re.sub(r"\W", "_", tensor._keras_history.layer.name, flags=re.ASCII) for tensor in model.inputs]
    signature = [
        tf.TensorSpec([1 if recurrent else None, *tensor.shape[1:]], tensor.dtype, name)
        for tensor, name in zip(model.inputs, names, strict=True)
    ]

    def serve(*inputs: Any) -> Any:
        return model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    function = tf.function(serve, input_signature=signature).get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([function], model)


def one_by_one(samples: list[Any], dtypes: Sequence[Any]) -> Iterator[list[Any]]:
    """Give one sample after the other to the converter, which calibrates with them."""
    for row in range(len(samples[0])):
        yield [array[row : row + 1].astype(dtype) for array, dtype in zip(samples, dtypes, strict=True)]


def calibrated(work: Any, float_file: bytes, samples: list[Any]) -> Any:
    """Return the range of each tensor over all samples, for LiteRT's quantizer."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    interpreter = Interpreter(model_content=float_file)
    key, signature = next(iter(interpreter._get_full_signature_list().items()))
    names = {number: name for name, number in signature["inputs"].items()}
    details = interpreter.get_input_details()
    calibrator = Calibrator(
        float_file, num_threads=1, mode=CalibrationMode.CALIBRATION_PROFILER_BASED, qsv_update_func=min_max_update
    )
    rows = [
        {
            names[detail["index"]]: array[row : row + 1].astype(detail["dtype"])
            for detail, array in zip(details, samples, strict=True)
        }
        for row in range(len(samples[0]))
    ]
    calibrator.calibrate({key: rows}, work._recipe_manager)
    return calibrator.get_model_qsvs()
