"""The cells of a script that read the dataset as Tare read it, and bring it to the model as the project's fit says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from intake.arrays_npz import npz_keys
from intake.datasets import load_parsed
from intake.fit import ChannelAxis, Colour, Columns, Fit, Reshape, Resize, Scale, Step
from intake.preprocessing import resized
from intake.split import share_of, split_indices, stratified_draw
from intake.tables import csv_format
from runs.handover import parts_data
from runs.handover.cells import Cell, code, source_of, words
from runs.handover.parts_measure import agreement
from runs.handover.source import Inputs

SAMPLES_FILE = "samples.npz"
"""The random inputs of a project without a dataset, as they are handed over with a script."""


def data_cells(inputs: Inputs) -> list[Cell]:
    """Return the cells that leave `PARTS`: part -> (arrays of samples, labels or None), as Tare has them."""
    info = inputs.dataset_info
    return [
        words("## The data", "", f"As Tare read and split it: {info.split}."),
        code(source_of(*_functions(inputs)), "", "", *_reading(inputs)),
        code(
            "for name, (arrays, labels) in PARTS.items():",
            '    print(f"{name}: {len(arrays[0]):,} samples of shape {arrays[0].shape[1:]}")',
            f"same_samples = fingerprint(PARTS['test']) == {test_fingerprint(inputs.parsed)!r}",
            'print("The test part is the one that Tare measured on." if same_samples else',
            '      "The test part is NOT the one that Tare measured on: the figures cannot be compared.")',
        ),
    ]


def test_fingerprint(parsed: Path) -> str:
    """Return the SHA-256 over the test part of a parsed dataset."""
    part = load_parsed(parsed).part("test")
    return parts_data.fingerprint((list(part.arrays), part.y))


def _functions(inputs: Inputs) -> list[Callable[..., Any]]:
    kind = inputs.dataset_info.kind
    readers: dict[str, list[Callable[..., Any]]] = {
        "arrays": [parts_data.read_npz, parts_data.with_columns],
        "random": [parts_data.read_npz, parts_data.with_columns],
        "table": [
            parts_data.read_table, parts_data.parquet_frame, parts_data.csv_frame, parts_data.text_of,
            parts_data.is_text, parts_data.encoded, parts_data.label_cells,
        ],
        "images": [parts_data.read_images, parts_data.pictures, parts_data.picture],
    }  # fmt: skip
    labels: dict[str, list[Callable[..., Any]]] = {
        "class": [parts_data.class_numbers],
        "multilabel": [parts_data.label_values],
        "value": [parts_data.label_values],
        "none": [],
    }
    return [
        *readers[kind],
        *labels[inputs.dataset_info.label_kind],
        parts_data.fingerprint,
        split_indices,
        share_of,
        parts_data.split_parts,
        stratified_draw,
    ]


def _reading(inputs: Inputs) -> Iterator[str]:
    info, path = inputs.dataset_info, inputs.uploaded_dataset
    options = info.options
    if path is None:
        arrays = len(info.sample_arrays)
        keys = {
            part: ([f"x_{part}_{number}" for number in range(arrays)], "") for part in ("train", "validation", "test")
        }
        yield f"raw = read_npz(FOLDER / {SAMPLES_FILE!r}, {keys!r})"
    elif info.kind == "arrays":
        yield f"raw = read_npz(DATASET, {npz_keys(path, options)!r})"
    elif info.kind == "images":
        yield f"PART_FOLDERS = {parts_data.PART_FOLDERS!r}"
        yield f"IMAGE_ENDINGS = {sorted(parts_data.IMAGE_ENDINGS)!r}"
        size = (*(options.image_size or info.sample_shape[:2]), info.sample_shape[2])
        yield f"raw = read_images(DATASET, {size!r}, has_classes={info.label_kind == 'class'})"
    else:
        delimiter, has_header = (",", True) if path.suffix.lower() == ".parquet" else csv_format(path)
        label = (options.label_column or "") if info.label_kind != "none" else ""
        yield "raw = read_table("
        yield f"    DATASET, delimiter={delimiter!r}, has_header={has_header},"
        yield f"    features={list(options.feature_columns or ())!r},"
        yield f"    label={label!r}, encoding={options.categorical_encoding!r},"
        yield ")"
    yield from _labels(inputs)
    by_class = info.label_kind == "class"
    yield (
        f"PARTS = split_parts(raw, test_share={options.test_share!r}, validation_share={options.validation_share!r}, "
        f"by_class={by_class}, seed={options.seed})"
    )


def _labels(inputs: Inputs) -> Iterator[str]:
    info = inputs.dataset_info
    if info.label_kind == "none":
        yield "raw = {part: (arrays, None) for part, (arrays, _) in raw.items()}"
    elif info.label_kind == "class":
        yield f"CLASS_NAMES = {info.class_names!r}"
        yield "raw = {part: (arrays, class_numbers(labels, CLASS_NAMES)) for part, (arrays, labels) in raw.items()}"
    else:
        yield "raw = {part: (arrays, label_values(labels)) for part, (arrays, labels) in raw.items()}"


def fit_cells(inputs: Inputs, fit: Fit) -> list[Cell]:
    """Return the cells with `inputs_of`, `targets_of` and `scores_of`."""
    resizes = any(isinstance(step, Resize) for feed in fit.feeds for step in feed.preprocessing)
    return [
        words("## How the data goes to the model, and what is measured"),
        code(
            *([source_of(resized), ""] if resizes else []),
            "def inputs_of(arrays):",
            '    """Return what each input of the model takes, float32 (n, ...), from raw samples."""',
            "    return [",
            *(f"        np.array(prepared_{number}(arrays[{feed.array}]), np.float32)," for number, feed in enumerate(fit.feeds)),
            "    ]",
            "",
            *(line for number, feed in enumerate(fit.feeds) for line in _prepared(number, feed.preprocessing)),
            *_targets(inputs, fit),
            "",
            *_scores(fit),
        ),
    ]  # fmt: skip


def _prepared(number: int, steps: Sequence[Step]) -> Iterator[str]:
    yield ""
    yield f"def prepared_{number}(x):"
    for step in steps:
        if line := _step(step):
            yield f"    x = {line}"
    yield "    return x"
    yield ""


def _step(step: Step) -> str:
    match step:
        case Scale():
            return _scale(step)
        case Resize():
            return f"resized(x, {step.height}, {step.width})"
        case Colour(to="rgb"):
            return "np.repeat(x, 3, axis=-1)"
        case Colour():
            return "(x.astype(np.float32) @ np.asarray([0.299, 0.587, 0.114], np.float32))[..., None]"
        case ChannelAxis():
            return {
                "add_last": "x[..., None]",
                "remove_last": "x[..., 0]",
                "first_to_last": "np.moveaxis(x, 1, -1)",
                "last_to_first": "np.moveaxis(x, -1, 1)",
            }[step.action]
        case Reshape():
            return f"x.reshape(len(x), *{step.shape!r})"
        case Columns():
            return f"x[..., {step.first} : {step.first + step.count}]"


def _scale(step: Scale) -> str:
    match step.mode:
        case "none":
            return ""
        case "divide_255":
            return "x.astype(np.float32) / np.float32(255)"
        case "minus_one_to_one":
            return "x.astype(np.float32) / np.float32(127.5) - np.float32(1)"
        case "multiply_255":
            return "x.astype(np.float32) * np.float32(255)"
        case _:
            return f"((x.astype(np.float64) - {list(step.mean)!r}) / {list(step.std)!r}).astype(np.float32)"


def _targets(inputs: Inputs, fit: Fit) -> Iterator[str]:
    if fit.task == "agreement":  # nothing is trained or measured by labels
        return
    yield "def targets_of(labels, inputs, loss):"
    yield '    """Return what the loss compares the answers with."""'
    classes = len(inputs.dataset_info.class_names)
    match fit.task:
        case "reconstruction":
            yield "    return inputs[0]"
        case "classification":
            order = fit.class_order or tuple(range(classes))
            yield f"    units = np.argsort({list(order)!r})[labels]  # unit of the model for each class"
            yield "    if loss == 'sparse_categorical_crossentropy':"
            yield "        return units"
            yield f"    return np.eye({classes}, dtype=np.float32)[units]"
        case "binary_classification":
            positive = fit.class_order[1] if fit.class_order else 1
            yield f"    return np.asarray(labels == {positive}, np.float32).reshape(-1, 1)"
        case "multilabel_classification":
            yield f"    return np.asarray(labels, np.float32)[:, {list(fit.class_order) or list(range(classes))!r}]"
        case _ if inputs.dataset_info.label_kind == "class":
            numbers = [float(name) for name in inputs.dataset_info.class_names]
            yield f"    return np.asarray({numbers!r}, np.float32)[labels].reshape(-1, 1)"
        case _:
            yield "    return np.asarray(labels, np.float32)"
    yield ""


def _scores(fit: Fit) -> Iterator[str]:
    """`scores_of(answers, labels, inputs, originals)` gives the metric of each sample, float64 (n,)."""
    yield "def scores_of(answers, labels, inputs, originals):"
    yield f'    """Return the {fit.metric_name} of each sample, float64 (n,)."""'
    half = 0.0 if fit.from_logits else 0.5
    if fit.task == "agreement":
        yield f"    kinds, half = {fit.outputs!r}, {half}"
        yield "    each = [agreement(kind, half, *pair) for kind, *pair in zip(kinds, answers, originals)]"
        yield "    return np.mean([one.reshape(len(one), -1).mean(axis=1) for one in each], axis=0)"
        yield ""
        yield ""
        yield from source_of(agreement).splitlines()
        return
    yield "    count = len(answers[0])"
    if fit.metric_name == "accuracy" and fit.task == "classification":
        yield "    units = targets_of(labels, inputs, 'sparse_categorical_crossentropy')"
        yield "    return np.asarray(answers[0].reshape(count, -1).argmax(axis=1) == units, np.float64)"
        return
    yield "    truth = targets_of(labels, inputs, '').reshape(count, -1)"
    if fit.metric_name == "accuracy":
        yield f"    return ((answers[0].reshape(count, -1) > {half}) == (truth > 0.5)).mean(axis=1)"
        return
    yield "    difference = answers[0].reshape(count, -1).astype(np.float64) - truth"
    yield f"    return {'np.abs(difference)' if fit.metric_name == 'mae' else '(difference**2)'}.mean(axis=1)"
