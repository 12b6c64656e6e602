"""Eight formats of one model: from one float file, as a project has it, against a conversion by tf.lite for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bench.networks import tutorial_cnn
from bench.ratio import Ratio
from intake.keras_env import tensorflow
from measure.conversion import Conversion, WeightQuantization
from measure.export import convert

SAMPLES = 100
_AFTER: dict[str, Any] = {"after_training": True}
OURS: tuple[Conversion, ...] = (
    Conversion("dynamic_range", **_AFTER),
    Conversion("weight_only", **_AFTER),
    Conversion("float16", **_AFTER),
    Conversion("int8", representative_samples=SAMPLES, **_AFTER),
    Conversion("int8_weights_int16_activations", representative_samples=SAMPLES, **_AFTER),
    Conversion("dynamic_range", weights=WeightQuantization(bits=4), **_AFTER),
    Conversion("dynamic_range", weights=WeightQuantization(algorithm="MSE"), **_AFTER),
    Conversion("dynamic_range", weights=WeightQuantization(granularity="per_tensor"), **_AFTER),
)
"""The formats of a post-training sweep."""


def eight_formats(repeats: int) -> Ratio:
    """Convert the tutorial's network in both ways, in turns; the first round, which loads code, does not count."""
    model = tutorial_cnn()
    samples = np.random.default_rng(0).random((SAMPLES, 28, 28), np.float32)
    floats = convert(model, Conversion())
    ours, theirs = [], []
    for _ in range(repeats + 1):
        ours.append(_seconds(lambda: [convert(model, one, [samples], floats) for one in OURS]))
        theirs.append(_seconds(lambda: [_by_tf_lite(model, samples, kind) for kind in _THEIRS]))
    return Ratio.of(
        "Post-training sweep of 8 formats", min(ours[1:]), min(theirs[1:]), "s", 0.2,
        how="MNIST tutorial CNN, conversion alone, one float file against 8 by tf.lite; "
        f"best of {repeats}, in turns",
    )  # fmt: skip


_THEIRS = ("dynamic_range", "float16", "int8", "int8_io", "uint8_io", "int16", "per_tensor", "dynamic_range")
"""What tf.lite has; the commonest comes twice, to make eight."""


def _by_tf_lite(model: Any, samples: np.ndarray, kind: str) -> bytes:
    """One post-training conversion as TensorFlow's guides write it."""
    tf = tensorflow()

    def representative_dataset() -> Iterator[list[np.ndarray]]:
        for sample in samples:
            yield [sample[np.newaxis]]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind in ("int8", "int8_io", "uint8_io", "int16", "per_tensor"):
        converter.representative_dataset = representative_dataset
    if kind == "int16":
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
    if kind == "per_tensor":
        converter._experimental_disable_per_channel = True
    if kind.endswith("_io"):
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind.removesuffix("_io"))
    return bytes(converter.convert())


def _seconds(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
