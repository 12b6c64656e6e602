"""Runs in real worker processes: queue, cancel, crash, restart, and what the server must not load."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from intake.dataset_info import DatasetOptions
from intake.errors import UserError
from intake.fit import FitOverrides
from optimizers import TECHNIQUES
from optimizers.recipe import Recipe, RecipeStep
from optimizers.sweep import expand
from runs.paths import prepared_folder, samples_folder
from runs.plan import float_file
from runs.records import Project, RunRecord, Upload
from runs.service import Service
from runs.settings import Settings
from runs.store import Store
from runs.worker import ensure_parsed
from tests.conftest import until

LONG = Recipe.single("pruning", {}, {"epochs": 1000, "batch_size": 8})
"""A run that nobody waits for."""


@pytest.fixture(scope="session")
def project(service: Service, easy_files: tuple[Path, Path]) -> Project:
    """A project whose baseline is measured."""
    prepared = service.prepare(*easy_files, DatasetOptions(), FitOverrides())
    made = service.project_of("Easy", prepared)
    service.wait(service.baseline(made.project_id).run_id)
    return made


def test_baseline_measures_the_uploaded_model(service: Service, project: Project) -> None:
    run = service.baseline(project.project_id)
    assert run.state == "finished", run.error
    assert run.result is not None
    assert run.result.metric > 0.9
    assert run.result.metric == pytest.approx(run.result.keras_metric, abs=0.02)
    assert run.result.metric_low <= run.result.metric <= run.result.metric_high
    assert run.result.test_samples == 90


@pytest.mark.parametrize("entry", TECHNIQUES, ids=lambda entry: entry.name)
def test_every_technique_runs_from_queue_to_point(service: Service, project: Project, entry: object) -> None:
    run = service.wait(service.submit(project.project_id, Recipe.single(entry.name)).run_id)  # type: ignore[attr-defined]
    assert run.state == "finished", run.error
    assert run.result is not None
    assert run.verified_met == run.verified_count > 0
    files = {artifact.name: artifact for artifact in service.artifacts(run.run_id)}
    assert {"model.tflite", "easy.h5", "recipe.yaml", "report.json", "log.txt"} <= set(files)
    assert files["model.tflite"].size_bytes == run.result.tflite_bytes
    assert files["easy.h5"].size_bytes == run.result.uploaded_format_bytes
    assert Recipe.from_yaml(files["recipe.yaml"].path.read_text()) == run.recipe
    report = service.report(run.run_id)
    assert report is not None
    assert len([fact for fact in report.facts if fact.met is not None]) == run.verified_count
    assert "tensorflow" in report.versions


def test_plain_mlflow_reads_the_same_run(service: Service, project: Project) -> None:
    run = service.baseline(project.project_id)
    seen = MlflowClient(tracking_uri=service.settings.store_uri).get_run(run.run_id)
    assert seen.info.status == "FINISHED"
    assert run.result is not None
    assert seen.data.metrics["tflite_bytes"] == run.result.tflite_bytes
    assert seen.data.metrics["metric"] == run.result.metric


def test_live_curves_and_log_are_kept(service: Service, project: Project) -> None:
    run = service.wait(service.submit(project.project_id, Recipe.single("pruning", {}, {"epochs": 3})).run_id)
    curves = service.curves(run.run_id)
    assert {"train/loss", "train/accuracy", "train/sparsity", "validation/accuracy"} <= set(curves)
    assert curves["train/sparsity"][-1][1] == pytest.approx(0.8, abs=0.01)
    assert len(curves["validation/accuracy"]) == 3
    assert "Epoch 3" in service.log(run.run_id)


def test_curves_of_a_repeated_run_are_those_of_the_repeat(service: Service, project: Project) -> None:
    store = Store(service.settings)
    run_id = leave_behind(service.settings, project, "queued")
    for step, value in ((1, 9.0), (2, 8.0), (3, 7.0), (1, 5.0), (2, 4.0)):
        store.log_curves(run_id, step, {"train/loss": value})
        time.sleep(0.005)  # points are told apart by milliseconds
    service.cancel(run_id)
    assert store.curves(run_id) == {"train/loss": [(1, 5.0), (2, 4.0)]}


def test_prune_then_quantize_keeps_both_promises(service: Service, project: Project) -> None:
    steps = [*Recipe.single("pruning").steps, *Recipe.single("post_training_quantization", {"mode": "int8"}).steps]
    run = service.wait(service.submit(project.project_id, Recipe.checked(steps)).run_id)
    report = service.report(run.run_id)
    assert report is not None
    assert {fact.claim for fact in report.facts} == {"sparsity", "dtype"}
    assert all(fact.met is not False for fact in report.facts)


def test_a_sweep_makes_what_belongs_to_the_project_only_once(service: Service, project: Project) -> None:
    """Baseline, parsed dataset and float32 file are there already; no point makes them again."""
    assert project.dataset is not None
    parsed = samples_folder(service.settings, project.model.upload_id, project.dataset_id, project.options)
    shared = [*parsed.rglob("*"), *prepared_folder(service.settings, project.model.upload_id).rglob("*")]
    assert float_file(service.settings, project.model.upload_id) in shared
    made = {path: path.stat().st_mtime_ns for path in shared}
    points = expand([RecipeStep(technique="post_training_quantization", params={"mode": "float16, dynamic_range"})])
    queued = service.submit_sweep(project.project_id, points)
    runs = [service.wait(run.run_id) for run in queued]
    assert [run.state for run in runs] == ["finished"] * 2, [run.error for run in runs]
    assert {run.tags for run in runs} == {queued[0].tags}
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert sum(run.is_baseline for run in service.runs(project.project_id)) == 1
    assert service.run_again(runs[0].run_id).tags == queued[0].tags


def test_a_sweep_with_an_impossible_point_queues_nothing(service: Service, project: Project) -> None:
    before = len(service.runs(project.project_id))
    steps = [RecipeStep(technique="pruning", fine_tuning={"loss": "auto, mean_squared_error", "epochs": "1,2"})]
    with pytest.raises(UserError) as refused:
        service.submit_sweep(project.project_id, expand(steps))
    (problem,) = refused.value.problems
    assert problem.startswith("At epochs 1, loss mean_squared_error; epochs 2, loss mean_squared_error:")
    many = expand([RecipeStep(technique="pruning", params={"frequency": "1..65"})])
    with pytest.raises(UserError, match="65 points"):
        service.submit_sweep(project.project_id, many)
    assert len(service.runs(project.project_id)) == before


def test_runs_of_an_older_store_have_no_tags_and_the_same_technique_can_come_twice(
    settings: Settings, project: Project
) -> None:
    store = Store(settings)
    made = store.add_project(project)
    recipe = Recipe.checked([*Recipe.single("pruning", {"final_sparsity": 0.6}).steps, *Recipe.single("pruning").steps])
    values = {"run_id": "", "project_id": made.project_id, "name": "old", "is_baseline": False, "state": "queued"}
    run = store.add_run(RunRecord(**values, recipe=recipe, created_at=made.created_at, tags=("mine",)))
    assert (run.tags, run.recipe) == (("mine",), recipe)
    MlflowClient(tracking_uri=settings.store_uri).delete_tag(run.run_id, "tare.tags")
    assert store.run(run.run_id).tags == ()


def test_cancel_frees_the_processor_and_the_next_run_works(service: Service, project: Project) -> None:
    run = service.submit(project.project_id, LONG)
    until(lambda: "step" in (progress(service, run) or ""))
    before = workers()
    service.cancel(run.run_id)
    until(lambda: service.run(run.run_id).state == "cancelled", 10)
    until(lambda: bool(before - workers()), 10)  # the process that trained is gone
    after = service.wait(service.submit(project.project_id, Recipe.single("post_training_quantization")).run_id)
    assert after.state == "finished", after.error


def test_cancelled_while_queued_never_starts(service: Service, project: Project) -> None:
    first, second = service.submit(project.project_id, LONG), service.submit(project.project_id, LONG)
    assert service.queue_position(second.run_id) in (0, 1)
    service.cancel(second.run_id)
    assert service.run(second.run_id).state == "cancelled"
    assert service.run(second.run_id).started_at is None
    service.cancel(first.run_id)
    service.wait(first.run_id)


def test_failed_run_says_why_and_the_next_one_works(service: Service, project: Project) -> None:
    model = service.settings.home / "prepared" / project.model.upload_id / "model.h5"
    kept = model.read_bytes()
    model.write_bytes(b"no longer a model")
    try:
        run = service.wait(service.submit(project.project_id, Recipe.single("clustering")).run_id)
    finally:
        model.write_bytes(kept)
    assert run.state == "failed"
    assert run.run_id in run.error
    assert len(run.error.splitlines()) == 1
    assert "Traceback" in service.log(run.run_id)
    again = service.wait(service.run_again(run.run_id).run_id)
    assert again.state == "finished", again.error


def test_project_deleted_while_it_runs_leaves_the_slot_working(
    service: Service, project: Project, easy_files: tuple[Path, Path]
) -> None:
    prepared = service.prepare(*easy_files, DatasetOptions(), FitOverrides())
    ids = (prepared.model_id, prepared.dataset_id)
    made = service.create_project("Doomed", *ids, prepared.options, prepared.report.fit)
    run = service.submit(made.project_id, LONG)
    until(lambda: "step" in (progress(service, run) or ""))
    service.delete_project(made.project_id)
    after = service.wait(service.submit(project.project_id, Recipe.single("post_training_quantization")).run_id)
    assert after.state == "finished", after.error


def test_native_crash_is_survived_by_one_retry(service: Service, project: Project) -> None:
    run = service.submit(project.project_id, LONG)
    until(lambda: "step" in (progress(service, run) or ""))
    os.kill(busiest_worker(), signal.SIGSEGV)
    until(lambda: bool(service.run(run.run_id).notes))
    until(lambda: "step" in (progress(service, run) or ""))
    assert "oneDNN off" in service.run(run.run_id).notes[0]
    service.cancel(run.run_id)
    service.wait(run.run_id)
    after = service.wait(service.submit(project.project_id, Recipe.single("post_training_quantization")).run_id)
    assert after.state == "finished"
    report = service.report(after.run_id)
    assert report is not None
    assert report.one_dnn


def test_run_over_its_memory_is_stopped_and_the_next_goes_on(
    service: Service, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for slot in service._executor._slots:
        monkeypatch.setattr(slot, "_settings", service.settings.model_copy(update={"run_memory_mb": 64}))
    stopped = service.wait(service.submit(project.project_id, LONG).run_id)
    assert stopped.state == "failed"
    assert "64 MB are the most" in stopped.error
    monkeypatch.undo()
    after = service.wait(service.submit(project.project_id, Recipe.single("post_training_quantization")).run_id)
    assert after.state == "finished"


def test_restart_marks_lost_runs_and_requeues_waiting_ones(service: Service, project: Project) -> None:
    """Runs that a process left behind which is no longer alive."""
    lost, waiting = (leave_behind(service.settings, project, state) for state in ("running", "queued"))
    service.home_lock.release()  # as the system does where a process ends
    successor = Service(service.settings)
    successor.start()
    try:
        assert successor.run(lost).state == "interrupted"
        assert "run it again" in successor.run(lost).error
        until(lambda: successor.run(waiting).state == "finished")
    finally:
        successor.stop()
        service.home_lock.take()


def leave_behind(settings: Settings, project: Project, state: str) -> str:
    code = (
        "import sys; from runs.store import Store; from runs.settings import Settings; from runs.records import RunRecord\n"
        "from optimizers.recipe import Recipe; from datetime import UTC, datetime; from pathlib import Path\n"
        "store = Store(Settings(home=Path(sys.argv[1])))\n"
        "run = store.add_run(RunRecord(run_id='', project_id=sys.argv[2], name='left', state='queued', is_baseline=False,\n"
        "    recipe=Recipe.single('post_training_quantization'), created_at=datetime.now(UTC)))\n"
        "sys.argv[3] == 'running' and store.set_state(run.run_id, 'running')\n"
        "print(run.run_id)"
    )
    arguments = [sys.executable, "-c", code, str(settings.home), project.project_id, state]
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split()[-1]


def test_run_of_a_dead_process_can_be_cancelled_and_does_not_count_as_baseline(
    service: Service, project: Project
) -> None:
    lost = leave_behind(service.settings, project, "running")
    service.cancel(lost)
    assert service.run(lost).state == "cancelled"


def test_loss_that_cannot_train_the_task_is_refused(service: Service, project: Project) -> None:
    with pytest.raises(UserError, match="mean_squared_error"):
        service.submit(project.project_id, Recipe.single("pruning", {}, {"loss": "mean_squared_error"}))


def test_stopped_service_leaves_its_runs_interrupted(
    project: Project, easy_files: tuple[Path, Path], tmp_path: Path
) -> None:
    short_lived = Service(Settings(home=tmp_path / "home"))
    prepared = short_lived.prepare(*easy_files, DatasetOptions(), FitOverrides())
    made = short_lived.project_of("Short", prepared)
    run = short_lived.submit(made.project_id, LONG)
    short_lived.stop()
    assert short_lived.run(run.run_id).state == "interrupted"


def test_worker_ends_with_its_server(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from runs.child import Child; from runs.settings import Settings\n"
        f"child = Child(Settings(home=Path({str(tmp_path)!r})), Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    child = int(server.stdout.readline())
    server.kill()
    server.wait()
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, 20)


def test_worker_that_hangs_in_native_code_ends_with_its_server(tmp_path: Path) -> None:
    """`sleep` called through a library that keeps Python's lock: no thread of the worker can look after its server."""
    hanging = (
        "import ctypes, os, time; from runs.worker import _end_with_parent\n"
        "_end_with_parent(); print(os.getpid(), flush=True); ctypes.PyDLL(None).sleep(60)"
    )
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {hanging!r}]); time.sleep(60)"
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    child = int(server.stdout.readline())
    server.kill()
    server.wait()
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, 10)


