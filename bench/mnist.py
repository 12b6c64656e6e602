"""Every technique on MNIST, with the network of TensorFlow's own tutorials: `make bench-mnist DATA=mnist.npz`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from bench.networks import AS_THE_TUTORIAL, trained_on_mnist, tutorial_cnn
from bench.table import Row
from bench.trials import EVERY_TRIAL, arguments, compare, report
from runs.service import Service


def main() -> None:
    """Train, measure, print."""
    parser = arguments(__doc__)
    parser.add_argument("data", type=Path, help=".npz with x_train, y_train, x_test, y_test; images of 28x28, 0-255")
    given = parser.parse_args()
    report(lambda service, folder: _rows(service, folder, given), given.out)


def _rows(service: Service, folder: Path, given: argparse.Namespace) -> Iterator[Row]:
    for seed in range(given.seeds):
        print(f"Training the MNIST network, seed {seed}")
        model = trained_on_mnist(tutorial_cnn, given.data, seed, folder / f"mnist_cnn_{seed}.h5", **AS_THE_TUTORIAL)
        yield from compare(service, "MNIST", model, given.data, EVERY_TRIAL, seed, given.epochs)


if __name__ == "__main__":
    main()
