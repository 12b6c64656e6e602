"""Makes the packed home folder of an older commit, by running that commit: a small project with runs of every kind.

    git worktree add --detach /tmp/older COMMIT
    PYTHONPATH=/tmp/older .venv/bin/python tests/older_stores/make_store.py tests/older_stores/COMMIT.tar.xz

What is imported here is the older commit's, so only names that it had too may be used. What is made anew when it is
missing (prepared models, parsed datasets) is left out, as in a backup.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import re
import shutil
import sqlite3
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from intake.dataset_info import DatasetOptions
from intake.fit import FitOverrides
from intake.keras_env import keras2, prepare_environment
from optimizers.recipe import Recipe
from runs.service import Service
from runs.settings import Settings

KEPT = ("mlflow.db", "projects", "uploads", "artifacts", "logs")
SHORT = {"epochs": 2, "batch_size": 32}
RECIPES = {
    "Pruned": Recipe.single("pruning", {}, SHORT),
    "Clustered": Recipe.single("clustering", {"number_of_clusters": 8}, SHORT),
    "Quantization-aware": Recipe.single("quantization_aware_training", {}, SHORT),
    "Quantized": Recipe.single("post_training_quantization", {"mode": "int8"}),
}
ENDLESS = Recipe.single("pruning", {}, {"epochs": 100, "batch_size": 1})


def write_inputs(folder: Path) -> tuple[Path, Path]:
    """Write a network that was trained on some digits, and the digits."""
    keras2().utils.set_random_seed(0)
    images, labels = load_digits(return_X_y=True)
    x, y = images[:600].reshape(-1, 8, 8, 1).astype(np.uint8), labels[:600].astype(np.int64)
    layers = keras2().layers
    model = keras2().Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(4, 3, use_bias=False, name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.ReLU(name="relu"),
            layers.Flatten(name="flat"),
            layers.Dense(10, activation="softmax", name="head"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x.astype(np.float32), y, epochs=20, verbose=0)
    model.save(folder / "few_digits.h5", include_optimizer=False)
    np.savez_compressed(folder / "few_digits.npz", x_train=x[:400], y_train=y[:400], x_test=x[400:], y_test=y[400:])
    return folder / "few_digits.h5", folder / "few_digits.npz"


def fill(home: Path, folder: Path) -> None:
    """Have the older commit make a project, a run of each kind, one that is cancelled and one that fails."""
    service = Service(Settings(home=home))
    service.start()
    prepared = service.prepare(*write_inputs(folder), DatasetOptions(), FitOverrides())
    project = service.project_of("A few digits", prepared)
    for run in service.runs(project.project_id):
        service.wait(run.run_id)
    for name, recipe in RECIPES.items():
        ended = service.wait(service.submit(project.project_id, recipe, name).run_id)
        assert ended.state == "finished", ended.error
    cancelled = service.submit(project.project_id, ENDLESS, "Cancelled half way")
    while not service.curves(cancelled.run_id):
        time.sleep(0.5)
    service.cancel(cancelled.run_id)
    service.wait(cancelled.run_id)
    for name in ("uploads", "prepared"):
        shutil.move(home / name, folder / name)
    service.wait(service.submit(project.project_id, RECIPES["Pruned"], "Model gone").run_id)
    for name in ("uploads", "prepared"):
        shutil.rmtree(home / name, ignore_errors=True)
        shutil.move(folder / name, home / name)
    print(*(f"{run.name}: {run.state} {run.error}" for run in service.runs(project.project_id)), sep="\n")
    service.stop()


def forget_places(home: Path) -> None:
    """Take the folders of the machine that made it out of logs and database."""
    for log in (home / "logs").glob("worker-*.log"):
        log.unlink()
    for log in (*home.rglob("log.txt"), *home.rglob("*.log")):
        log.write_text(re.sub(r"/\S*(?=/\.venv/|/runs/|/optimizers/)", "/srv/tare", log.read_text()))
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as database:
        database.execute("UPDATE experiments SET artifact_location = '/srv/tare/mlruns/0' WHERE experiment_id = 0")
        database.commit()
        database.execute("VACUUM")


def pack(home: Path, file: Path) -> None:
    """Pack what a backup would keep, as small as it goes."""
    forget_places(home)
    with (
        lzma.open(file, "w", preset=9 | lzma.PRESET_EXTREME) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name in KEPT:
            archive.add(home / name, name)
    print(f"{file}: {file.stat().st_size:,} B")


if __name__ == "__main__":
    prepare_environment()
    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "older-home"
        os.makedirs(Path(place) / "files")
        fill(home, Path(place) / "files")
        pack(home, Path(sys.argv[1]).resolve())