def test_server_process_loads_no_tensorflow(easy_files: tuple[Path, Path], tmp_path: Path) -> None:
    """A whole run through the service; then the parent is looked at while its child has TensorFlow loaded."""
    code = (
        "import sys, psutil; from pathlib import Path; from runs.service import Service; from runs.settings import Settings\n"
        "from intake.dataset_info import DatasetOptions; from intake.fit import FitOverrides\n"
        "service = Service(Settings(home=Path(sys.argv[1]))); service.start()\n"
        "prepared = service.prepare(Path(sys.argv[2]), Path(sys.argv[3]), DatasetOptions(), FitOverrides())\n"
        "project = service.project_of('p', prepared)\n"
        "print(service.wait(service.baseline(project.project_id).run_id).state)\n"
        "print(sorted(name for name in sys.modules if name in ('tensorflow', 'keras', 'tf_keras', 'streamlit')))\n"
        "print(psutil.Process().memory_info().rss // 2**20)\n"
        "service.stop()"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "home"), *map(str, easy_files)]
    ran = subprocess.run(arguments, check=True, capture_output=True, text=True)
    state, modules, memory_mb = ran.stdout.split("\n")[:3]
    assert state == "finished", ran.stderr
    assert modules == "[]"
    assert int(memory_mb) < 400


