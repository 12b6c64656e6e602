"""A script that repeats a run with plain tf_keras, TFMOT and LiteRT, and shows its figures beside Tare's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from measure.conversion import Conversion
from measure.plain_tools import NeedsTare, conversion_lines
from optimizers.fine_tuning import TrainingPlan
from optimizers.kept import Won
from optimizers.plain_training import ScriptStep
from optimizers.recipe import Recipe
from runs.handover import parts_measure, parts_training
from runs.handover.cells import Cell, code, comment, source_of, without_uncalled, words
from runs.handover.data_cells import data_cells, fit_cells
from runs.handover.source import FinishedRun, Inputs, own_classes
from runs.handover.tare_cells import WrittenStep, tare_cells

MODEL_FILE = "model.h5"
"""The clean tf_keras copy of the uploaded model, beside the script."""
FIGURES_FILE = "repeated.json"
_SPECIAL = ("GroupNormalization", "MaxPooling3D", "AveragePooling3D", "CategoryEncoding")
"""Layers that Tare writes in other operations, because LiteRT lacks or spoils theirs."""


@dataclass(frozen=True)
class Script:
    """A script, and what it needs beside it."""

    cells: list[Cell]
    needs_model: bool
    """True where it opens the clean tf_keras model."""
    needs_tare: bool
    """True where it calls Tare's command line, which wants the uploaded model and the recipe."""


def script_of(finished: FinishedRun, inputs: Inputs) -> Script:
    """Return the script of a run."""
    problem, steps, converting = written_down(finished, inputs)
    is_plain = not problem and not any(step.needs_tare for step in steps)
    fit = finished.project.fit
    needs_model = is_plain or fit.task == "agreement"
    cells = [_title(finished, inputs, is_plain), _constants(finished, inputs, needs_model)]
    cells += [*data_cells(inputs), *fit_cells(inputs, fit)]
    if needs_model:
        cells += _model_cells(inputs, finished)
    if is_plain:
        cells += [cell for number, step in enumerate(steps, start=1) for cell in _step_cells(number, step)]
        cells += [words("## The `.tflite`"), code("without_negative_zeros(model)", *converting)]
    else:
        cells += tare_cells(finished, inputs, problem, steps)
    cells += _measuring_cells(finished, fit.task == "agreement")
    return Script(without_uncalled(cells), needs_model, needs_tare=not is_plain)


def written_down(finished: FinishedRun, inputs: Inputs) -> tuple[str, list[WrittenStep], list[str]]:
    """Return why the model itself needs Tare ("" where it does not), the steps, and the lines that convert."""
    recipe, problem = finished.run.recipe, _problem_of_model(inputs)
    steps = _written_steps(recipe, finished, inputs)
    conversion, seeds = Conversion(), [0]
    for step in recipe.steps:
        conversion = step.entry.conversion(step.checked_params, conversion)
        seeds += [seed for seed in [{**step.params, **(step.fine_tuning or {})}.get("seed")] if seed is not None]
    try:
        return problem, steps, conversion_lines(conversion, seeds[-1])
    except NeedsTare as reason:
        return problem or f"The file is written in a way of Tare's own. {reason}", steps, []


def _problem_of_model(inputs: Inputs) -> str:
    foreign = own_classes(inputs)
    if foreign:
        return f"The model has classes that tf_keras does not know: {', '.join(foreign)}."
    special = sorted({layer.class_name for layer in inputs.layers} & set(_SPECIAL))
    return f"Tare writes {', '.join(special)} in operations that LiteRT has." if special else ""


def _written_steps(recipe: Recipe, finished: FinishedRun, inputs: Inputs) -> list[WrittenStep]:
    written, kept = [], frozenset[Won]()
    info = inputs.dataset_info
    for number, step in enumerate(recipe.steps, start=1):
        settings, plan = step.settings, None
        if settings is not None:
            more = info.validation_samples if settings.train_on_validation else 0
            plan = TrainingPlan.of(settings, info.train_samples + more)
        told = ScriptStep(number, inputs.layers, finished.project.fit, settings, plan, kept)
        try:
            written.append(WrittenStep(step, step.entry.script_lines(step.checked_params, told)))
        except NeedsTare as reason:
            written.append(WrittenStep(step, [], str(reason)))
        kept |= {step.entry.wins} if step.entry.wins and settings is not None else set()
    return written


def _title(finished: FinishedRun, inputs: Inputs, is_plain: bool) -> Cell:
    info = inputs.model_info
    how = (
        "It needs tf_keras, TFMOT and LiteRT, and nothing of Tare; `requirements.txt` names the versions."
        if is_plain
        else "Some of it only Tare can do: the script calls Tare's command line for that, and measures the file itself."
    )
    rebuilt = f"It differs from the uploaded file ({info.saved_by}) by at most {info.probe_max_difference:.2g} in its answers."
    return words(
        "# A run of Tare, repeated",
        "",
        f"Recipe: {finished.run.recipe.title}. {how}",
        "",
        f"It starts from `{MODEL_FILE}`, the tf_keras copy that Tare makes of every upload before anything else: float32, "
        f"without nested models, each layer with a name of its own. {rebuilt if info.rebuilt else ''}".rstrip(),
    )


