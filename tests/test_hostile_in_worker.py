"""Files that were made to hurt, the whole way in: uploaded, opened by a worker, stopped by its limits."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from intake.dataset_info import DatasetOptions
from intake.errors import UserError
from intake.fit import FitOverrides
from runs import job_limits
from runs.jobs import Job
from runs.service import Service
from runs.settings import Settings
from tests.conftest import until
from tests.hostile_archives import special
from tests.test_hostile_datasets import REFUSED, parquet
from tests.test_hostile_models import as_h5, as_keras, calls, config_of

MEMORY_MB = 2500
"""Of a worker here: one that has TensorFlow and opened an ordinary model holds about 500 MB."""
OVERSHOOT_MB = 2500
"""What native code can take between two looks at it."""
SOON_S = 120


@pytest.fixture(scope="module")
def limited(
    empty_home: Path, tmp_path_factory: pytest.TempPathFactory, easy_files: tuple[Path, Path]
) -> Iterator[Service]:
    """A service with little memory for its workers, and one project."""
    home = tmp_path_factory.mktemp("limited") / "beside" / "home"
    shutil.copytree(empty_home, home)
    service = Service(Settings(home=home, run_memory_mb=MEMORY_MB, max_upload_mb=300))
    service.start()
    prepared = service.prepare(*easy_files, DatasetOptions(), FitOverrides())
    made = service.project_of("Easy", prepared)
    service.wait(service.baseline(made.project_id).run_id)
    yield service
    service.stop()


def state_of(service: Service) -> dict[str, str]:
    """What every project is made of: path -> digest of the content."""
    home = service.settings.home
    kept = [home / "mlflow.db", *(path for name in ("projects", "artifacts") for path in (home / name).rglob("*"))]
    (project,) = service.projects()
    for upload_id in (project.model.upload_id, project.dataset_id):
        kept += [
            path for folder in ("uploads", "prepared", "parsed") for path in (home / folder).glob(f"{upload_id}*/**/*")
        ]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept if path.is_file()}


class Peak:
    """The most memory that the workers of a service held while something was done."""

    def __init__(self, service: Service) -> None:
        self._slots, self._ended = service._executor._slots, threading.Event()
        self.memory_mb = 0.0

    def __enter__(self) -> Peak:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            held = [slot._child.memory_mb() for slot in self._slots if slot._child]
            self.memory_mb = max(self.memory_mb, *held, 0)


def inspected(service: Service, path: Path) -> Job:
    with path.open("rb") as stream:
        upload = service.add_upload(path.name, stream)
    is_model = path.suffix in (".h5", ".keras") or path.name.startswith("saved")
    job = (service.inspect_model if is_model else service.inspect_dataset)(upload.upload_id)
    until(lambda: job.is_done, SOON_S)
    return job


def units(count: int) -> Callable[[Path], Path]:
    return lambda folder: as_h5(folder / "a.h5", config_of(units=count))


def of_layers(*layers: dict[str, Any]) -> Callable[[Path], Path]:
    return lambda folder: as_h5(folder / "a.h5", config_of(*layers))


def texts_of_100_gigabytes(folder: Path) -> Path:
    """One text of a megabyte, which 100,000 rows name: the file has a megabyte."""
    text = pd.Series(pd.Categorical.from_codes(np.zeros(100_000, np.int8), ["x" * 2**20]))
    return parquet(folder, pd.DataFrame({"a": text, "y": np.arange(100_000) % 2}))


def wide_text(folder: Path) -> Path:
    path = folder / "a.csv"
    path.write_bytes(b"\xff\xfe" + ("a,b\n" + "1,2\n" * 10_000_000).encode("utf-16-le"))
    return path


def evil(folder: Path) -> Path:
    return as_keras(folder / "a.keras", config_of(calls(folder / "canary")["os.system"]))


def linked(folder: Path) -> Path:
    path = folder / "saved.zip"
    path.write_bytes(special("m/saved_model.pb", 0o120000, b"/etc/passwd"))
    return path


CASES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a layer of a billion units": (units(10**9), "a.h5"),
    "a sample repeated a billion times": (
        of_layers({"class_name": "RepeatVector", "config": {"name": "r", "n": 10**9}}),
        "a.h5",
    ),
    "a code in a .keras": (evil, "'system'"),
    "a link in a SavedModel": (linked, "is a link"),
    "texts of 100 GB in a megabyte": (texts_of_100_gigabytes, "table.parquet"),
    "a table of 10 million rows": (wide_text, "two classes|was stopped"),
    "an array of objects": (REFUSED["array of objects"][0], "pickled Python objects"),
    "a million members": (REFUSED["zip of a million members"][0], "at most 200,000 members"),
    "a picture of 2.5 billion pixels": (REFUSED["image of 2.5 billion pixels"][0], "pixels"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_hurts_is_stopped_and_harms_nobody(limited: Service, tmp_path: Path, name: str) -> None:
    build, words = CASES[name]
    path = build(tmp_path)
    beside, before = set(limited.settings.home.parent.iterdir()), state_of(limited)
    started = time.monotonic()
    with Peak(limited) as peak:
        job = inspected(limited, path)
    said = " ".join(job.problems)
    print(f"{name}: {time.monotonic() - started:.1f} s, {peak.memory_mb:,.0f} MB: {said}")
    assert re.search(words, said)
    assert "fault in Tare" not in said
    assert "Traceback" not in said
    assert peak.memory_mb < MEMORY_MB + OVERSHOOT_MB
    assert not (tmp_path / "canary").exists()
    assert set(limited.settings.home.parent.iterdir()) == beside
    assert state_of(limited) == before
    assert not list(limited.settings.home.glob("parsed/.parsing_*"))
    assert not list(limited.settings.home.glob("prepared/*/.writing_*"))


def test_the_next_file_is_opened(limited: Service, easy_files: tuple[Path, Path], tmp_path: Path) -> None:
    """Whatever came before it, and however it ended."""
    shutil.copy(easy_files[0], tmp_path / "next.h5")
    assert inspected(limited, tmp_path / "next.h5").problems == ()


def test_a_file_that_takes_for_ever_is_stopped(
    limited: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_limits, "JOB_SECONDS", 3)
    path = as_h5(
        tmp_path / "slow.h5",
        config_of(*[{"class_name": "Dense", "config": {"name": f"n{i}", "units": 9}} for i in range(20_000)]),
    )
    job = inspected(limited, path)
    assert "took longer than" in " ".join(job.problems)


# ---------------------------------------------------------------- too large while it comes


class Endless(io.RawIOBase):
    """A stream that never ends, and counts what was read of it."""

    read_bytes = 0

    def read(self, size: int = -1) -> bytes:
        assert 0 < size <= 2**20, "read at once"
        self.read_bytes += size
        return bytes(size)


def test_an_upload_is_cut_off_while_it_comes(limited: Service) -> None:
    before = set(limited.settings.folder("uploads").iterdir())
    stream = Endless()
    with pytest.raises(UserError, match="larger than 300 MB"):
        limited.add_upload("endless.npz", stream)  # type: ignore[arg-type]
    assert stream.read_bytes <= (300 << 20) + 2**20
    assert set(limited.settings.folder("uploads").iterdir()) == before


def test_an_upload_that_breaks_off_leaves_nothing(limited: Service) -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError("the other side is gone")

    before = set(limited.settings.folder("uploads").iterdir())
    with pytest.raises(OSError, match="gone"):
        limited.add_upload("broken.npz", Broken())  # type: ignore[arg-type]
    assert set(limited.settings.folder("uploads").iterdir()) == before


@pytest.mark.parametrize(
    "name", ["../../x.npz", "/etc/passwd", "..\\x.h5", "..", ".", "", "\0", "a" * 5000, "upload.json"]
)
def test_no_name_leads_out_of_the_uploads(limited: Service, name: str) -> None:
    before = set(limited.settings.home.parent.rglob("*"))
    upload = limited.add_upload(name, io.BytesIO(name.encode() + b"x"))
    made = set(limited.settings.home.parent.rglob("*")) - before
    folder = limited.settings.folder("uploads") / upload.upload_id
    assert made == {folder, folder / upload.file_name, folder / "upload.json"}
    assert (folder / upload.file_name).read_bytes() == name.encode() + b"x"
