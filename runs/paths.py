"""Where things lie under the home folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from intake.dataset_info import DatasetInfo, DatasetOptions
from runs.records import Project, Upload
from runs.settings import Settings


def upload_path(settings: Settings, upload: Upload) -> Path:
    """The uploaded file as it came."""
    return settings.folder("uploads") / upload.upload_id / upload.file_name


def prepared_folder(settings: Settings, upload_id: str) -> Path:
    """The clean tf_keras model of an upload and what is known of it."""
    return settings.folder("prepared") / upload_id


def parsed_folder(settings: Settings, upload_id: str, options: DatasetOptions) -> Path:
    """The arrays of a dataset, read with these options."""
    # An option that came later counts only where it is set, or everything that was parsed before would be lost.
    later = set() if options.input_names else {"input_names"}
    digest = hashlib.sha256(options.model_dump_json(exclude=later).encode()).hexdigest()[:12]
    return settings.folder("parsed") / f"{upload_id}-{digest}"


def samples_folder(settings: Settings, model_id: str, dataset_id: str | None, options: DatasetOptions) -> Path:
    """The arrays that a model is fed with: of a dataset, or random ones made from the model where there is none."""
    return parsed_folder(settings, dataset_id or f"random-{model_id}", options)


def answers_path(settings: Settings, project: Project, samples: DatasetInfo) -> Path:
    """What a project's uploaded model answers to the test part: the same for all its runs."""
    fed = [feed.model_dump(mode="json") for feed in project.fit.feeds]
    depends_on = (
        json.dumps([project.dataset_id, project.options.model_dump(mode="json"), fed]) + samples.model_dump_json()
    )
    digest = hashlib.sha256(depends_on.encode()).hexdigest()[:16]
    return prepared_folder(settings, project.model.upload_id) / "answers" / f"{digest}.npz"


def scratch_folder(settings: Settings, run_id: str) -> Path:
    """Where a run collects its files until they are stored; whoever executes the run removes it afterwards."""
    return settings.folder("scratch") / run_id


def log_path(settings: Settings, run_id: str) -> Path:
    """The log of a run, written while it runs."""
    return settings.folder("logs") / f"{run_id}.log"
