"""The process that opens files and trains: `python -m runs.worker`, started and owned by a slot of the executor.

One request a line on stdin, answers a line each on stdout. `execute(run_id)` is the same for any executor.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from intake.custom_objects import allow_modules
from intake.dataset_info import DatasetOptions
from intake.errors import UserError
from intake.fit import FitOverrides
from runs.full_disk import disk_sentence
from runs.operation_job import answer_operations
from runs.paths import prepared_folder, samples_folder, upload_path
from runs.records import Upload
from runs.sensitivity_job import answer_sensitivity
from runs.settings import Settings
from runs.speed_job import answer_speed
from runs.try_job import answer_try

NICENESS = 10
log = logging.getLogger("tare")

Report = Callable[..., None]
"""(share done, message, seconds until the next report at most: None where only the whole job has a limit)."""
SCAN_SECONDS = 60
"""Looking a model file through takes seconds; on a damaged one the HDF5 library can go round in circles for ever."""


def main() -> None:
    """Serve requests until stdin closes."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print belongs in the log, not on the wire
    os.nice(NICENESS)
    _end_with_parent()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    log.setLevel(logging.INFO)
    settings = Settings()
    allow_modules(settings.custom_object_modules.split(","))
    _warm_up()
    for line in sys.stdin:
        _answer(settings, json.loads(line), answers)


def _end_with_parent() -> None:
    """A worker whose server was killed must not go on training for nobody."""
    parent = os.getppid()
    _killed_with_parent()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _killed_with_parent() -> None:
    """Have Linux end this process with the thread that started it: native code that hangs lets no thread of it watch."""
    import ctypes
    import signal

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def _warm_up() -> None:
    """Import what every request needs while nobody waits."""
    from intake.keras_env import keras2, tensorflow, tfmot

    tensorflow().get_logger().setLevel("ERROR")
    # TensorFlow looks for GPUs once, hidden ones too, and logs an error where there are none: not in the log of a run.
    tensorflow().config.list_physical_devices()
    keras2()
    tfmot()


def _answer(settings: Settings, request: dict[str, Any], answers: TextIO) -> None:
    def report(fraction: float, message: str, limit_s: float | None = None) -> None:
        print(json.dumps({"fraction": fraction, "message": message, "limit_s": limit_s}), file=answers)

    if request["kind"] == "execute":
        with _log_to(Path(request["log"])):
            execute(request["run_id"], settings)
        answer: dict[str, Any] = {"result": None}
    else:
        answer = _prepare(settings, request, report)
    print(json.dumps(answer), file=answers)


def _prepare(settings: Settings, request: dict[str, Any], report: Report) -> dict[str, Any]:
    try:
        return {"result": PREPARATIONS[request["kind"]](settings, request, report)}
    except UserError as error:
        return {"problems": error.problems}
    except Exception as error:
        traceback.print_exc()
        if full := disk_sentence(error):
            return {"problems": [full]}
        short = f"{type(error).__name__}: {str(error)[:300]}"
        return {"problems": [f"This is a fault in Tare, not in your file. The worker log has the details. {short}"]}


def _inspect_model(settings: Settings, request: dict[str, Any], report: Report) -> Any:
    upload = Upload.model_validate(request["upload"])
    report(0.1, f"Looking through {upload.file_name}", SCAN_SECONDS)
    opening = f"Opening {upload.file_name}"
    return ensure_prepared(settings, upload, lambda: report(0.3, opening)).model_dump(mode="json")


def _inspect_dataset(settings: Settings, request: dict[str, Any], report: Report) -> Any:
    model, dataset = _upload_or_none(request["model"]), _upload_or_none(request["dataset"])
    report(0.1, f"Reading {dataset.file_name}" if dataset else "Making random inputs")
    options = DatasetOptions.model_validate(request["options"])
    return ensure_parsed(settings, model, dataset, options).info.model_dump(mode="json")


def _upload_or_none(sent: Any) -> Upload | None:
    return None if sent is None else Upload.model_validate(sent)