def test_uploads_are_stored_once_and_bounded(settings: Settings) -> None:
    small = Service(settings.model_copy(update={"max_upload_mb": 1}))
    first = small.add_upload("../../etc/a b.npz", io.BytesIO(b"123"))
    assert first == small.add_upload("../../etc/a b.npz", io.BytesIO(b"123"))
    assert first.file_name == "a b.npz"
    assert small.upload(first.upload_id) == first
    for content, words in ((b"", "empty"), (b"x" * (1 << 20) + b"x", "larger than 1 MB")):
        with pytest.raises(UserError, match=words):
            small.add_upload("big.npz", io.BytesIO(content))
    assert len(list((settings.home / "uploads").iterdir())) == 1


def test_unknown_ids_are_sentences(settings: Settings) -> None:
    fresh = Service(settings)
    for ask in (lambda: fresh.run("nope"), lambda: fresh.project("nope"), lambda: fresh.upload("nope")):
        with pytest.raises(UserError):
            ask()


def test_bad_upload_leaves_the_service_working(service: Service, project: Project) -> None:
    upload = service.add_upload("broken.keras", io.BytesIO(b"PK\x03\x04 not really a zip"))
    with pytest.raises(UserError):
        service.inspect_model(upload.upload_id).wait()
    assert service.model_info(project).parameters > 0
    assert service.project(project.project_id) == project


