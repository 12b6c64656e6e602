"""What the dashboard feels of the runs behind it: the time of a page while one trains, the server's memory after many."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil
from mlflow import MlflowClient

from bench.live_app import running_app, running_browser
from bench.ratio import Ratio
from bench.trials import finished
from bench.ui import draw_ms, opened
from intake.dataset_info import DatasetOptions
from intake.fit import FitOverrides
from optimizers.recipe import Recipe, RecipeStep
from runs.records import Project, RunRecord
from runs.service import EXAMPLE_DATASET, EXAMPLE_MODEL, Service
from runs.settings import Settings
from runs.store import Store

SERVER_MB = 400
FIRST_RUNS = 5
"""After so many the server has loaded what it needs."""
RUN_SECONDS = 600
"""Longest time that the queue may stand still."""


def page_while_training(home: Path, draws: int) -> Ratio:
    """Draw the page of a project with a few runs, by turns idle and while a run of it trains in the worker.

    Args:
        home: an empty home folder, which becomes that of this process.
        draws: of each kind, in two turns.
    """
    settings = Settings(home=home, tracking_uri="")
    service = Service(settings)  # not started: that is for the pages, which have the folder to themselves
    idle: list[float] = []
    busy: list[float] = []
    try:
        project = _example(service)
        for mode in ("int8", "float16"):
            quantize = RecipeStep(technique="post_training_quantization", params={"mode": mode})
            finished(service.wait(service.submit(project.project_id, Recipe.checked([quantize])).run_id))
        os.environ["TARE_HOME"] = str(home)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        draw = partial(draw_ms, opened(project))
        for _ in range(3):
            draw()
        for _ in range(2):
            idle += _draws(draw, draws // 2)
            run = _endless(service, project)
            busy += _draws(draw, draws // 2)
            service.cancel(run.run_id)
            service.wait(run.run_id)
    finally:
        service.stop()
    return Ratio.of(
        "Page of a project while a run trains, p95", _p95(busy), _p95(idle), "ms", 1.3,
        how=f"{len(idle)} draws idle and as many while fine-tuning, in turns",
    )  # fmt: skip


def _example(service: Service) -> Project:
    prepared = service.prepare(EXAMPLE_MODEL, EXAMPLE_DATASET, DatasetOptions(), FitOverrides())
    service.model_plan(prepared.model_id).wait()
    project = service.project_of("Watched", prepared)
    finished(service.wait(service.baseline(project.project_id).run_id))
    return project


def _endless(service: Service, project: Project) -> RunRecord:
    """A run that trains for longer than it is watched, already within its training."""
    step = RecipeStep(technique="pruning", fine_tuning={"epochs": 1000, "batch_size": 8})
    run = service.submit(project.project_id, Recipe.checked([step]), "At work")
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        now = service.run(run.run_id)
        if not now.is_active:
            break
        if now.progress is not None and now.progress.phase.startswith("Fine-tuning"):
            return run
        time.sleep(0.2)
    raise SystemExit(f"The run that was to train is {now.state}: {now.error}")


def _draws(draw: Callable[[], float], count: int) -> list[float]:
    spent = []
    for _ in range(count):
        spent.append(draw())
        time.sleep(0.05)  # a worker that has waited for its turn gets it between the draws, as between those of people
    return spent


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def server_memory(home: Path, count: int) -> list[Ratio]:
    """Have the real server carry out many runs while a browser watches, and look at its memory after a few and after all.

    Args:
        home: an empty home folder.
        count: runs.
    """
    settings = Settings(home=home, tracking_uri="")
    service = Service(settings)
    service.start()
    try:
        project = _example(service)
    finally:
        service.stop()
    store = Store(settings)
    for number in range(count):
        _leave_queued(store, settings.store_uri, project, number)
    with running_app(home) as app, running_browser() as browser:
        page = browser.new_page()
        page.goto(f"{app.url}/project?project={project.project_id}")
        server = psutil.Process(app.pid)
        after = {}
        for many in (FIRST_RUNS, count):
            _wait_for(store, project, many)
            page.wait_for_timeout(3000)
            after[many] = server.memory_info().rss / 2**20
        _require_no_tensorflow(server)
    return [
        Ratio.of(
            f"Server memory after {count} runs", after[count], SERVER_MB, "MB", 1.0,
            how=f"resident, the worker's not counted; a browser watched; the other figure is the bar of {SERVER_MB} MB",
        ),
        Ratio.of(
            f"Server memory after {count} runs against after {FIRST_RUNS}", after[count], after[FIRST_RUNS], "MB", 1.1,
            how="the same server",
        ),
    ]  # fmt: skip


def _leave_queued(store: Store, uri: str, project: Project, number: int) -> None:
    """Store a run as a server leaves it that ended before its turn came."""
    params = {"mode": ("int8", "float16", "dynamic_range")[number % 3]}
    recipe = Recipe.checked([RecipeStep(technique="post_training_quantization", params=params)])
    record = RunRecord(
        run_id="", project_id=project.project_id, name=f"{number + 1}", recipe=recipe, is_baseline=False, state="queued",
        created_at=datetime.now(UTC),
    )  # fmt: skip
    run = store.add_run(record)
    MlflowClient(tracking_uri=uri).set_tag(run.run_id, "tare.owner", "")


def _wait_for(store: Store, project: Project, count: int) -> None:
    deadline, seen = time.monotonic() + RUN_SECONDS, -1
    while time.monotonic() < deadline:
        ended = sum(not run.is_active for run in store.runs([project.project_id])) - 1  # one is the baseline
        if ended >= count:
            return
        if ended > seen:
            deadline, seen = time.monotonic() + RUN_SECONDS, ended
        time.sleep(0.5)
    raise SystemExit(f"Only {seen} of {count} runs ended.")


def _require_no_tensorflow(server: psutil.Process) -> None:
    loaded = [one.path for one in server.memory_maps() if "tensorflow" in one.path]
    if loaded:
        raise SystemExit(f"The server has loaded TensorFlow: {loaded[0]}")
