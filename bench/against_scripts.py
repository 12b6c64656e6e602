"""Runs through the app against plain scripts of TFMOT's guides, each script a process of its own, one after the other."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.networks import AS_THE_TUTORIAL, trained_on_mnist, tutorial_cnn
from bench.ratio import Ratio
from bench.trials import finished
from intake.dataset_info import DatasetOptions
from intake.fit import FitOverrides
from optimizers.recipe import Recipe, RecipeStep
from optimizers.sweep import expand
from runs.records import Project
from runs.service import Service

SCRIPT = Path(__file__).parent / "plain_script.py"
ROOT = SCRIPT.parent.parent
TUNING = {"batch_size": 128}
SPARSITIES = (0.5, 0.6, 0.7, 0.8)
KINDS = ("nothing", "int8", "clustering")
"""What follows the pruning: three techniques for each sparsity."""
MOST_POINTS_LOST = 0.5
"""A run that is quicker and worse is no better: this far below the script's accuracy at most, percentage points."""


def one_run(service: Service, folder: Path, data: Path, repeats: int) -> Ratio:
    """Prune the tutorial's network for two epochs, in turns with the script.

    Args:
        service: with a home of its own; its worker is warm and the project's baseline measured, as when somebody
            presses Run.
        folder: for files.
        data: MNIST.
        repeats: runs of each.
    """
    model, project = _project(service, folder, data)
    ours, theirs = [], []
    for number in range(repeats):
        theirs.append(_script(model, data, 0.8, "nothing")[0])
        began = time.monotonic()
        steps = _steps(0.8, "nothing", seed=number)  # another seed each time, so that nothing is taken from before
        finished(service.wait(service.submit(project.project_id, Recipe.checked(steps)).run_id))
        ours.append(time.monotonic() - began)
    return Ratio.of(
        "One run, from click to point", statistics.median(ours), statistics.median(theirs), "s", 0.8, aim=0.5,
        how=f"MNIST tutorial pruning, 2 epochs; median of {repeats}, in turns",
    )  # fmt: skip


def sweep(service: Service, folder: Path, data: Path, sparsities: Sequence[float] = SPARSITIES) -> Ratio:
    """Queue four sparsities for each of three techniques, against as many scripts.

    Raises:
        SystemExit: a run is less accurate than its script by more than `MOST_POINTS_LOST`.
    """
    model, project = _project(service, folder, data)
    began = time.monotonic()
    runs = []
    for kind in KINDS:
        runs += service.submit_sweep(project.project_id, expand(_steps(sparsities, kind, seed=100)))
    ended = [finished(service.wait(run.run_id)) for run in runs]
    ours = time.monotonic() - began
    accuracies = [run.result.metric for run in ended if run.result is not None]
    began = time.monotonic()
    scripts = [_script(model, data, sparsity, kind) for kind in KINDS for sparsity in sparsities]
    theirs = time.monotonic() - began
    worst = max((other - own) * 100 for own, (_, other) in zip(accuracies, scripts, strict=True))
    print(f"  largest loss against the script: {worst:+.2f} points")
    if worst > MOST_POINTS_LOST:
        raise SystemExit(f"A run of the sweep lost {worst:.2f} points against its script.")
    return Ratio.of(
        f"Sweep of {len(runs)}", ours, theirs, "s", 0.4, aim=0.25,
        how=f"{len(sparsities)} sparsities × pruning alone, with int8, with clustering; {service.settings.slots} at a time; "
        f"accuracy at most {MOST_POINTS_LOST:g} points below the script's (largest {max(worst, 0.0):.2f})",
    )  # fmt: skip


def _project(service: Service, folder: Path, data: Path) -> tuple[Path, Project]:
    model = folder / "tutorial_cnn.h5"
    if not model.exists():
        trained_on_mnist(tutorial_cnn, data, 0, model, **AS_THE_TUTORIAL)
    prepared = service.prepare(model, data, DatasetOptions(), FitOverrides())
    project = service.project_of("MNIST", prepared)
    finished(service.wait(service.baseline(project.project_id).run_id))
    return model, project


def _steps(sparsity: float | Sequence[float], kind: str, seed: int) -> list[RecipeStep]:
    """The steps of one run, or of a sweep over sparsities."""
    # As in the guide, but that a sweep which ends at 50 %, too, must start below it.
    initial, asked = (0.5, sparsity) if isinstance(sparsity, float) else (0.4, ", ".join(map(str, sparsity)))
    params = {"initial_sparsity": initial, "final_sparsity": asked, "end": 1.0}
    tuning = {**TUNING, "seed": seed}
    steps = [RecipeStep(technique="pruning", params=params, fine_tuning={**tuning, "epochs": 2})]
    if kind == "int8":
        quantize = {"mode": "int8", "representative_samples": 100}
        steps.append(RecipeStep(technique="post_training_quantization", params=quantize))
    if kind == "clustering":
        share = {"number_of_clusters": 16, "cluster_centroids_init": "KMEANS_PLUS_PLUS"}
        steps.append(RecipeStep(technique="clustering", params=share, fine_tuning={**tuning, "epochs": 1}))
    return steps


def _script(model: Path, data: Path, sparsity: float, kind: str) -> tuple[float, float]:
    """Seconds and accuracy of one script, in a fresh process."""
    command = [sys.executable, str(SCRIPT), str(model), str(data), "--final-sparsity", str(sparsity), "--then", kind]
    began = time.monotonic()
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    spent = time.monotonic() - began
    if ended.returncode:
        raise SystemExit(f"The plain script failed:\n{ended.stderr[-3000:]}")
    said = json.loads(ended.stdout.splitlines()[-1])
    print(f"  script, {sparsity:.0%}, then {kind}: accuracy {said['accuracy']:.4f}, {spent:.1f} s")
    return spent, float(said["accuracy"])
