"""Running a `.tflite` on 10,000 samples, against the loop of TensorFlow's guides: one sample a call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.networks import tutorial_cnn
from bench.ratio import Ratio
from intake.keras_env import keras2
from measure.conversion import Conversion
from measure.export import convert
from measure.litert import predict

SAMPLES = 10_000


def evaluations(repeats: int, samples: int = SAMPLES) -> list[Ratio]:
    """Evaluate the tutorial's network, which takes its time in arithmetic, and a small dense one, which does not."""
    images = np.random.default_rng(0).random((samples, 28, 28), np.float32)
    flat = images.reshape(samples, 784)
    return [
        _ratio("tutorial CNN", tutorial_cnn(), images, repeats, 1.0),
        _ratio("784-32-10 MLP", _dense(), flat, repeats, 0.3),
    ]


def _dense() -> Any:
    layers = keras2().layers
    return keras2().Sequential(
        [
            layers.InputLayer(input_shape=(784,)),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _ratio(name: str, model: Any, inputs: np.ndarray, repeats: int, bar: float) -> Ratio:
    tflite = convert(model, Conversion())
    ours, theirs = [], []
    for _ in range(repeats):
        spent, answers = _timed(lambda: predict(tflite, [inputs])[0])
        ours.append(spent)
        spent, expected = _timed(lambda: one_by_one(tflite, inputs))
        theirs.append(spent)
        if not np.allclose(answers, expected, atol=1e-4):
            raise SystemExit(f"The {name} answers otherwise in batches than sample by sample.")
    return Ratio.of(
        f"Evaluation, {name}", min(ours), min(theirs), "s", bar,
        how=f"{len(inputs):,} samples through LiteRT, one thread, the same answers; best of {repeats}, in turns",
    )  # fmt: skip


def one_by_one(tflite: bytes, inputs: np.ndarray) -> np.ndarray:
    """Return what the file answers, as the guides ask it: for each sample a call, float32 (n, outputs)."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tflite)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    answers = []
    for sample in inputs:
        interpreter.set_tensor(source, sample[np.newaxis])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(target)[0])
    return np.stack(answers)


def _timed(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    began = time.monotonic()
    answers = work()
    return time.monotonic() - began, answers
