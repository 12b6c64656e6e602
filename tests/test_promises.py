"""A property that an earlier step won and the file has lost is an error of the run, not a line that nobody reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import exit_status
from measure.facts import Fact
from optimizers.promises import Claim, broken
from optimizers.recipe import Recipe, RecipeStep
from runs.store import Store
from tests.runs_here import project_here, run_here
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
    settings, project = project_here(tmp_path / "home", empty_home, easy_files)
    steps = [RecipeStep(technique=name, fine_tuning=SHORT) for name in ("pruning", "clustering")]
    states = {}
    for keeps in (False, True):
        with monkeypatch.context() as patched:
            if not keeps:
                patched.setattr("optimizers.apply.won_by", lambda *_: {})
            states[keeps] = run_here(settings, project, Recipe.checked(steps), patched)
    assert states[True].state == states[False].state == "finished", states
    assert states[True].error == ""
    assert states[False].error.startswith(LOST)
    assert states[False].verified_met < states[False].verified_count
    assert "model.tflite" in {artifact.name for artifact in Store(settings).artifacts(states[False].run_id)}


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
