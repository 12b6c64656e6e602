"""Every technique on MNIST, with the network of TensorFlow's own tutorials: `make bench-mnist DATA=mnist.npz`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.table import Row
from bench.trials import EVERY_TRIAL, arguments, compare, report
from intake.keras_env import keras2
from runs.service import Service

EPOCHS = 4


def main() -> None:
    """Train, measure, print."""
    parser = arguments(__doc__)
    parser.add_argument("data", type=Path, help=".npz with x_train, y_train, x_test, y_test; images of 28x28, 0-255")
    given = parser.parse_args()
    report(lambda service, folder: _rows(service, folder, given), given.out)


def _rows(service: Service, folder: Path, given: argparse.Namespace) -> Iterator[Row]:
    for seed in range(given.seeds):
        print(f"Training the MNIST network, seed {seed}")
        model = _trained(given.data, seed, folder / f"mnist_cnn_{seed}.h5")
        yield from compare(service, "MNIST", model, given.data, EVERY_TRIAL, seed, given.epochs)


def _trained(data: Path, seed: int, path: Path) -> Path:
    """Train the tutorial's network on pixel values divided by 255 and save it as Keras 2 does."""
    layers = keras2().layers
    keras2().utils.set_random_seed(seed)
    model = keras2().Sequential(
        [
            layers.InputLayer(input_shape=(28, 28)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(12, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with np.load(data, allow_pickle=False) as arrays:
        model.fit(
            arrays["x_train"].astype(np.float32) / 255,
            arrays["y_train"],
            epochs=EPOCHS,
            validation_split=0.1,
            verbose=0,
        )
    model.save(path)
    keras2().backend.clear_session()
    return path


if __name__ == "__main__":
    main()
