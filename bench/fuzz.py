"""Thousands of spoilt files of every format through the app's own way of opening them: `make fuzz`.

Each is uploaded and opened as the pages do it, by a worker of a real service. It must be opened, or refused with a
sentence. What is counted: answers that call themselves a fault of Tare, workers that died (the service goes on), files
that took too long, and files written outside of the home folder.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image

from bench.mutations import BLIND, Mutation, of_archive, of_array, of_end, of_table, of_yaml
from intake.dataset_info import DatasetOptions
from intake.errors import UserError
from intake.fit import FitOverrides
from intake.keras_env import keras2, keras3, prepare_environment
from optimizers.presets import presets
from optimizers.recipe import Recipe
from runs.jobs import Job
from runs.service import EXAMPLE_DATASET, EXAMPLE_MODEL, Service
from runs.settings import Settings
from runs.try_job import AskedSample

HANG_S = 90.0
RECIPE_S = 10.0
FAULT, DIED = "This is a fault in Tare", "The worker "


@dataclass(frozen=True)
class Original:
    """A whole file, where files like it come in, and how they are spoilt."""

    name: str
    content: bytes
    way: Literal["model", "dataset", "sample", "recipe"]
    mutations: tuple[Mutation, ...]


def originals(folder: Path) -> list[Original]:
    """One small file of each format."""
    prepare_environment()
    layers = keras2().layers
    model = keras2().Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(3)]
    )
    model.save(folder / "m.h5")
    keras3().saving.load_model(EXAMPLE_MODEL).save(folder / "k3.h5")
    model.save(folder / "m.keras")
    model.export(folder / "saved")
    shutil.make_archive(str(folder / "saved_model"), "zip", folder / "saved")
    chance = np.random.default_rng(0)
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["a", "b", "kind"])
    rows.writerows([[f"{value:.3f}", number, "xy"[number % 2]] for number, value in enumerate(chance.random(40))])
    arrays = io.BytesIO()
    np.savez(arrays, x_train=chance.random((20, 8, 8)), y_train=np.arange(20) % 3)
    parquet = io.BytesIO()
    pd.read_csv(io.StringIO(table.getvalue())).to_parquet(parquet)
    sample = np.load(EXAMPLE_DATASET)["x_train"][0]
    array = io.BytesIO()
    np.save(array, sample)
    pictures = io.BytesIO()
    with zipfile.ZipFile(pictures, "w") as archive:
        for number in range(12):
            kind = ("png", "jpeg", "gif", "bmp", "webp", "tiff")[number // 2]
            archive.writestr(f"pictures/{'ab'[number % 2]}/{number}.{kind}", _picture(chance, kind))
    both = (*BLIND, of_archive, of_archive, of_archive)
    return [
        Original("keras3.keras", EXAMPLE_MODEL.read_bytes(), "model", both),
        Original("keras2.keras", (folder / "m.keras").read_bytes(), "model", both),
        Original("model.h5", (folder / "m.h5").read_bytes(), "model", BLIND),
        Original("keras3.hdf5", (folder / "k3.h5").read_bytes(), "model", BLIND),
        Original("saved_model.zip", (folder / "saved_model.zip").read_bytes(), "model", both),
        Original("digits.npz", EXAMPLE_DATASET.read_bytes(), "dataset", both),
        Original("arrays.npz", arrays.getvalue(), "dataset", both),
        Original("table.csv", table.getvalue().encode(), "dataset", (*BLIND, of_table, of_table, of_table)),
        Original("table.tsv", table.getvalue().replace(",", "\t").encode(), "dataset", BLIND),
        Original("table.parquet", parquet.getvalue(), "dataset", (*BLIND, of_end, of_end, of_end)),
        Original("pictures.zip", pictures.getvalue(), "dataset", both),
        Original("sample.png", _picture(chance, "png"), "sample", BLIND),
        Original("sample.jpg", _picture(chance, "jpeg"), "sample", BLIND),
        Original("sample.npy", array.getvalue(), "sample", (*BLIND, of_array, of_array, of_array)),
        Original("recipe.yaml", presets()[-1].path.read_bytes(), "recipe", (*BLIND, of_yaml, of_yaml, of_yaml)),
    ]


def _picture(chance: np.random.Generator, kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(chance.integers(0, 255, (8, 8, 3), np.uint8)).save(content, kind)
    return content.getvalue()


class Fuzzer:
    """Opens spoilt files, and counts what came of them.

    Args:
        folder: where nothing may appear.
        seed: of the spoiling.
        service: that opens them, started.
    """

    def __init__(self, folder: Path, seed: int, service: Service) -> None:
        self._folder, self._seed, self._service = folder, seed, service
        with tempfile.TemporaryDirectory() as made:
            self._originals = originals(Path(made))
        prepared = service.prepare(EXAMPLE_MODEL, EXAMPLE_DATASET, DatasetOptions(), FitOverrides())
        project = service.project_of("For samples", prepared)
        self._run_id = service.wait(service.baseline(project.project_id).run_id).run_id
        self.counts: Counter[tuple[str, str]] = Counter()
        self.bad: list[str] = []

    def one(self, number: int) -> None:
        """Open the spoilt file of a number: the same for the same seed."""
        chance = random.Random(f"{self._seed}/{number}")
        original = self._originals[number % len(self._originals)]
        mutation = chance.choice(original.mutations)
        try:
            content = mutation(original.content, chance)
        except (zipfile.BadZipFile, ValueError) as error:  # a mutation that its own library will not write
            self.counts[original.name, f"not made: {type(error).__name__}"] += 1
            return
        for name in ("uploads", "prepared", "parsed"):
            self._service.settings.folder(name)
        before = self._beside()
        try:
            answer = self._opened(original, content)
        except Exception as error:  # in a server this would be a page that shows a trace
            answer = f"service raised: {error!r}"
        if written := self._beside() - before:
            answer = f"written outside: {sorted(written)}"
        self.counts[original.name, answer.split(":")[0]] += 1
        if answer.split(":")[0] not in ("opened", "refused"):
            self.bad.append(f"{number} ({original.name}, {mutation.__name__}): {answer[:400]}")
            print(self.bad[-1], flush=True)

    def _beside(self) -> set[str]:
        """What lies beside the home folder, and beside its uploads: there a name that leads out of an archive would."""
        home = self._service.settings.home
        return {str(path) for folder in (self._folder, home.parent, home) for path in folder.iterdir()}

    def _opened(self, original: Original, content: bytes) -> str:
        if original.way == "recipe":
            return _read_recipe(content)
        if original.way == "sample":
            job = self._service.tries.ask(self._run_id, AskedSample(file_name=original.name, content=content))
            return _came_of(job)
        try:
            upload = self._service.add_upload(original.name, io.BytesIO(content))
        except UserError:
            return "refused"
        inspect: Callable[[str], Job] = (
            self._service.inspect_model if original.way == "model" else self._service.inspect_dataset
        )
        job = inspect(upload.upload_id)
        answer = _came_of(job)
        self._forget(upload.upload_id, job)
        return answer

    def _forget(self, upload_id: str, job: Job) -> None:
        self._service.forget(job)
        for name in ("uploads", "prepared", "parsed"):
            for found in self._service.settings.folder(name).glob(f"{upload_id}*"):
                shutil.rmtree(found, ignore_errors=True)


def _read_recipe(content: bytes) -> str:
    """A recipe is read by the server itself, so it must be soon."""
    started = time.monotonic()
    try:
        Recipe.from_yaml(content.decode(errors="replace"))
        answer = "opened"
    except UserError as error:
        answer = "refused" if all(error.problems) else "fault: no words"
    took_s = time.monotonic() - started
    return answer if took_s < RECIPE_S else f"hang: {took_s:.0f} s"


def _came_of(job: Job) -> str:
    started = time.monotonic()
    while not job.is_done:
        if time.monotonic() - started > HANG_S:
            return f"hang: not done after {HANG_S:.0f} s"
        time.sleep(0.002)
    said = " ".join(job.problems)
    if said.startswith(DIED):
        return f"worker died: {said}"
    return f"fault: {said}" if FAULT in said else ("refused" if said else "opened")


def main() -> None:
    """Open as many files as are asked for, print the table, and end with 1 where any was not opened or refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4000, help="files to open")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file, to repeat one")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Settings(home=Path(folder) / "beside" / "home"))
        service.start()
        try:
            fuzzer = Fuzzer(Path(folder), given.seed, service)
            for number in range(given.first, given.first + given.count):
                fuzzer.one(number)
        finally:
            service.stop()
    print_table(fuzzer.counts)
    kinds = Counter(line.split("): ", 1)[1].split(":")[0] for line in fuzzer.bad)
    print(
        f"\ninputs tried: {given.count}, raised by the service: {kinds['service raised']}, "
        f"workers that died: {kinds['worker died']}, "
        f"hangs: {kinds['hang']}, faults: {kinds['fault']}, files outside: {kinds['written outside']} "
        f"({time.monotonic() - started:.0f} s)"
    )
    sys.exit(1 if fuzzer.bad else 0)


def print_table(counts: Counter[tuple[str, str]]) -> None:
    """Print how many files of each format met which end, as a Markdown table."""
    ends = sorted({end for _, end in counts})
    print("\n| file | " + " | ".join(ends) + " |\n|---|" + "---|" * len(ends))
    for name in sorted({name for name, _ in counts}):
        print(f"| {name} | " + " | ".join(str(counts[name, end]) for end in ends) + " |")


if __name__ == "__main__":
    main()
