"""How long the page of a project takes to draw with 20 runs, with 1,000 and with 10,000: `make bench-ui`.

The page is run as Streamlit runs it, in this process, over a real store: the built-in example with its measured
baseline, and runs with made-up figures beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import random
import sqlite3
import statistics
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from streamlit.testing.v1 import AppTest

from bench.ratio import Ratio
from intake.dataset_info import DatasetOptions
from intake.fit import FitOverrides
from optimizers import TECHNIQUES
from optimizers.recipe import Recipe, RecipeStep
from runs.records import Project, Result, RunRecord
from runs.service import EXAMPLE_DATASET, EXAMPLE_MODEL, Service
from runs.settings import Settings
from runs.store import Store

APP = Path(__file__).parent.parent / "app.py"
FEW, MANY, VERY_MANY = 20, 1000, 10_000
MOST_TIMES_SLOWER = {MANY: 1.5, VERY_MANY: 3.0}
"""The bars: the page with so many runs against the page with few."""
SHRINKS = {"pruning": 1.0, "clustering": 1.0, "quantization_aware_training": 0.28, "post_training_quantization": 0.27}


@dataclass(frozen=True)
class Timing:
    """One project's page."""

    runs: int
    first_ms: float
    """The first time that this process draws it: everything is read."""
    median_ms: float
    """Of the draws after it."""
    times: float
    """Of the median with few runs."""
    ok: str


