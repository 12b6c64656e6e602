"""What is known of an uploaded model before any run: its layers, its float32 file, and a sample of its kernels."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from intake.errors import DoesNotFit
from measure.sizes import gzip_bytes
from optimizers.estimate import EstimatedSizes, SizeEstimator
from optimizers.kernel_samples import from_bytes, sample_kernels, to_bytes
from optimizers.layer_facts import LayerFacts
from runs.paths import prepared_folder
from runs.settings import Settings
from runs.whole_files import write_whole

log = logging.getLogger("tare")
PLAN_FILE, KERNELS_FILE, FLOAT_FILE = "plan.json", "kernels.npz", "float32.tflite"
VERSION = 6
"""Raise it whenever plan.json or kernels.npz means something else than before; older ones are then made again."""


class ModelPlan(BaseModel):
    """Stored as `plan.json` beside the prepared model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    layers: tuple[LayerFacts, ...]
    tflite_bytes: int
    """Of the float32 `.tflite`; 0 where the model cannot be converted."""
    gzip_bytes: int
    problem: str = ""
    """Why the model cannot be converted, in a sentence; else empty."""


def ensure_plan(settings: Settings, upload_id: str, model: Any) -> ModelPlan:
    """Return the plan of a prepared model, making it only the first time; for the worker.

    Args:
        model: its clean tf_keras model, which is left as it is.
    """
    plan = stored_plan(settings, upload_id)
    return plan or _make_plan(prepared_folder(settings, upload_id), model)


def stored_plan(settings: Settings, upload_id: str) -> ModelPlan | None:
    """Return the plan that was made before, None where there is none of this version. Needs no TensorFlow."""
    folder = prepared_folder(settings, upload_id)
    with contextlib.suppress(OSError, ValidationError):
        if (folder / PLAN_FILE).stat().st_mtime_ns < (folder / "model.h5").stat().st_mtime_ns:
            return None  # the model was prepared again since
        plan = ModelPlan.model_validate_json((folder / PLAN_FILE).read_text(encoding="utf-8"))
        made = () if plan.problem else (KERNELS_FILE, FLOAT_FILE)
        if plan.version == VERSION and all((folder / name).is_file() for name in made):
            return plan
    return None


def estimator_of(settings: Settings, upload_id: str, plan: ModelPlan) -> SizeEstimator:
    """Return what estimates sizes for a model; raises OSError or ValueError where its kernels are not stored."""
    samples = from_bytes((prepared_folder(settings, upload_id) / KERNELS_FILE).read_bytes(), plan.layers)
    sizes = EstimatedSizes(tflite_bytes=plan.tflite_bytes, gzip_bytes=plan.gzip_bytes)
    return SizeEstimator(plan.layers, sizes, samples)


def float_file(settings: Settings, upload_id: str) -> Path:
    """Where the float32 `.tflite` of a model lies that has a plan without problem."""
    return prepared_folder(settings, upload_id) / FLOAT_FILE


def _make_plan(folder: Path, model: Any) -> ModelPlan:
    from measure.export import Conversion, convert
    from measure.weights import read_weights
    from optimizers import facts_of
    from optimizers.technique import clone_with_weights

    layers = facts_of(model)
    try:
        tflite = convert(clone_with_weights(model), Conversion())
    except DoesNotFit as error:
        plan = ModelPlan(version=VERSION, layers=layers, tflite_bytes=0, gzip_bytes=0, problem=" ".join(error.problems))
    else:
        write_whole(folder / FLOAT_FILE, tflite)
        write_whole(folder / KERNELS_FILE, to_bytes(sample_kernels(model, read_weights(tflite))))
        plan = ModelPlan(version=VERSION, layers=layers, tflite_bytes=len(tflite), gzip_bytes=gzip_bytes(tflite))
    write_whole(folder / PLAN_FILE, plan.model_dump_json().encode())
    log.info("Planned %d layers, float32 .tflite %d bytes", len(layers), plan.tflite_bytes)
    return plan
