"""Published tables, our figure beside theirs: `make bench-tables DATA=mnist.npz MODEL=resnet8.h5 IMAGES=cifar10.npz`.

Each row is a recipe of bench/recipes, carried out through the app's own code path; mean and spread over the seeds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.networks import AS_THE_TUTORIAL, lenet_5, lenet_300_100, trained_on_mnist, tutorial_cnn
from bench.published import LENET_5, LENET_300, PUBLISHED, RESNET_8, TUTORIAL, Published
from bench.published_rows import PublishedRow, published_tables
from bench.table import read_rows, write_rows
from bench.trials import finished, in_a_home_of_its_own
from intake.dataset_info import DatasetOptions
from intake.fit import FitOverrides
from measure.packed_files import PACKINGS
from optimizers.recipe import Recipe, RecipeStep
from runs.records import Result
from runs.service import Service

RECIPES = Path(__file__).parent / "recipes"
TRAINED: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    TUTORIAL: (tutorial_cnn, AS_THE_TUTORIAL),
    LENET_300: (lenet_300_100, {"epochs": 20}),
    LENET_5: (lenet_5, {"epochs": 12}),
}
"""Network -> what makes it, and how it is trained itself."""


@dataclass(frozen=True)
class Outcome:
    """One recipe under one seed, beside the baseline of the same seed."""

    published: Published
    baseline: Result
    result: Result

    @property
    def size_bytes(self) -> int:
        """Of the file that the bar names."""
        return _size(self.result, self.published)

    @property
    def times(self) -> float:
        """How many times smaller than the baseline."""
        of_baseline = self.baseline.gzip_bytes if self.published.bar.measure == "gzip" else self.baseline.tflite_bytes
        return of_baseline / self.size_bytes

    @property
    def loss(self) -> float:
        """Percentage points of accuracy."""
        return (self.baseline.metric - self.result.metric) * 100


def smallest_download(result: Result) -> tuple[int, str]:
    """Return how many bytes the smallest of the packed files takes, and which it is."""
    sizes = [(getattr(result, packing.field), packing.title) for packing in PACKINGS]
    return min((size, title) for size, title in sizes if size is not None)


def _size(result: Result, published: Published) -> int:
    measure = published.bar.measure
    if measure == "download":
        return smallest_download(result)[0]
    return result.gzip_bytes if measure == "gzip" else result.tflite_bytes


def row_of(outcomes: Sequence[Outcome]) -> PublishedRow:
    """Return the means over the seeds of one recipe."""
    published, bar = outcomes[0].published, outcomes[0].published.bar
    results = [outcome.result for outcome in outcomes]
    times, losses = [one.times for one in outcomes], [one.loss for one in outcomes]
    accuracies = [result.metric for result in results]
    downloads = [smallest_download(result) for result in results]
    size = statistics.mean(one.size_bytes for one in outcomes)
    met = bar.met(statistics.mean(times), size, statistics.mean(losses), statistics.mean(accuracies))
    return PublishedRow(
        network=published.network,
        recipe=published.recipe,
        theirs=published.theirs,
        seeds=len(outcomes),
        tflite_bytes=round(statistics.mean(result.tflite_bytes for result in results)),
        smallest_download=statistics.mode(title for _, title in downloads),
        download_bytes=round(statistics.mean(size for size, _ in downloads)),
        entropy_floor_bytes=round(statistics.mean(result.entropy_floor_bytes for result in results)),
        measure=bar.title,
        times=round(statistics.mean(times), 2),
        times_spread=_spread(times),
        baseline_accuracy=round(statistics.mean(one.baseline.metric for one in outcomes), 5),
        accuracy=round(statistics.mean(accuracies), 5),
        accuracy_spread=_spread(accuracies),
        loss=round(statistics.mean(losses), 3),
        loss_spread=_spread(losses),
        seconds=round(statistics.mean(result.duration_s for result in results), 1),
        target=str(bar),
        ok="yes" if met else "no",
    )


def _spread(values: Sequence[float]) -> float:
    return round(statistics.stdev(values), 4) if len(values) > 1 else 0.0


def main() -> None:
    """Train the networks, run the recipes, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="MNIST as .npz: x_train, y_train, x_test, y_test; 28x28, 0-255")
    parser.add_argument("--model", type=Path, help="MLPerf Tiny's pretrainedResnet.h5")
    parser.add_argument("--images", type=Path, help="CIFAR-10 as .npz, for that model; images of 0-255")
    parser.add_argument("--seeds", type=int, default=3, help="repeat with this many seeds and show the spread")
    parser.add_argument("--only", default="", help="recipes to run, separated by commas; all where empty")
    parser.add_argument("--out", type=Path, help="CSV to write; what it holds of other recipes stays")
    given = parser.parse_args()
    chosen = [one for one in PUBLISHED if not given.only or one.recipe in given.only.split(",")]
    if given.model is None or given.images is None:
        chosen = [one for one in chosen if one.network != RESNET_8]
        print(f"Without --model and --images, {RESNET_8} is left out.")
    outcomes: list[Outcome] = []
    with in_a_home_of_its_own() as (service, folder):
        try:
            for outcome in _outcomes(service, folder, chosen, given):
                outcomes.append(outcome)
        finally:
            rows = [row_of([one for one in outcomes if one.published is each]) for each in _reached(outcomes)]
            print(f"\n{published_tables(rows)}")
            if given.out:
                write_rows(_with_others(rows, given.out), given.out)


