"""The ways in which a finished run can be handed over, each as files by name."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intake.datasets import load_parsed
from intake.errors import UserError
from intake.parts import PARTS
from runs.handover.c_header import c_header
from runs.handover.cells import as_notebook, as_script
from runs.handover.data_cells import SAMPLES_FILE
from runs.handover.script import MODEL_FILE, Script, requirements, script_of
from runs.handover.source import FinishedRun, Inputs
from runs.handover.tare_cells import RECIPE_FILE

DATASET_LIMIT_BYTES = 100_000_000
"""Datasets up to this size go with a script; larger ones are put beside it by whoever has them."""
EVERYTHING = "zip"
Files = Mapping[str, bytes | Path]
"""Name -> content, or the file that has it."""


@dataclass(frozen=True)
class Asked:
    """A run, and how to get what else there is of it; what nobody asks for is not read."""

    finished: FinishedRun
    inputs: Callable[[], Inputs]
    report: Callable[[], str]
    """The report as HTML; raises UserError where nobody can write one."""


@dataclass(frozen=True)
class Handover:
    """One way of handing a run over."""

    kind: str
    """Word of the command line."""
    title: str
    """Of the button."""
    use: str
    """When to take it, one sentence."""
    suffix: str
    """Of what is downloaded; ".zip" where it is several files."""
    files: Callable[[Asked], Files]
    repeats: bool = False
    """True where it needs the uploaded files and what was found out about them, not only what the run left."""

    def file_name(self, stem: str) -> str:
        """Return the name of what is downloaded."""
        alone = self.suffix != ".zip" or self.kind == EVERYTHING
        return f"{stem}{'' if alone else f'-{self.kind}'}{self.suffix}"


def _script(asked: Asked) -> Files:
    return _to_repeat(asked.finished, asked.inputs(), ("repeat.py", as_script))


def _notebook(asked: Asked) -> Files:
    return _to_repeat(asked.finished, asked.inputs(), ("repeat.ipynb", as_notebook))


def _to_repeat(finished: FinishedRun, inputs: Inputs, *written: tuple[str, Callable[..., str]]) -> Files:
    script = script_of(finished, inputs)
    files: dict[str, bytes | Path] = {name: write(script.cells).encode() for name, write in written}
    files["requirements.txt"] = requirements(finished).encode()
    return {**files, **_beside(finished, inputs, script)}


def _beside(finished: FinishedRun, inputs: Inputs, script: Script) -> Files:
    files: dict[str, bytes | Path] = {}
    if finished.run.recipe.steps:
        files[RECIPE_FILE] = finished.run.recipe.to_yaml().encode()
    if script.needs_model:
        files[MODEL_FILE] = inputs.clean_model
    if script.needs_tare:
        files[inputs.uploaded_model.name] = inputs.uploaded_model
    if inputs.uploaded_dataset is None:
        files[SAMPLES_FILE] = _samples(inputs)
    elif inputs.uploaded_dataset.stat().st_size <= DATASET_LIMIT_BYTES:
        files[inputs.uploaded_dataset.name] = inputs.uploaded_dataset
    return files


def _samples(inputs: Inputs) -> bytes:
    dataset, target = load_parsed(inputs.parsed), io.BytesIO()
    arrays = {
        f"x_{part}_{number}": np.asarray(array)
        for part in PARTS
        for number, array in enumerate(dataset.part(part).arrays)
    }
    np.savez_compressed(target, allow_pickle=False, **arrays)
    return target.getvalue()


def _header(asked: Asked) -> Files:
    return {f"{asked.finished.stem}.h": c_header(asked.finished).encode()}


def _report(asked: Asked) -> Files:
    return {f"{asked.finished.stem}.html": asked.report().encode()}


def _everything(asked: Asked) -> Files:
    """All of it; what cannot be made is replaced by the reason."""
    files: dict[str, bytes | Path] = {artifact.name: artifact.path for artifact in asked.finished.artifacts}
    both = (("repeat.py", as_script), ("repeat.ipynb", as_notebook))
    parts: dict[str, Callable[[], Files]] = {
        "header": lambda: _header(asked),
        "report": lambda: _report(asked),
        "repeat": lambda: {
            f"repeat/{name}": content for name, content in _to_repeat(asked.finished, asked.inputs(), *both).items()
        },
    }
    for name, make in parts.items():
        try:
            files |= make()
        except UserError as error:
            files[f"no_{name}.txt"] = "\n".join(error.problems).encode()
        except OSError as error:
            files[f"no_{name}.txt"] = f"A file that this needs is no longer stored: {error.filename}".encode()
    return files


HANDOVERS: tuple[Handover, ...] = (
    Handover(
        "script",
        "Script to repeat it",
        "Python with plain TFMOT and LiteRT, its model, its data up to 100 MB, and the versions it needs.",
        ".zip",
        _script,
        repeats=True,
    ),
    Handover("notebook", "Notebook to repeat it", "The same as a Jupyter notebook.", ".zip", _notebook, repeats=True),
    Handover(
        "header", "C array", "The .tflite as a C header, to compile into firmware for a microcontroller.", ".h", _header
    ),
    Handover(
        "report",
        "Report",
        "One HTML file with figures, sizes, claims and settings, to read without a network.",
        ".html",
        _report,
    ),
    Handover(
        EVERYTHING,
        "Everything",
        "Every file of the run, with script, notebook, C array and report.",
        ".zip",
        _everything,
    ),
)


def handover(kind: str) -> Handover:
    """Return the way of handing over of that name; raises UserError where there is none."""
    for entry in HANDOVERS:
        if entry.kind == kind:
            return entry
    raise UserError(f"There is no export named {kind!r}. Choose one of: {', '.join(one.kind for one in HANDOVERS)}.")


def written(files: Files, folder: Path) -> list[Path]:
    """Write files into a folder and return their paths; files of the same names are replaced."""
    paths = []
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        paths.append(path)
    return paths


def zipped(files: Files, folder_name: str) -> bytes:
    """Return files as a zip, all under one folder, with fixed time stamps: the same files give the same zip."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(f"{folder_name}/{name}", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content if isinstance(content, bytes) else content.read_bytes())
    return target.getvalue()