def main() -> None:
    """Build the store, draw both pages in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--home", type=Path, help="keep the store here, and use the one that is there")
    parser.add_argument("--out", type=Path, help="write the rows as CSV, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = _measured_in(given.home or Path(folder), given.repeats)
    _print(rows)
    if given.out:
        with given.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(asdict(rows[0])))
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)


def _measured_in(home: Path, repeats: int) -> list[Timing]:
    projects = projects_in(home)
    os.environ["TARE_HOME"] = str(home)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    return measure(projects, repeats)


def many_runs(home: Path, repeats: int) -> list[Ratio]:
    """Return the lines of `make bench` about projects with many runs."""
    few, *many = _measured_in(home, repeats)
    return [
        Ratio.of(
            f"Page of a project with {timing.runs:,} runs", timing.median_ms, few.median_ms, "ms",
            MOST_TIMES_SLOWER[timing.runs],
            how=f"against {few.runs} runs; median of {repeats} draws in turns, the first ({timing.first_ms / 1000:.1f} s) not "
            "counted",
        )
        for timing in many
    ]  # fmt: skip


def projects_in(home: Path) -> dict[int, Project]:
    """Return number of runs -> project, both made where they are not there yet."""
    settings = Settings(home=home)
    store = Store(settings)
    found = {project.name: project for project in store.projects()}
    names = {count: f"{count} runs" for count in (FEW, MANY, VERY_MANY)}
    if set(names.values()) <= set(found):
        return {count: found[name] for count, name in names.items()}
    service = Service(settings)
    service.start()
    try:
        prepared = service.prepare(EXAMPLE_MODEL, EXAMPLE_DATASET, DatasetOptions(), FitOverrides())
        service.model_plan(prepared.model_id).wait()
        for count, name in names.items():
            print(f"Storing {count:,} runs")
            found[name] = service.create_project(
                name, prepared.model_id, prepared.dataset_id, prepared.options, prepared.report.fit
            )
            baseline = service.wait(service.baseline(found[name].project_id).run_id)
            if baseline.result is None:
                raise SystemExit(f"The baseline could not be measured: {baseline.error}")
            for number in range(1, min(count, MANY)):
                add_made_up_run(store, found[name], baseline.result, number)
    finally:
        service.stop()
    copy_runs(home / "mlflow.db", found[names[MANY]], found[names[VERY_MANY]], VERY_MANY // MANY - 1)
    return {count: found[name] for count, name in names.items()}


def add_made_up_run(store: Store, project: Project, baseline: Result, number: int) -> RunRecord:
    """Store a finished run whose figures are drawn at random, the same for the same number."""
    chance = random.Random(number)
    recipe = _recipe(chance)
    record = RunRecord(
        run_id="", project_id=project.project_id, name=f"{number} · {recipe.title}", recipe=recipe, is_baseline=False,
        state="queued", created_at=datetime.now(UTC), tags=(f"sweep:{number % 5:06x}",) if number % 3 else (),
    )  # fmt: skip
    run = store.add_run(record)
    store.log_result(run.run_id, _result(chance, recipe, baseline), 3, 3)
    store.set_state(run.run_id, "finished")
    return run


def copy_runs(database: Path, source: Project, target: Project, times: int) -> None:
    """Put the runs of a project, less its baseline, into another as often as asked, in the database itself.

    Storing ten thousand runs one by one takes MLflow many minutes.
    """
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        query = (
            "SELECT run_uuid FROM runs WHERE experiment_id = ? AND run_uuid NOT IN "
            "(SELECT run_uuid FROM tags WHERE key = 'tare.baseline' AND value = 'true')"
        )
        ids = connection.execute(query, (source.project_id,)).fetchall()
        connection.execute("CREATE TEMP TABLE copied (old TEXT PRIMARY KEY, new TEXT)")
        for _ in range(times):
            connection.execute("DELETE FROM copied")
            connection.executemany("INSERT INTO copied VALUES (?, ?)", [(one, uuid.uuid4().hex) for (one,) in ids])
            for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
                columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
                replaced = {"run_uuid": "copied.new", "experiment_id": ":target"}
                values = [replaced.get(name, name) for name in columns]
                connection.execute(
                    f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {table} "
                    f"JOIN copied ON copied.old = {table}.run_uuid",
                    {"target": int(target.project_id)},
                )


def _recipe(chance: random.Random) -> Recipe:
    entry = chance.choice(TECHNIQUES)
    params = {"final_sparsity": round(chance.uniform(0.5, 0.95), 2)} if entry.name == "pruning" else {}
    if entry.name == "clustering":
        params = {"number_of_clusters": chance.choice([8, 16, 32, 64])}
    settings = {"epochs": chance.randint(1, 8)} if entry.fine_tuning else None
    steps = [RecipeStep(technique=entry.name, params=params, fine_tuning=settings)]
    if not entry.converts and chance.random() < 0.5:
        steps.append(RecipeStep(technique=TECHNIQUES[-1].name))
    return Recipe.checked(steps)


def _result(chance: random.Random, recipe: Recipe, baseline: Result) -> Result:
    raw = min(SHRINKS.get(step.technique, 1.0) for step in recipe.steps) * chance.uniform(0.97, 1.03)
    packed = raw * chance.uniform(0.25, 0.95)
    metric = max(0.0, min(1.0, baseline.metric - 0.08 * chance.random() ** 3 + 0.004))
    figures = baseline.model_dump()
    for name in ("tflite_bytes", "uploaded_format_bytes"):
        figures[name] = int(figures[name] * raw)
    for name in ("gzip_bytes", "zstd_bytes", "xz_bytes", "compact_bytes", "uploaded_format_gzip_bytes"):
        figures[name] = int(figures[name] * packed) if figures[name] else figures[name]
    return Result.model_validate(
        figures
        | {
            "entropy_floor_bytes": int(figures["entropy_floor_bytes"] * packed * 0.9),
            "nonzero_parameters": int(figures["parameters"] * chance.uniform(0.05, 1)),
            "metric": metric,
            "metric_low": max(0.0, metric - 0.015),
            "metric_high": min(1.0, metric + 0.012),
            "keras_metric": metric,
            "latency_ms": figures["latency_ms"] * chance.uniform(0.6, 1.1),
            "training_s": chance.uniform(0, 40) if any(step.fine_tuning for step in recipe.steps) else 0.0,
            "duration_s": chance.uniform(2, 60),
        }
    )


def measure(projects: dict[int, Project], repeats: int) -> list[Timing]:
    """Draw the pages in turn, so that what else the machine does meets both alike; few runs first."""
    pages = {count: opened(project) for count, project in projects.items()}
    spent: dict[int, list[float]] = {count: [] for count in projects}
    first = {count: draw_ms(page) for count, page in pages.items()}
    for _ in range(repeats):
        for count, page in pages.items():
            spent[count].append(draw_ms(page))
    return slower(spent, first)


def slower(spent: dict[int, list[float]], first: dict[int, float]) -> list[Timing]:
    """Return a row for each number of runs: the median of its draws, and how many times that of `FEW` runs it is."""
    medians = {count: statistics.median(values) for count, values in spent.items()}
    times = {count: median / medians[FEW] for count, median in medians.items()}
    ok = {count: "" if count == FEW else "yes" if times[count] < MOST_TIMES_SLOWER[count] else "no" for count in spent}
    return [Timing(count, first[count], medians[count], times[count], ok[count]) for count in spent]


def opened(project: Project) -> AppTest:
    """Return the page of a project, not drawn yet; its home is that of the variable TARE_HOME."""
    page = AppTest.from_file(str(APP), default_timeout=300)
    page.switch_page("pages/project.py")
    page.query_params["project"] = project.project_id
    return page


def draw_ms(page: AppTest) -> float:
    """Draw a page and return how long that took, in milliseconds; ends the measurement where the page fails."""
    started = time.perf_counter()
    page.run()
    spent = (time.perf_counter() - started) * 1000
    if page.exception:
        raise SystemExit(f"The page failed: {page.exception[0].message}")
    return spent


def _print(rows: list[Timing]) -> None:
    print("\n| runs | first draw, ms | median, ms | times | bar | ok |\n|---|---|---|---|---|---|")
    for row in rows:
        bar = f"< {MOST_TIMES_SLOWER[row.runs]:g}" if row.runs != FEW else ""
        print(f"| {row.runs:,} | {row.first_ms:,.0f} | {row.median_ms:,.0f} | {row.times:.2f} | {bar} | {row.ok} |")


if __name__ == "__main__":
    main()