def _constants(finished: FinishedRun, inputs: Inputs, needs_model: bool) -> Cell:
    result, dataset = finished.result, finished.project.dataset
    imports = ["import hashlib", "import io", "import json", "import math", "import os", "import re", "import zipfile"]
    lines = [
        comment(f"Run: {finished.run.name} ({finished.run.run_id})"),
        comment(f"Model: {inputs.model_info.file_name}, SHA-256 {finished.project.model.sha256}"),
        comment(f"Dataset: {finished.project.dataset_name}" + (f", SHA-256 {dataset.sha256}" if dataset else "")),
        "from __future__ import annotations",
        "",
        *imports,
        "import gzip",
        "from collections.abc import Iterator, Sequence",
        "from pathlib import Path, PurePosixPath",
        "from typing import Any",
        "",
        'os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TFMOT knows Keras 2 only',
        'os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")',
        'os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # Tare trains on the CPU',
        *([] if finished.report is None or finished.report.one_dnn else ['os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"']),
        "",
        "import numpy as np",
    ]
    if needs_model:
        lines += ["import tensorflow as tf", "import tensorflow_model_optimization as tfmot", "import tf_keras"]
    lines += [
        "",
        'FOLDER = Path(__file__).resolve().parent if "__file__" in globals() else Path.cwd()',
        f'MODEL = FOLDER / "{MODEL_FILE}"',
    ]
    if dataset is not None:
        lines.append(f"DATASET = FOLDER / {dataset.file_name!r}  # put the file here, or change this line")
    lines += [
        f"FROM_LOGITS = {finished.project.fit.from_logits}",
        "Array = np.ndarray",
        "",
        "# What Tare measured.",
        f"TARE = {{'tflite_bytes': {result.tflite_bytes}, 'gzip_bytes': {result.gzip_bytes}, "
        f"{result.metric_name!r}: {result.metric!r}}}",
        f"INTERVAL = ({result.metric_low!r}, {result.metric_high!r})  # 95 %, from the number of test samples",
    ]
    return code(*lines)


def _model_cells(inputs: Inputs, finished: FinishedRun) -> list[Cell]:
    functions: list[Callable[..., Any]] = [
        parts_training.clone, parts_training.representative, parts_training.batches, parts_training.loss_of,
        parts_training.fine_tune, parts_training.measure_batch_statistics, parts_training.freeze_batch_normalization,
        parts_training.keep_zeros, parts_training.start_ranges, parts_training.without_negative_zeros,
        parts_training.converter_of, parts_training.one_by_one, parts_training.calibrated,
    ]  # fmt: skip
    own = {"SpectralNormalization": "tf_keras.layers.SpectralNormalization"}
    needed = [f"{name!r}: {own[name]}" for name in own if name in {layer.class_name for layer in inputs.layers}]
    custom = f", custom_objects={{{', '.join(needed)}}}" if needed else ""
    return [
        words("## The model"),
        code(source_of(*functions)),
        code(
            f"original = tf_keras.models.load_model(MODEL, compile=False{custom})",
            "model = clone(original)",
            "model.summary()",
        ),
    ]


def _step_cells(number: int, written: WrittenStep) -> list[Cell]:
    return [words(f"## Step {number}: {written.step.entry.title}"), code(*written.lines)]


def _measuring_cells(finished: FinishedRun, asks_original: bool) -> list[Cell]:
    functions: list[Callable[..., Any]] = [
        parts_measure.answers_of, parts_measure.as_stored, parts_measure.as_float, parts_measure.gzip_size,
        parts_measure.without_names,
    ]  # fmt: skip
    name = finished.result.metric_name
    originals = "None"
    if asks_original:
        originals = "[np.asarray(one) for one in tf.nest.flatten(original.predict(given, verbose=0))]"
    return [
        words("## Measured, beside Tare"),
        code(source_of(*functions)),
        code(
            "(FOLDER / 'repeated.tflite').write_bytes(tflite)",
            "arrays, labels = PARTS['test']",
            "inputs = inputs_of(arrays)",
            "given = inputs[0] if len(inputs) == 1 else inputs",
            f"originals = {originals}",
            "scores = scores_of(answers_of(tflite, inputs), labels, inputs, originals)",
            f"figures = {{'tflite_bytes': len(tflite), 'gzip_bytes': gzip_size(tflite), {name!r}: float(scores.mean())}}",
            "bare = without_names(tflite)",
            "figures['without_names'] = {'tflite_bytes': len(bare), 'gzip_bytes': gzip_size(bare)}",
            "figures['same_samples'] = bool(same_samples)",
            f"(FOLDER / {FIGURES_FILE!r}).write_text(json.dumps(figures))",
            "",
            "print(' ' * 24 + '          here          Tare')",
            "for figure, unit in (('tflite_bytes', 'bytes'), ('gzip_bytes', 'bytes')):",
            "    print(f'{figure:18}{unit:6}{figures[figure]:>14,}{TARE[figure]:>14,}')",
            f'print(f\'{name:24}{{figures["{name}"]:>14.4f}}{{TARE["{name}"]:>14.4f}}\')',
            'print(f"Tare shortens the names of tensors; without names this file has {len(bare):,} bytes, "',
            '      f"{gzip_size(bare):,} in gzip.")',
            f"is_near = INTERVAL[0] <= figures[{name!r}] <= INTERVAL[1]",
            f"print('The {name} is within the 95 % interval of Tare\\'s.' if is_near else",
            f"      'The {name} is outside of the 95 % interval of Tare\\'s.')",
        ),
    ]


def requirements(finished: FinishedRun) -> str:
    """Return the versions that were at work, as pip reads them; of what else is needed, those that are installed."""
    known = dict(finished.report.versions) if finished.report else {}
    known.pop("keras", None)  # comes with TensorFlow
    more = ("ai-edge-quantizer", "pandas", "pyarrow", "pillow", "flatbuffers")
    return "".join(f"{name}=={found}\n" for name, found in {**{one: version(one) for one in more}, **known}.items())
