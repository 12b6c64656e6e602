"""The cells of a script for what plain TFMOT cannot do: which steps need Tare and why, and a call of its command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from intake.dataset_info import DatasetOptions
from intake.fit import Scale
from optimizers.recipe import RecipeStep
from runs.handover.cells import Cell, code, comment, words
from runs.handover.source import FinishedRun, Inputs

RECIPE_FILE = "recipe.yaml"


@dataclass(frozen=True)
class WrittenStep:
    """One step of the recipe as lines, or why it has none."""

    step: RecipeStep
    lines: list[str]
    needs_tare: str = ""
    """A sentence; empty where plain TFMOT does it."""


def tare_cells(finished: FinishedRun, inputs: Inputs, problem: str, steps: Sequence[WrittenStep]) -> list[Cell]:
    """Return the cells that leave `tflite`; problem: why the model itself needs Tare, "" where it does not."""
    reasons = [comment(problem)] if problem else []
    for number, written in enumerate(steps, start=1):
        says = f"needs Tare: {written.needs_tare}" if written.needs_tare else "alone would not need Tare."
        reasons.append(comment(f"Step {number}, {written.step.entry.title}, {says}"))
    reasons += [comment(doubt) for doubt in _doubts(finished)]
    return [
        words(
            "## The steps, by Tare's command line",
            "",
            "Set the environment variable `TARE_CODE` to the folder of Tare (the one with `cli.py`), and `TARE_PYTHON` to "
            "the Python that it is installed in.",
        ),
        code(
            *reasons,
            "import subprocess",
            "import sys",
            "import tempfile",
            "",
            "tare = Path(os.environ.get('TARE_CODE', '.')).resolve()",
            "python = os.environ.get('TARE_PYTHON', sys.executable)",
            "if not (tare / 'cli.py').is_file():",
            "    raise SystemExit('Set TARE_CODE to the folder of Tare, the one with cli.py.')",
            "with tempfile.TemporaryDirectory() as home:",
            "    command = [",
            "        python, 'cli.py', 'run',",
            *(f"        {line}," for line in _flags(finished, inputs)),
            "        '--out', str(Path(home, 'out')),",
            "    ]",
            "    subprocess.run(command, cwd=tare, env={**os.environ, 'TARE_HOME': home}, check=True)",
            "    tflite = Path(home, 'out', 'model.tflite').read_bytes()",
        ),
    ]


def _flags(finished: FinishedRun, inputs: Inputs) -> Iterator[str]:
    project, info = finished.project, inputs.dataset_info
    yield f"'--model', str(FOLDER / {project.model.file_name!r})"
    if project.dataset is not None:
        yield "'--dataset', str(DATASET)"
        if info.kind == "table" and info.options.label_column and info.label_kind != "none":
            yield f"'--label', {info.options.label_column!r}"
        elif info.label_kind == "none":
            yield "'--no-labels'"
        if not project.fit.inputs:
            scales = [step.mode for step in project.fit.preprocessing if isinstance(step, Scale)]
            yield f"'--scale', {(scales or ['none'])[0]!r}"
    yield f"'--task', {project.fit.task!r}"
    if project.fit.loss != "distillation":
        yield f"'--project-loss', {project.fit.loss!r}"
    yield f"'--recipe', str(FOLDER / {RECIPE_FILE!r})"


_WITHOUT_FLAGS = ("feature_columns", "categorical_encoding", "missing_values", "test_share", "validation_share", "seed")
"""Options of a dataset that the command line cannot be told."""


def _doubts(finished: FinishedRun) -> Iterator[str]:
    options, fit, usual = finished.project.options, finished.project.fit, DatasetOptions()
    changed = [name for name in _WITHOUT_FLAGS if getattr(options, name) != getattr(usual, name)]
    if changed and finished.project.dataset is not None:
        yield (
            f"The dataset was read with other {', '.join(changed)} than the command line takes: Tare may train on "
            "other samples than it did, and the figures differ."
        )
    if fit.class_order and list(fit.class_order) != sorted(fit.class_order):
        yield "The classes are in another order than the dataset's; the command line finds it out again."
