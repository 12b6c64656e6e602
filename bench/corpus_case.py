"""One model under one technique, in a process of its own: what `bench.corpus` counts as passed."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np

from intake.errors import UserError

Cell = Literal["pass", "refused", "failed"]
BATCH_SIZE = 8
RECIPES: dict[str, tuple[str, dict[str, Any], dict[str, Any] | None]] = {
    "prune": ("pruning", {"initial_sparsity": 0.5, "final_sparsity": 0.8}, {"epochs": 1, "batch_size": BATCH_SIZE}),
    "cluster": ("clustering", {"number_of_clusters": 16}, {"epochs": 1, "batch_size": BATCH_SIZE}),
    "qat": ("quantization_aware_training", {"representative_samples": 16}, {"epochs": 1, "batch_size": BATCH_SIZE}),
    "ptq_dynamic": ("post_training_quantization", {"mode": "dynamic_range"}, None),
    "ptq_int8": ("post_training_quantization", {"mode": "int8", "representative_samples": 16}, None),
}
"""Column -> technique, parameters, fine-tuning."""
COLUMNS = ("load", *RECIPES)


@dataclass(frozen=True)
class Outcome:
    """What came of one case."""

    cell: Cell
    reason: str = ""
    difference: float | None = None
    """Of the dynamic-range file's outputs from the float32 file's, as a share of their size; the largest output's."""


def carry_out(column: str, file: Path, folder: Path, one_dnn: bool, answer: Connection) -> None:
    """Do one case and send its Outcome; the entry point of the process.

    Args:
        column: "load", or a key of RECIPES.
        file: the uploaded model.
        folder: where "load" leaves the prepared model, and the other columns find it.
        one_dnn: False for the repeat after a native crash.
        answer: where the Outcome goes.
    """
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1" if one_dnn else "0"
    _quiet()
    try:
        difference = None
        if column == "load":
            _load(file, folder)
        else:
            difference = _technique(column, file, folder)
        answer.send(Outcome("pass", difference=difference))
    except UserError as error:
        answer.send(Outcome("refused", " ".join(error.problems)))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        short = " ".join(str(error).split())[:300]
        answer.send(Outcome("failed", f"{type(error).__name__}: {short} ({Path(where.filename).name}:{where.lineno})"))


def _quiet() -> None:
    """What TensorFlow prints would drown the table."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    if not os.environ.get("TARE_BENCH_VERBOSE"):
        os.dup2(nowhere, 2)


def _load(file: Path, folder: Path) -> None:
    from bench.corpus_data import store_samples
    from intake.models import inspect_model, load_prepared

    info = inspect_model(file, folder)
    store_samples(load_prepared(folder), info, folder)


class Wrong(AssertionError):
    """The file was made and runs, but is not what was asked for."""


def _technique(column: str, file: Path, folder: Path) -> float | None:
    from bench.corpus_data import few_samples
    from intake.model_info import ModelInfo
    from intake.models import load_prepared, save_as_uploaded
    from measure.export import Conversion, convert
    from measure.litert import predict
    from measure.weights import read_weights
    from optimizers.apply import apply_recipe
    from optimizers.recipe import Recipe

    model = load_prepared(folder)
    data = few_samples(model, folder, folder / f"{column}_teacher")
    optimized = apply_recipe(model, Recipe.single(*RECIPES[column]), data, lambda *_: None, lambda *_: None)
    count = optimized.conversion.representative_samples
    tflite = convert(optimized.to_convert, optimized.conversion, data.representative(count, 0) if count else None)
    _, inputs = next(data.test_inputs(2**30))
    answers = predict(tflite, inputs)
    for name, answer in zip(model.output_names, answers, strict=True):
        if not np.isfinite(answer).all():
            raise Wrong(f"the output {name} is not finite")
    tensors = read_weights(tflite)
    missed = [fact for claim in optimized.claims for fact in claim.verify(tensors) if fact.met is False]
    if missed:
        raise Wrong(
            f"{len(missed)} claims missed, the first: {missed[0].claim} of {missed[0].layer}, asked {missed[0].asked}, "
            f"found {missed[0].measured}"
        )
    difference = None
    if column == "ptq_dynamic":
        difference = max(_differences(answers, predict(convert(model, Conversion()), inputs)))
        if difference > TOLERANCE:
            raise Wrong(f"an output differs from the float file's by {difference:.2f} of its size")
    info = ModelInfo.model_validate_json((folder / "info.json").read_text(encoding="utf-8"))
    save_as_uploaded(optimized.plain, file, info, folder / column)
    return difference


TOLERANCE = 0.25
"""Largest root mean square difference between dynamic range and float32, as a share of that output's own. Outputs that
have nothing to do with each other differ by more than 1; the weights' rounding alone gives a few hundredths, more where
random inputs drive a deep network far from what it was trained on."""


def _differences(answers: list[np.ndarray], float_answers: list[np.ndarray]) -> Iterator[float]:
    for answer, wanted in zip(answers, float_answers, strict=True):
        scale = float(np.sqrt(np.mean(np.square(wanted, dtype=np.float64)))) or 1.0
        yield float(np.sqrt(np.mean(np.square(answer.astype(np.float64) - wanted)))) / scale
