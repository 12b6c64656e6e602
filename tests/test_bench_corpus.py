"""The measurement over a folder of models: a line for each, with a reason for what is no pass."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import h5py

from intake.keras_env import keras2
from runs.child import ROOT


def test_a_model_passes_and_a_file_of_weights_is_refused(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    layers = keras2().layers
    inputs = keras2().Input((6,))
    x = layers.Dense(24, activation="relu")(inputs)
    keras2().Model(inputs, layers.Dense(3, activation="softmax")(x)).save(models / "dense.h5")
    with h5py.File(models / "weights.h5", "w") as file:
        file.create_group("dense_1")
    rows_file = tmp_path / "rows.csv"
    command = [sys.executable, "-m", "bench.corpus", str(models), "--out", str(rows_file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = list(csv.DictReader(rows_file.open()))
    assert list(rows[0]) == ["file", "load", "prune", "cluster", "qat", "ptq_dynamic", "ptq_int8", "reason"]
    assert [set(list(row.values())[1:-1]) for row in rows] == [{"pass"}, {"refused"}]
    assert rows[0]["reason"] == ""
    assert "weights" in rows[1]["reason"]
    assert "| pass | 1 | 1 | 1 | 1 | 1 | 1 |" in done.stdout