def _with_others(rows: Sequence[PublishedRow], path: Path) -> list[PublishedRow]:
    """These rows, and what the file holds of recipes that were not measured this time, in the order of the tables."""
    known = {row.recipe: row for row in (read_rows(PublishedRow, path) if path.exists() else [])}
    known.update({row.recipe: row for row in rows})
    return [known[published.recipe] for published in PUBLISHED if published.recipe in known]


def _reached(outcomes: Sequence[Outcome]) -> list[Published]:
    return list(dict.fromkeys(outcome.published for outcome in outcomes))


def _outcomes(
    service: Service, folder: Path, chosen: Sequence[Published], given: argparse.Namespace
) -> Iterator[Outcome]:
    for network in dict.fromkeys(one.network for one in chosen):
        of_network = [one for one in chosen if one.network == network]
        for seed in range(given.seeds):
            model, data = given.model, given.images
            if network != RESNET_8:
                make, training = TRAINED[network]
                print(f"Training {network}, seed {seed}", flush=True)
                data = given.data
                model = trained_on_mnist(make, data, seed, folder / f"{make.__name__}_{seed}.h5", **training)
            yield from _of_project(service, f"{network}, seed {seed}", model, data, of_network, seed)


def _of_project(
    service: Service, name: str, model: Path, data: Path, published: Sequence[Published], seed: int
) -> Iterator[Outcome]:
    prepared = service.prepare(model, data, DatasetOptions(), FitOverrides())
    project = service.project_of(name, prepared)
    baseline = finished(service.wait(service.baseline(project.project_id).run_id)).result
    assert baseline is not None
    for one in published:
        run = finished(service.wait(service.submit(project.project_id, _recipe(one, seed), one.recipe).run_id))
        assert run.result is not None
        yield Outcome(one, baseline, run.result)


def _recipe(published: Published, seed: int) -> Recipe:
    """The recipe file, with this seed wherever one counts."""
    read = Recipe.from_yaml((RECIPES / f"{published.recipe}.yaml").read_text(encoding="utf-8"))
    return Recipe.checked([_seeded(step, seed) for step in read.steps])


def _seeded(step: RecipeStep, seed: int) -> RecipeStep:
    params = {**step.params, "seed": seed} if "seed" in step.params else step.params
    settings = None if step.fine_tuning is None else {**step.fine_tuning, "seed": seed}
    return RecipeStep(technique=step.technique, params=params, fine_tuning=settings)


if __name__ == "__main__":
    main()
