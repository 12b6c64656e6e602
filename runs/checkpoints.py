"""The newest checkpoint of each run, on disk under the home folder: from there an interrupted run is resumed."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from optimizers.checkpoint import Standing
from runs.records import Project, RunRecord
from runs.settings import Settings
from runs.whole_files import whole_file, write_whole

log = logging.getLogger("tare")
SHARE_OF_TIME = 0.05
"""At most so much of the time of a training is spent on writing checkpoints."""
LEAST_SECONDS = 2.0
"""No two checkpoints within this, so that epochs of milliseconds do not wear the disk."""
_ARRAYS, _ABOUT = "arrays.npz", "about.json"
_COUNTS = ("steps_done", "optimizer_steps", "epochs", "trained_epochs")


def checkpoint_folder(settings: Settings, run_id: str) -> Path:
    """Where the checkpoint of a run lies, if it has one."""
    return settings.folder("checkpoints") / run_id


def resumable_epochs(settings: Settings, run_id: str) -> int:
    """Return after how many epochs, over all its trainings, a run would be resumed; 0 where it has no checkpoint."""
    about = _about(checkpoint_folder(settings, run_id))
    return int(about["epochs"] + about["trained_epochs"]) if about else 0


def forget_checkpoint(settings: Settings, run_id: str) -> None:
    """Remove the checkpoint of a run, if it has one."""
    shutil.rmtree(checkpoint_folder(settings, run_id), ignore_errors=True)


class RunCheckpoints:
    """Keeps the standing of one run: what `optimizers.apply.apply_recipe` asks for.

    Args:
        settings: of the installation.
        run: whose recipe is carried out.
        project: that it belongs to. What was kept for other files, another recipe or other libraries is not used.
    """

    def __init__(self, settings: Settings, run: RunRecord, project: Project) -> None:
        self._folder = checkpoint_folder(settings, run.run_id)
        self._fingerprint = _fingerprint(run, project)
        self._last, self._took_s = time.monotonic(), 0.0

    def newest(self) -> Standing | None:
        """Return what was kept last; None where nothing was, or nothing that this run can go on from."""
        about = _about(self._folder)
        if about is None or about["fingerprint"] != self._fingerprint:
            return None
        try:
            with np.load(self._folder / about["arrays"], allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            log.warning("The checkpoint cannot be read, so the run begins anew. %s", error)
            return None
        plain = tuple(found[f"plain/{index}"] for index in range(about["plain"]))
        training = {name[len("training/") :]: array for name, array in found.items() if name.startswith("training/")}
        return Standing(plain=plain, training=training, **{name: about[name] for name in _COUNTS})

    def is_time(self) -> bool:
        """True where writing another would take no more than its share of the time since the last."""
        return time.monotonic() - self._last > max(LEAST_SECONDS, self._took_s / SHARE_OF_TIME)

    def keep(self, standing: Standing) -> None:
        """Write a standing in place of the last; a disk that is full costs the checkpoint, not the run."""
        before = time.monotonic()
        try:
            self._write(standing)
        except OSError as error:
            log.warning("No checkpoint could be written: %s", error)
        self._last = time.monotonic()
        self._took_s = self._last - before

    def _write(self, standing: Standing) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        old = _about(self._folder)
        name = f"2-{_ARRAYS}" if old and old["arrays"].startswith("1-") else f"1-{_ARRAYS}"
        arrays = {f"plain/{index}": array for index, array in enumerate(standing.plain)}
        arrays |= {f"training/{name}": array for name, array in standing.training.items()}
        with whole_file(self._folder / name) as file:
            np.savez(file, allow_pickle=False, **arrays)
        about = {count: getattr(standing, count) for count in _COUNTS}
        about |= {"plain": len(standing.plain), "arrays": name, "fingerprint": self._fingerprint}
        write_whole(self._folder / _ABOUT, json.dumps(about).encode())
        if old:
            (self._folder / old["arrays"]).unlink(missing_ok=True)


def _about(folder: Path) -> dict[str, Any] | None:
    try:
        about: dict[str, Any] = json.loads((folder / _ABOUT).read_text())
        if not all(isinstance(about[name], int) for name in (*_COUNTS, "plain")):
            return None
        return about if Path(about["arrays"]).name == about["arrays"] and about["fingerprint"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _fingerprint(run: RunRecord, project: Project) -> str:
    """Of everything that the arrays of a checkpoint depend on."""
    depends_on = [
        run.recipe.model_dump_json(),
        project.model.sha256,
        project.dataset.sha256 if project.dataset else "",
        project.options.model_dump_json(),
        project.fit.model_dump_json(),
        version("tf-keras"),
        version("tensorflow-model-optimization"),
    ]
    return hashlib.sha256("\0".join(depends_on).encode()).hexdigest()
