"""The script of a run repeats it: same data, same size, same metric, in a process that knows nothing of Tare."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from intake.dataset_info import DatasetOptions
from intake.datasets import load_parsed, parse_dataset
from intake.fit import FitOverrides
from optimizers import TECHNIQUES
from optimizers.recipe import Recipe, RecipeStep
from runs.handover.cells import code, without_uncalled, words
from runs.handover.data_cells import data_cells
from runs.handover.source import Inputs
from runs.records import Project, RunRecord
from runs.service import EXAMPLE_DATASET, EXAMPLE_MODEL, Service

ROOT = Path(__file__).parent.parent
SHORT = {"epochs": 2, "batch_size": 32}


def project_of(service: Service, model: Path, dataset: Path | None) -> Project:
    return service.project_of("Repeated", service.prepare(model, dataset, DatasetOptions(), FitOverrides()))


def finished(service: Service, project: Project, *steps: RecipeStep, name: str = "") -> RunRecord:
    run = service.wait(service.submit(project.project_id, Recipe.checked(list(steps)), name).run_id)
    assert run.state == "finished", run.error
    return run


def repeated(service: Service, run: RunRecord, folder: Path, **environment: str) -> tuple[dict[str, Any], str]:
    """Export the script, run it somewhere else, and return the figures that it wrote and what it printed."""
    service.handovers.export(run.run_id, "script", folder)
    known = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "TARE_HOME")}
    ran = subprocess.run(
        [sys.executable, "repeat.py"], cwd=folder, env={**known, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    figures: dict[str, Any] = json.loads((folder / "repeated.json").read_text())
    return figures, ran.stdout


def assert_same(run: RunRecord, figures: dict[str, Any], tolerance: float = 0.01) -> None:
    """The same samples, the metric within its interval, and the sizes, names of tensors apart, within a hundredth."""
    assert run.result is not None
    assert figures["same_samples"] is True
    assert run.result.metric_low <= figures[run.result.metric_name] <= run.result.metric_high
    bare = figures["without_names"]
    assert bare["tflite_bytes"] == pytest.approx(run.result.tflite_bytes, rel=tolerance)
    assert bare["gzip_bytes"] == pytest.approx(run.result.gzip_bytes, rel=tolerance)


@pytest.mark.slow
def test_the_example_pruned_and_trained_quantized_is_repeated(service: Service, tmp_path: Path) -> None:
    project = project_of(service, EXAMPLE_MODEL, EXAMPLE_DATASET)
    pruning = RecipeStep(technique="pruning", params={"final_sparsity": 0.7}, fine_tuning={"epochs": 3})
    quantization = RecipeStep(technique="quantization_aware_training", fine_tuning={"epochs": 2})
    run = finished(service, project, pruning, quantization)
    figures, printed = repeated(service, run, tmp_path)
    assert_same(run, figures)
    assert "within the 95 % interval" in printed
    script = (tmp_path / "repeat.py").read_text()
    assert "Keras 3" in script.split("# %%")[1], "it must say that it starts from the copy that Tare rebuilt"
    assert not {"intake", "measure", "optimizers", "runs"} & _imported(script)


def _imported(script: str) -> set[str]:
    lines = [line.strip() for line in script.splitlines()]
    return {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps",
    [
        [
            RecipeStep(technique="pruning", params={"schedule": "ConstantSparsity"}, fine_tuning=SHORT),
            RecipeStep(technique="post_training_quantization", params={"mode": "int8"}),
        ],
        [
            RecipeStep(
                technique="clustering",
                fine_tuning={**SHORT, "learning_rate_schedule": "cosine", "class_weight": "balanced"},
            )
        ],
    ],
    ids=["pruned, int8", "clustered"],
)
def test_a_model_of_keras_2_is_repeated(
    service: Service, easy_files: tuple[Path, Path], tmp_path: Path, steps: list[RecipeStep]
) -> None:
    run = finished(service, project_of(service, *easy_files), *steps)
    figures, _ = repeated(service, run, tmp_path)
    assert_same(run, figures, tolerance=0.03)  # small files: names and their places are a larger share


@pytest.mark.slow
@pytest.mark.parametrize(
    "params",
    [
        {"mode": "dynamic_range", "granularity": "per_tensor"},
        {"mode": "int8", "weight_bits": 4, "algorithm": "OCTAV"},
        {"mode": "int8_weights_int16_activations"},
    ],
    ids=["per tensor", "4 bits", "16x8"],
)
def test_what_the_quantizer_writes_is_repeated(service: Service, tmp_path: Path, params: dict[str, Any]) -> None:
    step = RecipeStep(technique="post_training_quantization", params=params)
    run = finished(service, project_of(service, EXAMPLE_MODEL, EXAMPLE_DATASET), step)
    figures, _ = repeated(service, run, tmp_path)
    assert_same(run, figures)


@pytest.mark.slow
def test_what_only_tare_can_do_is_done_by_its_command_line(
    service: Service, easy_files: tuple[Path, Path], tmp_path: Path
) -> None:
    step = RecipeStep(technique="quantization_aware_training", params={"weight_bits": 4}, fine_tuning=SHORT)
    run = finished(service, project_of(service, *easy_files), step)
    figures, _ = repeated(service, run, tmp_path, TARE_CODE=str(ROOT), TARE_PYTHON=sys.executable)
    assert run.result is not None
    assert figures["tflite_bytes"] == run.result.tflite_bytes
    assert figures["accuracy"] == pytest.approx(run.result.metric)
    assert "# Step 1, Quantization-aware training, needs Tare:" in (tmp_path / "repeat.py").read_text()


@pytest.mark.slow
def test_random_inputs_go_with_the_script(service: Service, easy_files: tuple[Path, Path], tmp_path: Path) -> None:
    step = RecipeStep(technique="post_training_quantization", params={"mode": "float16"})
    run = finished(service, project_of(service, easy_files[0], None), step)
    figures, _ = repeated(service, run, tmp_path)
    assert (tmp_path / "samples.npz").is_file()
    script = (tmp_path / "repeat.py").read_text()
    assert "def agreement" in script
    assert not [name for name in ("targets_of", "batches", "fine_tune", "keep_zeros") if name in script]
    assert_same(run, figures, tolerance=0.03)


def test_the_notebook_has_the_cells_of_the_script(
    service: Service, easy_files: tuple[Path, Path], tmp_path: Path
) -> None:
    project = project_of(service, *easy_files)
    name = "mine\n```import os``` </script><b>\u2028'''"
    run = finished(service, project, RecipeStep(technique="post_training_quantization"), name=name)
    service.handovers.export(run.run_id, "notebook", tmp_path)
    service.handovers.export(run.run_id, "script", tmp_path)
    notebook = json.loads((tmp_path / "repeat.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    compile("\n".join(code), "notebook", "exec")
    script = (tmp_path / "repeat.py").read_text()
    assert all(cell in script for cell in code)
    compile(script, "repeat.py", "exec")
    said = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    assert not any("</script>" in cell for cell in said), "what users type must stay out of Markdown"


def test_every_technique_writes_lines_for_its_defaults(
    service: Service, easy_files: tuple[Path, Path], tmp_path: Path
) -> None:
    from runs.handover.script import written_down

    project = project_of(service, *easy_files)
    base = service.handovers.finished(service.wait(service.baseline(project.project_id).run_id).run_id)
    for entry in TECHNIQUES:
        recipe = Recipe.single(entry.name)
        told = base.__class__(**{**vars(base), "run": base.run.model_copy(update={"recipe": recipe})})
        problem, steps, converting = written_down(told, service.handovers.inputs(project))
        assert (problem, [step.needs_tare for step in steps]) == ("", [""]), entry.name
        compile("\n".join([*steps[0].lines, *converting]), entry.name, "exec")


def test_functions_that_nothing_calls_are_left_out() -> None:
    text = "def far():\n    return 1\n\n\ndef near():\n    return far()\n\n\ndef alone():\n    return near()"
    cells = without_uncalled([words("## Said"), code(text), code("def lonely():\n    return alone()"), code("near()")])
    assert [cell.text for cell in cells] == ["## Said", text.partition("\n\n\ndef alone")[0], "near()"]


# --- datasets ---------------------------------------------------------------------------------------------------------


def _split_npz(folder: Path) -> tuple[Path, DatasetOptions]:
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (60, 4, 4), np.uint8), np.arange(60) % 3 + 5
    np.savez(folder / "d.npz", images=images, labels=labels)
    return folder / "d.npz", DatasetOptions(seed=3)


def _two_inputs(folder: Path) -> tuple[Path, DatasetOptions]:
    random = np.random.default_rng(0)
    parts = {f"{name}_{part}": random.normal(size=(20, 3)) for name in ("left", "right") for part in ("train", "test")}
    labels = {f"y_{part}": random.normal(size=20) for part in ("train", "test")}
    np.savez(folder / "d.npz", allow_pickle=False, **parts, **labels)
    return folder / "d.npz", DatasetOptions(input_names=("left", "right"))


def _semicolons(folder: Path) -> tuple[Path, DatasetOptions]:
    rows = [f"{i};{i % 7},5;{'rot' if i % 3 else 'grün'};{'ja' if i % 2 else 'nein'}" for i in range(40)]
    (folder / "d.csv").write_text("Nr;Maß;Farbe;Ergebnis\n" + "\n".join(rows), encoding="latin-1")
    return folder / "d.csv", DatasetOptions(label_column="Ergebnis")


def _gaps(folder: Path) -> tuple[Path, DatasetOptions]:
    random = np.random.default_rng(1)
    frame = pd.DataFrame({"a": random.normal(size=50), "kind": list("xyzxy") * 10, "price": random.normal(size=50)})
    frame.loc[::9, "a"] = np.nan
    frame.loc[::11, "kind"] = None
    frame.to_csv(folder / "d.csv", index=False)
    options = DatasetOptions(missing_values="drop_rows", categorical_encoding="ordinal", label_kind="value")
    return folder / "d.csv", options


def _headless(folder: Path) -> tuple[Path, DatasetOptions]:
    rows = "\n".join(f"{i * 0.5},{i % 5},{i % 2}" for i in range(40))
    (folder / "d.csv").write_text(rows)
    return folder / "d.csv", DatasetOptions(label_column="column_3")


def _parquet(folder: Path) -> tuple[Path, DatasetOptions]:
    frame = pd.DataFrame({"a": np.arange(40) * 0.1, "b": list("pqrs") * 10, "class": ["10", "2"] * 20})
    frame.to_parquet(folder / "d.parquet")
    return folder / "d.parquet", DatasetOptions(categorical_encoding="one_hot_drop_first")


def _picture(colour: int, mode: str = "RGB") -> bytes:
    target = BytesIO()
    Image.new(mode, (6, 5), colour if mode == "L" else (colour, 255 - colour, 7)).save(target, "PNG")
    return target.getvalue()


def _class_folders(folder: Path) -> tuple[Path, DatasetOptions]:
    with zipfile.ZipFile(folder / "d.zip", "w") as archive:
        for number in range(30):
            part = "Train" if number % 3 else "test"
            archive.writestr(f"all/{part}/{'cat' if number % 2 else 'dog'}/{number}.png", _picture(number * 8))
        archive.writestr("all/.DS_Store", b"junk")
    return folder / "d.zip", DatasetOptions(image_size=(4, 4))


def _loose_images(folder: Path) -> tuple[Path, DatasetOptions]:
    with zipfile.ZipFile(folder / "d.zip", "w") as archive:
        for number in range(30):
            archive.writestr(f"{number}.png", _picture(number * 8, "L"))
    return folder / "d.zip", DatasetOptions()


@pytest.mark.parametrize(
    "make",
    [_split_npz, _two_inputs, _semicolons, _gaps, _headless, _parquet, _class_folders, _loose_images],
    ids=lambda make: make.__name__.strip("_"),
)
def test_a_script_reads_a_dataset_as_tare_does(make: Any, tmp_path: Path) -> None:
    path, options = make(tmp_path)
    info = parse_dataset(path, options, tmp_path / "parsed")
    inputs = Inputs(None, info, (), path, path, path, tmp_path / "parsed")  # type: ignore[arg-type]
    given: dict[str, Any] = {"DATASET": path, "FOLDER": tmp_path}
    head = (
        "from __future__ import annotations\nimport hashlib, io, zipfile\nimport numpy as np\nfrom typing import Any\n"
        "from pathlib import Path, PurePosixPath\n"
    )
    exec(head + "\n".join(cell.text for cell in data_cells(inputs) if cell.is_code), given)
    assert given["same_samples"]
    parsed = load_parsed(tmp_path / "parsed")
    for name in ("train", "validation", "test"):
        theirs, (arrays, labels) = parsed.part(name), given["PARTS"][name]
        for ours, other in zip(arrays, theirs.arrays, strict=True):
            np.testing.assert_array_equal(ours, other)
        assert (labels is None) == (theirs.y is None)
        if labels is not None:
            np.testing.assert_array_equal(labels, theirs.y)
