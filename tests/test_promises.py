"""A property that an earlier step won and the file has lost is an error of the run, not a line that nobody reads."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree

import pytest

from cli import exit_status
from intake.dataset_info import DatasetOptions
from intake.fit import FitOverrides
from measure.facts import Fact
from optimizers.promises import Claim, broken
from optimizers.recipe import Recipe, RecipeStep
from runs.paths import log_path
from runs.records import RunRecord
from runs.service import Service
from runs.settings import Settings
from runs.store import Store
from runs.worker import execute
from tests.test_charts import ACCURACY, a_recipe, result, run_of
from ui.budget import Budget, verdict, within
from ui.frames import best_run, runs_frame, with_changes
from ui.quantities import SIZES

SHORT = {"epochs": 1, "batch_size": 32}
LOST = "The exported file does not keep what Pruning promised, after Clustering: sparsity of hidden"


def facts(*met: bool | None) -> list[Fact]:
    return [Fact(claim="sparsity", layer=f"l{n}", asked="80%", measured="9%", met=one) for n, one in enumerate(met)]


def test_a_sentence_for_each_step_says_what_is_lost_and_after_what() -> None:
    pruning, quantization = (
        Claim(RecipeStep(technique=name), []) for name in ("pruning", "post_training_quantization")
    )
    assert broken([(pruning, facts(True, None)), (quantization, facts(True))]) == []
    (said,) = broken([(pruning, facts(False, True, *[False] * 5)), (quantization, facts(True))])
    assert "Pruning promised, after Post-training quantization: sparsity of l0 (asked 80%, found 9%), l2 (" in said
    assert said.count("asked") == 4
    assert ", and 2 more." in said
    (said,) = broken([(pruning, facts(True)), (quantization, facts(False))])
    assert "what Post-training quantization promised: sparsity of l0" in said


@pytest.mark.slow
def test_a_chain_that_keeps_nothing_ends_with_an_error_and_its_files(
    empty_home: Path, easy_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeping of zeros is taken out of the worker, so that clustering loses them as TFMOT's would."""
    copytree(empty_home, tmp_path / "home")
    real = Service(Settings(home=tmp_path / "home"))
    real.start()
    try:
        made = real.project_of("Easy", real.prepare(*easy_files, DatasetOptions(), FitOverrides()))
    finally:
        real.stop()
    store = Store(real.settings)
    steps = [RecipeStep(technique=name, fine_tuning=SHORT) for name in ("pruning", "clustering")]
    states = {}
    for keeps in (False, True):
        queued = store.add_run(
            RunRecord(
                run_id="", project_id=made.project_id, name="chain", recipe=Recipe.checked(steps), is_baseline=False,
                state="queued", created_at=datetime.now(UTC),
            )
        )  # fmt: skip
        log_path(real.settings, queued.run_id).write_text("")
        with monkeypatch.context() as patched:
            patched.setattr("runs.worker._forget_graphs", lambda: None)  # models of other tests are in this process
            if not keeps:
                patched.setattr("optimizers.apply.won_by", lambda *_: {})
            execute(queued.run_id, real.settings)
        states[keeps] = store.run(queued.run_id)
    assert states[True].state == states[False].state == "finished", states
    assert states[True].error == ""
    assert states[False].error.startswith(LOST)
    assert states[False].verified_met < states[False].verified_count
    assert "model.tflite" in {artifact.name for artifact in store.artifacts(states[False].run_id)}


def test_a_run_that_breaks_its_promises_is_never_the_best_and_the_budget_says_it() -> None:
    runs = [
        run_of("Baseline", None, result(0.98, 100_000)),
        run_of("kept", a_recipe(), result(0.98, 50_000), verified_met=2, verified_count=2),
        run_of("lost", a_recipe(), result(0.98, 20_000), verified_met=1, verified_count=2, error="It lost."),
    ]
    best = best_run(runs, ACCURACY)
    assert best is not None
    assert best.name == "kept"
    frame, budget = with_changes(runs_frame(runs), SIZES[0], runs[0].result), Budget(SIZES[0], 60.0, 1.0)
    said = verdict(frame, within(frame, budget, ACCURACY, 0.98), budget, ACCURACY)
    assert "**lost**" in said
    assert said.endswith("Its file does not keep all that its steps promised.")
    said = verdict(frame[:2], within(frame[:2], budget, ACCURACY, 0.98), budget, ACCURACY)
    assert "promised" not in said


@pytest.mark.parametrize(
    ("status", "error", "expected"), [("finished", "", 0), ("finished", "lost", 1), ("failed", "x", 1)]
)
def test_a_broken_promise_is_an_exit_status(status: str, error: str, expected: int) -> None:
    assert exit_status([{"status": "finished", "error": ""}, {"status": status, "error": error}]) == expected
