"""Small real things that many tests need: an easy dataset, trained tiny models, a home folder of one's own."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake.fit import Fit
from intake.keras_env import keras2, prepare_environment, tensorflow
from optimizers.fine_tuning import FineTuning
from runs.service import Service
from runs.settings import Settings
from runs.store import Store

prepare_environment()
CLASSES = 3


@pytest.fixture(autouse=True, scope="module")
def _old_models_do_not_slow_down() -> Iterator[None]:
    """Keras remembers every model of a process, and Python looks through all of them each time it collects garbage."""
    yield
    gc.collect()
    gc.freeze()


def easy_images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 (count, 8, 8, 1) noise with a bright band whose row tells the class, int64 (count,)."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    images = random.normal(0, 0.3, (count, 8, 8, 1)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] += 1.0
    return images, labels.astype(np.int64)


class EasyData:
    """What `apply_recipe` asks for, on the easy images."""

    fit = Fit(
        task="classification", loss="sparse_categorical_crossentropy", metric_name="accuracy", class_order=(0, 1, 2)
    )

    def __init__(self, train_samples: int = 192) -> None:
        self.train_samples, self.validation_samples = train_samples, 32
        self.x, self.y = easy_images(train_samples, 0)
        self.x_test, self.y_test = easy_images(90, 1)

    def batches(self, settings: FineTuning) -> Any:
        """Shuffled with the seed of the settings."""
        data = tensorflow().data.Dataset.from_tensor_slices((self.x, self.y))
        return data.shuffle(self.train_samples, seed=settings.seed).batch(settings.batch_size)

    def validation(self, settings: FineTuning) -> Any:
        """The first rows again: enough for a curve."""
        return self.x[:32], self.y[:32]

    def representative(self, count: int, seed: int) -> tuple[np.ndarray, ...]:
        """The first rows."""
        return (self.x[:count],)


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    """Wait for a condition; fail where it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def convolutional_model() -> Any:
    """Conv, BatchNormalization, ReLU, pooling, Dense: what most uploads are made of."""
    layers = keras2().layers
    inputs = keras2().Input((8, 8, 1))
    x = layers.Conv2D(8, 3, use_bias=False, name="conv")(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(16, activation="relu", name="hidden")(x)
    return keras2().Model(inputs, layers.Dense(CLASSES, activation="softmax", name="head")(x))


def dense_model() -> Any:
    """Only dense layers, the last one with logits hidden in a softmax."""
    layers = keras2().layers
    inputs = keras2().Input((8, 8, 1))
    x = layers.Dense(24, activation="relu", name="hidden")(layers.Flatten(name="flat")(inputs))
    return keras2().Model(inputs, layers.Dense(CLASSES, activation="softmax", name="head")(x))


MODELS = {"convolutional": convolutional_model, "dense": dense_model}


@pytest.fixture(scope="session")
def easy_data() -> EasyData:
    """The easy dataset."""
    return EasyData()


@pytest.fixture(scope="session", params=sorted(MODELS))
def trained_model(request: pytest.FixtureRequest, easy_data: EasyData) -> Any:
    """A tiny model that solves the easy dataset. Shared: tests must not change it."""
    keras2().utils.set_random_seed(0)
    model = MODELS[request.param]()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(easy_data.x, easy_data.y, epochs=15, batch_size=16, verbose=0)
    return model


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of an installation in a folder of its own."""
    return Settings(home=tmp_path / "home")


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose database is made already, which takes seconds: for copies."""
    home = tmp_path_factory.mktemp("empty") / "home"
    Store(Settings(home=home)).runs(["0"])
    return home


@pytest.fixture(scope="session")
def service(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with real workers, shared by the tests that need one."""
    home = tmp_path_factory.mktemp("shared") / "home"
    shutil.copytree(empty_home, home)
    shared = Service(Settings(home=home))
    shared.start()
    yield shared
    shared.stop()


@pytest.fixture(scope="session")
def easy_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model file and a dataset file, as a user would upload them."""
    folder = tmp_path_factory.mktemp("files")
    x, y = easy_images(240, 0)
    keras2().utils.set_random_seed(0)
    model = convolutional_model()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=15, batch_size=16, verbose=0)
    model.save(folder / "easy.h5")
    x_test, y_test = easy_images(90, 1)
    np.savez(folder / "easy.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return folder / "easy.h5", folder / "easy.npz"
