"""The command line does what the pages do: same service, same declarations, one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from measure.packed_files import PACKINGS
from optimizers import TECHNIQUES
from optimizers.declaration import Params, specs
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import RecipeStep
from runs.recipe_flags import laid_over

ROOT = Path(__file__).parent.parent
FIGURES = {
    "metric_name", "metric", "keras_metric", "tflite_bytes", "gzip_bytes", "nonzero_parameters", "parameters", "latency_ms",
}  # fmt: skip


@pytest.fixture(scope="session")
def cli_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home folder for all calls, so that the project and its baseline are made once."""
    return tmp_path_factory.mktemp("cli-home")


def cli(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TARE_HOME": str(home)}
    command = [sys.executable, "cli.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_inspect_shows_how_the_two_fit(cli_home: Path, easy_files: tuple[Path, Path]) -> None:
    ran = cli(cli_home, "inspect", "--model", easy_files[0], "--dataset", easy_files[1], "--json")
    assert ran.returncode == 0, ran.stderr
    shown = json.loads(ran.stdout)
    assert shown["model"]["parameters"] > 0
    assert shown["dataset"]["class_counts"]["test"] == [30, 30, 30]
    assert shown["match"]["fit"]["task"] == "classification"


def test_run_prints_one_object_and_copies_the_files(
    cli_home: Path, easy_files: tuple[Path, Path], tmp_path: Path
) -> None:
    model, dataset = easy_files
    ran = cli(
        cli_home, "run", "--model", model, "--dataset", dataset, "--technique", "pruning",
        "--set", "final_sparsity=0.7", "--epochs", 1, "--batch-size", 32, "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    outcome: dict[str, Any] = json.loads(ran.stdout)
    assert outcome["status"] == "finished"
    assert set(outcome["baseline"]) >= FIGURES
    assert set(outcome["result"]) >= FIGURES
    assert all(fact["met"] for fact in outcome["verified"])
    assert outcome["recipe"]["steps"][0]["params"]["final_sparsity"] == 0.7
    assert outcome["recipe"]["steps"][0]["fine_tuning"]["epochs"] == 1
    tflite = Path(outcome["artifacts"]["model.tflite"])
    assert tflite.parent == tmp_path / "out"
    assert tflite.stat().st_size == outcome["result"]["tflite_bytes"]
    for entry in PACKINGS:
        assert (tmp_path / "out" / entry.file_name).stat().st_size == outcome["result"][entry.field]
    again = cli(
        cli_home,
        "run",
        "--model",
        model,
        "--dataset",
        dataset,
        "--recipe",
        outcome["artifacts"]["recipe.yaml"],
        "--json",
    )
    assert again.returncode == 0, again.stderr
    repeated = json.loads(again.stdout)
    assert repeated["project_id"] == outcome["project_id"]
    assert repeated["result"]["metric"] == outcome["result"]["metric"]
    assert repeated["result"]["gzip_bytes"] == outcome["result"]["gzip_bytes"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--technique", "pruning", "--set", "final_sparsity=1.5"], "`final_sparsity`"),
        (["--technique", "pruning", "--set", "nonsense=1"], "`nonsense`"),
        (["--technique", "pruning", "--set", "final_sparsity"], "NAME=VALUE"),
        (["--technique", "pruning", "--epochs", "none"], "`epochs`"),
        (["--recipe", "missing.yaml"], "missing.yaml"),
        (["--recipe", "missing.yaml"], "Presets: fast_and_safe, small, smallest"),
        (["--technique", "pruning", "--final-sparsity", "0.5..0.9"], "needs a step"),
        (["--technique", "pruning", "--final-sparsity", "0.2,0.8"], "At final_sparsity 0.2: `initial_sparsity`"),
        (["--technique", "pruning", "--frequency", "1..100"], "100 points"),
        (["--technique", "post_training_quantization", "--epochs", "2"], "no step of this recipe trains"),
        (["--technique", "post_training_quantization", "pruning"], "must be the last step"),
        (["--technique", "pruning", "--loss", "mean_squared_error"], "mean_squared_error"),
    ],
)
def test_mistakes_are_sentences(
    cli_home: Path, easy_files: tuple[Path, Path], arguments: list[str], words: str
) -> None:
    ran = cli(cli_home, "run", "--model", easy_files[0], "--dataset", easy_files[1], *arguments, "--json")
    assert ran.returncode == 2
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_a_sweep_over_a_preset_prints_a_row_for_each_point(cli_home: Path, easy_files: tuple[Path, Path]) -> None:
    inputs = ("run", "--model", easy_files[0], "--dataset", easy_files[1], "--recipe", "fast_and_safe")
    ran = cli(cli_home, *inputs, "--mode", "dynamic_range,float16", "--name", "both")
    assert ran.returncode == 0, ran.stderr
    rows = [line.split("  ")[0] for line in ran.stdout.splitlines()]
    assert rows == ["point", "baseline", "mode dynamic_range", "mode float16"]
    assert ran.stdout.count("finished") == 3
    assert "tagged both" in ran.stderr


def test_settings_by_name_go_to_the_steps_that_have_them() -> None:
    steps = [RecipeStep(technique=name) for name in ("pruning", "clustering", "post_training_quantization")]
    values = {"epochs": "3", "clustering.epochs": "5", "mode": "int8", "seed": "1", "leave_as_is": "a,b"}
    pruned, clustered, quantized = laid_over(steps, values)
    assert (pruned.fine_tuning, clustered.fine_tuning) == ({"epochs": 3, "seed": 1}, {"epochs": 5, "seed": 1})
    assert quantized.params == {"mode": "int8", "seed": 1, "leave_as_is": ["a", "b"]}
    assert quantized.fine_tuning is None
    assert pruned.params == {"leave_as_is": ["a", "b"]}


def test_a_model_alone_is_inspected_with_random_inputs(cli_home: Path, easy_files: tuple[Path, Path]) -> None:
    ran = cli(cli_home, "inspect", "--model", easy_files[0])
    assert ran.returncode == 0, ran.stderr
    assert "the inputs are random" in ran.stderr
    assert "measured by agreement with the uploaded model" in ran.stdout
    refused = cli(cli_home, "inspect", "--model", easy_files[0], "--task", "classification")
    assert refused.returncode == 2
    assert "Choose agreement or add a dataset" in refused.stderr


def test_a_run_on_random_inputs_says_so(cli_home: Path, easy_files: tuple[Path, Path]) -> None:
    ran = cli(cli_home, "run", "--model", easy_files[0], "--technique", "post_training_quantization", "--json")
    assert ran.returncode == 0, ran.stderr
    outcome = json.loads(ran.stdout)
    assert (outcome["dataset"], outcome["result"]["metric_name"]) == ("random inputs", "agreement")


def test_labels_can_be_left_out(cli_home: Path, easy_files: tuple[Path, Path]) -> None:
    model, dataset = easy_files
    ran = cli(cli_home, "inspect", "--model", model, "--dataset", dataset, "--no-labels", "--json")
    assert ran.returncode == 0, ran.stderr
    shown = json.loads(ran.stdout)
    assert (shown["dataset"]["label_kind"], shown["match"]["fit"]["task"]) == ("none", "agreement")
    chosen = cli(cli_home, "inspect", "--model", model, "--dataset", dataset, "--task", "agreement", "--json")
    assert json.loads(chosen.stdout)["match"]["fit"]["metric_name"] == "agreement"


def test_missing_file_is_a_sentence(cli_home: Path, easy_files: tuple[Path, Path]) -> None:
    ran = cli(cli_home, "inspect", "--model", "nowhere.h5", "--dataset", easy_files[1])
    assert ran.returncode == 2
    assert "nowhere.h5" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_every_declared_parameter_is_a_flag() -> None:
    shown = subprocess.run(
        [sys.executable, "cli.py", "run", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    owners: list[type[Params]] = [FineTuning, *(entry.Params for entry in TECHNIQUES)]
    declared = [spec for owner in owners for spec in specs(owner)]
    missing = [spec.name for spec in declared if f"--{spec.name.replace('_', '-')} " not in shown]
    assert missing == []


def test_recipe_needs_a_step(cli_home: Path, easy_files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("steps: []")
    files = ("--model", easy_files[0], "--dataset", easy_files[1])
    ran = cli(cli_home, "run", *files, "--recipe", tmp_path / "empty.yaml")
    assert ran.returncode == 2
    assert "no steps" in ran.stderr
