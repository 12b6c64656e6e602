"""The networks that measurements train themselves: those of published tables on MNIST."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from intake.keras_env import keras2

IMAGE = (28, 28, 1)
AS_THE_TUTORIAL: dict[str, Any] = {"epochs": 4, "batch_size": 32, "decay": False}
"""How the tutorials train their network."""


def tutorial_cnn() -> Any:
    """The network of TensorFlow's model-optimization tutorials: 20,410 parameters, images (28, 28)."""
    layers = keras2().layers
    return _sequential(
        (28, 28),
        layers.Reshape(IMAGE),
        layers.Conv2D(12, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    )


def lenet_300_100() -> Any:
    """Two hidden dense layers: 266,610 parameters (LeCun et al. 1998; Han et al. 2016, section 5.1)."""
    layers = keras2().layers
    return _sequential(
        IMAGE,
        layers.Flatten(),
        layers.Dense(300, activation="relu", name="ip1"),
        layers.Dense(100, activation="relu", name="ip2"),
        layers.Dense(10, activation="softmax", name="ip3"),
    )


def lenet_5() -> Any:
    """Caffe's LeNet-5: 431,080 parameters (Han et al. 2016, section 5.1)."""
    layers = keras2().layers
    return _sequential(
        IMAGE,
        layers.Conv2D(20, 5, name="conv1"),
        layers.MaxPooling2D(),
        layers.Conv2D(50, 5, name="conv2"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(500, activation="relu", name="ip1"),
        layers.Dense(10, activation="softmax", name="ip2"),
    )


def _sequential(input_shape: tuple[int, ...], *layers: Any) -> Any:
    return keras2().Sequential([keras2().layers.InputLayer(input_shape=input_shape), *layers])


def trained_on_mnist(
    network: Callable[[], Any],
    data: Path,
    seed: int,
    path: Path,
    epochs: int,
    *,
    batch_size: int = 128,
    decay: bool = True,
) -> Path:
    """Train a network on pixel values divided by 255 and save it as Keras 2 does.

    Args:
        network: one of the functions above.
        data: .npz with x_train (n, 28, 28) of 0-255 and y_train (n,).
        seed: of weights and order.
        path: .h5 to write.
        epochs: at least 1.
        batch_size: images in each step.
        decay: lower the learning rate to zero by the end (cosine), which the tutorials do not.
    """
    optimizers = keras2().optimizers
    keras2().utils.set_random_seed(seed)
    model = network()
    with np.load(data, allow_pickle=False) as arrays:
        images, labels = arrays["x_train"].astype(np.float32) / 255, arrays["y_train"]
    steps = epochs * -(-len(images) // batch_size)
    rate: Any = optimizers.schedules.CosineDecay(1e-3, steps) if decay else 1e-3
    model.compile(optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    images = images.reshape(-1, *model.input_shape[1:])
    model.fit(images, labels, batch_size=batch_size, epochs=epochs, verbose=0)
    model.save(path)
    keras2().backend.clear_session()
    return path