def _match(settings: Settings, request: dict[str, Any], report: Report) -> Any:
    from intake.matching import match
    from intake.models import load_prepared

    model, dataset = Upload.model_validate(request["model"]), _upload_or_none(request["dataset"])
    options = DatasetOptions.model_validate(request["options"])
    info = ensure_prepared(settings, model)
    data = ensure_parsed(settings, model, dataset, options)
    overrides = FitOverrides.model_validate(request["overrides"])
    found = match(load_prepared(prepared_folder(settings, model.upload_id)), info, data, overrides, report)
    return found.model_dump(mode="json")


def _plan(settings: Settings, request: dict[str, Any], report: Report) -> Any:
    from intake.models import load_prepared
    from runs.plan import ensure_plan

    upload = Upload.model_validate(request["upload"])
    report(0.1, "Looking at what each technique will do")
    ensure_prepared(settings, upload)
    model = load_prepared(prepared_folder(settings, upload.upload_id))
    return ensure_plan(settings, upload.upload_id, model).model_dump(mode="json")


PREPARATIONS: dict[str, Callable[[Settings, dict[str, Any], Report], Any]] = {
    "inspect_model": _inspect_model,
    "inspect_dataset": _inspect_dataset,
    "match": _match,
    "plan": _plan,
    "speed": answer_speed,
    "sensitivity": answer_sensitivity,
    "operations": answer_operations,
    "try": answer_try,
}


def ensure_prepared(settings: Settings, upload: Upload, on_scanned: Callable[[], None] = lambda: None) -> Any:
    """Return the ModelInfo of an upload, opening the file only the first time; `on_scanned` as in `inspect_model`."""
    from intake.model_info import ModelInfo
    from intake.models import inspect_model

    folder = prepared_folder(settings, upload.upload_id)
    if (folder / "info.json").is_file() and (folder / "model.h5").is_file():
        with contextlib.suppress(ValidationError):  # written by an older version: made again
            return ModelInfo.model_validate_json((folder / "info.json").read_text())
    return inspect_model(_still_there(settings, upload), folder, on_scanned)


def _still_there(settings: Settings, upload: Upload) -> Path:
    path = upload_path(settings, upload)
    if not path.is_file():
        raise UserError(
            f"{upload.file_name} is no longer in the uploads folder of Tare's home. Upload the same file again: it goes where "
            "it was, and runs of its projects work again."
        )
    return path


def ensure_parsed(settings: Settings, model: Upload | None, dataset: Upload | None, options: DatasetOptions) -> Any:
    """Return the arrays of a dataset, reading the file only the first time; random ones for the model without one."""
    from intake.datasets import load_parsed, parse_dataset
    from intake.models import load_prepared
    from intake.random_inputs import make_random_inputs

    folder = samples_folder(settings, model.upload_id if model else "", dataset.upload_id if dataset else None, options)
    if not (folder / "info.json").is_file():
        if dataset is not None:
            parse_dataset(_still_there(settings, dataset), options, folder)
        elif model is not None:
            info = ensure_prepared(settings, model)
            make_random_inputs(load_prepared(prepared_folder(settings, model.upload_id)), info, options, folder)
    return load_parsed(folder)


def execute(run_id: str, settings: Settings | None = None) -> None:
    """Carry a stored run out and store what came of it: finished with a result, or failed with a sentence."""
    from runs.execution import Execution
    from runs.store import Store

    settings = settings or Settings()
    allow_modules(settings.custom_object_modules.split(","))
    store = Store(settings)
    try:
        lost = Execution(run_id, settings, store).run()
        if lost:
            log.error("%s", lost)
        store.set_state(run_id, "finished", lost)
    except UserError as error:
        log.info("Failed: %s", error)
        store.set_state(run_id, "failed", str(error))
    except Exception as error:
        traceback.print_exc()
        short = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
        store.set_state(
            run_id,
            "failed",
            disk_sentence(error)
            or f"This is a fault in Tare, not in your files (run {run_id}). The log has the details. {short}",
        )
    finally:
        _forget_graphs()


def _forget_graphs() -> None:
    """Keras 2 keeps every model of a process in a global graph until told otherwise."""
    import gc

    from intake.keras_env import keras2

    keras2().backend.clear_session()
    gc.collect()


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send everything that is printed, also by native code, to a file."""
    kept = os.dup(1), os.dup(2)
    with path.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in enumerate(kept, start=1):
            os.dup2(saved, number)
            os.close(saved)


if __name__ == "__main__":
    main()