def test_deleted_project_is_gone_and_its_name_is_free(service: Service, easy_files: tuple[Path, Path]) -> None:
    prepared = service.prepare(*easy_files, DatasetOptions(), FitOverrides())
    made = service.create_project(
        "Short-lived", prepared.model_id, prepared.dataset_id, prepared.options, prepared.report.fit
    )
    service.wait(service.baseline(made.project_id).run_id)
    service.delete_project(made.project_id)
    with pytest.raises(UserError, match="deleted"):
        service.project(made.project_id)
    again = service.create_project(
        "Short-lived", prepared.model_id, prepared.dataset_id, prepared.options, prepared.report.fit
    )
    assert again.name == "Short-lived"
    service.delete_project(again.project_id)


def progress(service: Service, run: RunRecord) -> str | None:
    """The phase of a run at work."""
    now = service.run(run.run_id).progress
    return now.phase if now else None


def workers() -> set[int]:
    """Process ids of the workers of this process."""
    return {child.pid for child in psutil.Process().children() if "runs.worker" in child.cmdline()}


def busiest_worker() -> int:
    """The worker that used the most processor time lately."""
    children = [child for child in psutil.Process().children() if "runs.worker" in child.cmdline()]
    for child in children:
        child.cpu_percent()
    time.sleep(1)
    return max(children, key=lambda child: child.cpu_percent()).pid


def test_an_upload_that_was_removed_is_a_sentence(settings: Settings) -> None:
    gone = Upload(upload_id="0" * 16, file_name="digits.npz", size_bytes=1, sha256="0")
    with pytest.raises(UserError, match=r"digits\.npz is no longer in the uploads folder.*Upload the same file again"):
        ensure_parsed(settings, None, gone, DatasetOptions())
