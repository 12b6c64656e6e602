"""Runs recipes on a model and a dataset through the app's own code, and judges each against its target."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.table import Row, table_of, write_rows
from intake.dataset_info import DatasetOptions
from intake.fit import FitOverrides
from optimizers import technique
from optimizers.fine_tuning import suggested
from optimizers.recipe import Recipe, RecipeStep
from runs.records import Result, RunRecord
from runs.service import Service
from runs.settings import Settings


@dataclass(frozen=True)
class Target:
    """So many times smaller than the float baseline, for at most so many points of accuracy."""

    size: str
    """Which size of a Result: "tflite_bytes" or "gzip_bytes"."""
    times: float
    most_loss: float
    """Percentage points."""

    def __str__(self) -> str:
        return f"{'gzip' if self.size == 'gzip_bytes' else '.tflite'} ≥ {self.times:g}×, loss ≤ {self.most_loss:g}"

    def met(self, baseline: Result, result: Result, loss: float) -> bool:
        """True where both the size and the accuracy are reached."""
        times = getattr(baseline, self.size) / getattr(result, self.size)
        return bool(times >= self.times and round(loss, 9) <= self.most_loss)


@dataclass(frozen=True)
class Trial:
    """One recipe to measure."""

    name: str
    steps: tuple[tuple[str, dict[str, Any]], ...]
    """(technique, its parameters where they are not the defaults)."""
    target: Target | None = None

    def recipe(self, train_samples: int, seed: int, epochs: int | None = None) -> Recipe:
        """Return the recipe with this seed wherever one counts, and these epochs instead of the suggested ones."""
        given = {"seed": seed} if epochs is None else {"seed": seed, "epochs": epochs}
        return Recipe.checked([_step(name, params, given, train_samples) for name, params in self.steps])


def _step(name: str, params: dict[str, Any], given: dict[str, int], train_samples: int) -> RecipeStep:
    entry = technique(name)
    seeded = {**params, "seed": given["seed"]} if "seed" in entry.Params.model_fields else params
    settings = {**suggested(entry.fine_tuning, train_samples).model_dump(), **given} if entry.fine_tuning else None
    return RecipeStep(technique=name, params=seeded, fine_tuning=settings)


QUANTIZE = "post_training_quantization"
PRUNING = Trial(
    "pruning 50→80 %",
    (("pruning", {"initial_sparsity": 0.5, "final_sparsity": 0.8}),),
    Target("gzip_bytes", 3, 0.5),
)
CLUSTERING = Trial("clustering 16", (("clustering", {"number_of_clusters": 16}),), Target("gzip_bytes", 6, 0.5))
AWARE = Trial("quantization-aware", (("quantization_aware_training", {}),), Target("tflite_bytes", 3.3, 0.3))
INT8 = Trial("quantized int8", ((QUANTIZE, {"mode": "int8"}),), Target("tflite_bytes", 3.3, 0.3))
DYNAMIC = Trial("quantized dynamic range", ((QUANTIZE, {"mode": "dynamic_range"}),))
FLOAT16 = Trial("quantized float16", ((QUANTIZE, {"mode": "float16"}),))
PRUNED_INT8 = Trial("pruning, then int8", (*PRUNING.steps, *INT8.steps))

EVERY_TRIAL = (PRUNING, CLUSTERING, AWARE, DYNAMIC, FLOAT16, INT8, PRUNED_INT8)
FOUR_TECHNIQUES = (PRUNING, CLUSTERING, AWARE, INT8)


def compare(
    service: Service,
    pair: str,
    model: Path,
    dataset: Path,
    trials: Sequence[Trial],
    seed: int,
    epochs: int | None = None,
    options: DatasetOptions | None = None,
) -> Iterator[Row]:
    """Make a project of the two files, run the baseline and every trial, and give a row for each.

    Args:
        service: with a home of its own.
        pair: name of model and dataset in the table.
        model: path of the model file.
        dataset: path of the dataset file.
        trials: what to run.
        seed: of every recipe.
        epochs: of fine-tuning; None: those that the form suggests.
        options: how to read the dataset.
    """
    prepared = service.prepare(model, dataset, options or DatasetOptions(), FitOverrides())
    for note in prepared.report.notes:
        print(f"  note: {note}")
    project = service.project_of(pair, prepared)
    baseline = finished(service.wait(service.baseline(project.project_id).run_id))
    assert baseline.result is not None
    yield _row(pair, "baseline float32", seed, baseline.result, baseline, None)
    for trial in trials:
        recipe = trial.recipe(prepared.dataset_info.train_samples, seed, epochs)
        run = service.wait(service.submit(project.project_id, recipe, trial.name).run_id)
        yield _row(pair, trial.name, seed, baseline.result, finished(run), trial.target)


def finished(run: RunRecord) -> RunRecord:
    """Return the run; ends the measurement where it did not finish."""
    if run.result is None:
        raise SystemExit(f"The run {run.name!r} ended as {run.state}: {run.error}")
    print(f"  {run.name}: {run.result.metric_name} {run.result.metric:.4f}, {run.result.tflite_bytes:,} bytes")
    return run


def _row(pair: str, name: str, seed: int, baseline: Result, run: RunRecord, target: Target | None) -> Row:
    result = run.result
    assert result is not None
    is_accuracy = result.metric_name == "accuracy"
    loss = (baseline.metric - result.metric) * 100 if is_accuracy else (result.metric / baseline.metric - 1) * 100
    judged = target if is_accuracy else None
    return Row(
        pair=pair,
        technique=name,
        seed=seed,
        tflite_bytes=result.tflite_bytes,
        gzip_bytes=result.gzip_bytes,
        tflite_times=round(baseline.tflite_bytes / result.tflite_bytes, 3),
        gzip_times=round(baseline.gzip_bytes / result.gzip_bytes, 3),
        metric=result.metric_name,
        value=result.metric,
        loss=round(loss, 4),
        verified=f"{run.verified_met}/{run.verified_count}" if run.verified_count else "",
        seconds=round(result.duration_s, 1),
        target=str(judged) if judged else "",
        ok="" if judged is None else "yes" if judged.met(baseline, result, loss) else "no",
    )


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with what every measurement is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", type=int, default=1, help="repeat with this many seeds and show the spread")
    parser.add_argument("--epochs", type=int, help="of fine-tuning; default: what each technique proposes")
    parser.add_argument("--out", type=Path, help="write the rows into this CSV file")
    return parser


@contextlib.contextmanager
def in_a_home_of_its_own() -> Iterator[tuple[Service, Path]]:
    """Give a service with an empty home folder, and a folder for files; both are gone afterwards."""
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="tare-bench-", ignore_cleanup_errors=True))
        )
        service = Service(Settings(home=folder / "home", tracking_uri=""))
        stack.callback(service.stop)
        yield service, folder


def report(measure: Callable[[Service, Path], Iterator[Row]], out: Path | None) -> None:
    """Run a measurement in a home folder of its own, then print and write its rows, also those before a failure."""
    with in_a_home_of_its_own() as (service, folder):
        began = time.monotonic()
        rows: list[Row] = []
        try:
            for row in measure(service, folder):
                rows.append(row)
        finally:
            print(f"\n{table_of(rows)}\n")
            print(f"{time.monotonic() - began:.0f} s in all.")
            if out:
                write_rows(rows, out)
