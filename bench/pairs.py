"""Four techniques on other kinds of input: a Keras 3 file, a table, a zip of images.

`make bench-pairs CSV=table.csv LABEL=column ZIP=images.zip MODEL=model.h5`; what is not named is left out, but for
the Keras 3 file, which is the built-in example.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.table import Row
from bench.trials import FOUR_TECHNIQUES, arguments, compare, report
from intake.dataset_info import DatasetOptions
from intake.keras_env import keras2
from runs.service import EXAMPLE_DATASET, EXAMPLE_MODEL, Service

EPOCHS = 40


def main() -> None:
    """Measure the pairs that were named, print."""
    parser = arguments(__doc__)
    parser.add_argument("--csv", type=Path, help="a table; a small dense network is trained on it")
    parser.add_argument("--label", help="its column to predict")
    parser.add_argument("--zip", type=Path, help="a zip of class folders of images")
    parser.add_argument("--model", type=Path, help="a model for these images")
    given = parser.parse_args()
    if (given.zip is None) != (given.model is None):
        parser.error("--zip and --model go together: name both, or neither.")
    report(lambda service, folder: _rows(service, folder, given), given.out)


def _rows(service: Service, folder: Path, given: argparse.Namespace) -> Iterator[Row]:
    for seed in range(given.seeds):
        print("A .keras file of Keras 3")
        yield from compare(service, "Keras 3 file", EXAMPLE_MODEL, EXAMPLE_DATASET, FOUR_TECHNIQUES, seed, given.epochs)
        if given.csv:
            print(f"A dense network on {given.csv.name}")
            options = DatasetOptions(label_column=given.label)
            model = _trained(given.csv, options, seed, folder)
            yield from compare(service, given.csv.name, model, given.csv, FOUR_TECHNIQUES, seed, given.epochs, options)
        if given.zip:
            print(f"{given.model.name} on {given.zip.name}")
            yield from compare(service, given.zip.name, given.model, given.zip, FOUR_TECHNIQUES, seed, given.epochs)


def _trained(table: Path, options: DatasetOptions, seed: int, folder: Path) -> Path:
    """Train a dense network on a table as the app reads it, its columns standardized."""
    from intake.datasets import load_parsed, parse_dataset

    parsed = folder / f"table-{seed}"
    parse_dataset(table, options, parsed)
    data = load_parsed(parsed)
    x = np.asarray(data.x_train, np.float32)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-7)
    classes = len(data.info.class_names)
    layers = keras2().layers
    keras2().utils.set_random_seed(seed)
    model = keras2().Sequential(
        [
            layers.InputLayer(input_shape=x.shape[1:]),
            layers.Dense(64, activation="relu"),
            layers.Dense(32, activation="relu"),
            layers.Dense(classes, activation="softmax") if classes else layers.Dense(1),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy" if classes else "mean_squared_error")
    model.fit(x, np.asarray(data.y_train), epochs=EPOCHS, batch_size=32, verbose=0)
    path = folder / f"dense_{seed}.h5"
    model.save(path)
    keras2().backend.clear_session()
    return path


if __name__ == "__main__":
    main()
