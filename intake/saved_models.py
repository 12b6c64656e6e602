"""Open a zipped SavedModel as a tf_keras model, and write one back.

Two ways lead to a Keras model, and neither loads the SavedModel itself: where Keras recorded a Sequential or functional
model of built-in layers, it is built from that and gets the saved weights; else the graph of a signature is translated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from intake import keras_env
from intake.custom_objects import register_custom_objects
from intake.errors import UnsupportedModel
from intake.model_probe import TOLERANCE, difference, outputs_of, probe_batch
from intake.saved_model_files import VARIABLES, pack, unpack
from intake.saved_model_graph import Array, SignatureGraph, arguments_of
from intake.saved_model_scan import ScannedSavedModel
from intake.saved_model_translation import Translation

FROM_SIGNATURE = "The model was rebuilt from the signature '{key}' of the SavedModel, operation by operation, and gives the same outputs."


def open_saved_model(scanned: ScannedSavedModel, folder: Path) -> tuple[Any, tuple[str, ...], float]:
    """Return a tf_keras model, notes for the user, and the largest difference to the signature on a probe batch.

    Args:
        scanned: a SavedModel that was judged.
        folder: empty folder to unpack into.

    Raises:
        UnsupportedModel: there is no Keras model of it, or it computes something else.
    """
    register_custom_objects()
    unpacked = folder / "saved_model"
    unpack(scanned.path, unpacked)
    problems = list(scanned.reasons)
    if scanned.config:
        try:
            model, notes = _from_keras(scanned, unpacked)
            return model, notes, 0.0
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            problems.append(f"What Keras recorded of the model cannot be built again ({reason}).")
    if not scanned.signature:
        raise UnsupportedModel(problems)
    try:
        model, largest = _from_signature(scanned, unpacked)
    except UnsupportedModel as error:
        raise UnsupportedModel([*problems, *error.problems]) from error
    return model, (FROM_SIGNATURE.format(key=scanned.signature),), largest


# ---------------------------------------------------------------- from what Keras recorded


def _from_keras(scanned: ScannedSavedModel, unpacked: Path) -> tuple[Any, tuple[str, ...]]:
    from intake.model_clean_copy import cleaned_config

    keras = keras_env.keras2()
    config, notes = cleaned_config(scanned.config)
    kind = keras.Sequential if config["class_name"] == "Sequential" else keras.Model
    model = kind.from_config(config["config"])
    if not model.built or not getattr(model, "inputs", None):
        if not scanned.build_shape:
            raise ValueError("the shape of the input was not recorded")
        model.build((None, *scanned.build_shape[1:]))
    status = model.load_weights(str(unpacked / VARIABLES))
    status.assert_existing_objects_matched().expect_partial()
    return model, notes


# ---------------------------------------------------------------- from the graph of a signature


def _from_signature(scanned: ScannedSavedModel, unpacked: Path) -> tuple[Any, float]:
    graph = SignatureGraph(scanned, unpacked)
    largest = float("inf")
    for zeros_for_mask in (False, True):
        translation = Translation(graph, zeros_for_mask)
        model = translation.model()
        largest, within = _compared(graph, model)
        if within:
            return model, largest
        if not translation.masked:
            break
    raise UnsupportedModel(
        f"The signature '{graph.key}' of {scanned.path.name} could be rebuilt of Keras layers, but computes something else "
        f"there: on random inputs its outputs differ by up to {largest:.3g}, and at most {TOLERANCE:g} is accepted. Save "
        "the model with model.save('model.keras') and upload that file."
    )


def _compared(graph: SignatureGraph, model: Any) -> tuple[float, bool]:
    batch = [
        array.astype(argument.dtype) for array, argument in zip(probe_batch(model), graph.inputs, strict=True)
    ]  # fmt: skip
    fixed = {argument.shape[0] for argument in graph.inputs} - {None}
    expected = _run_in_parts(graph, batch, fixed.pop()) if fixed else graph.run(batch)
    expected = [item.astype(np.float32) if item.dtype.kind == "f" else item for item in expected]
    return difference(expected, outputs_of(model, [_narrow(item) for item in batch]))


def _narrow(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _run_in_parts(graph: SignatureGraph, batch: list[Array], size: int | None) -> list[Array]:
    """Run a signature with a fixed batch size on any number of samples."""
    count, size = len(batch[0]), size or 1
    rows = [np.arange(start, start + size) % count for start in range(0, count, size)]
    parts = [graph.run([array[picked] for array in batch]) for picked in rows]
    return [np.concatenate(items)[:count] for items in zip(*parts, strict=True)]


# ---------------------------------------------------------------- back to a SavedModel


def save_saved_model(model: Any, scanned: ScannedSavedModel, target: Path) -> None:
    """Write a tf_keras model as a zipped SavedModel that serves the signature of the uploaded one under its names."""
    folder = target.parent / "saved_model"
    signatures = _signatures(model, scanned)
    # Tracing every layer takes a minute for recurrent ones, and Keras opens built-in layers without it.
    model.save(str(folder), save_format="tf", include_optimizer=False, signatures=signatures, save_traces=False)
    pack(folder, target, scanned.folder)


def _signatures(model: Any, scanned: ScannedSavedModel) -> Any:
    """Name inputs and outputs as in the upload; None leaves it to Keras, where the numbers of them differ."""
    tf = keras_env.tensorflow()
    key = scanned.signature
    if not key:
        return None
    signature = scanned.graph.signature_def[key]
    inputs, outputs = arguments_of(signature.inputs), arguments_of(signature.outputs)
    if len(inputs) != len(model.inputs) or len(outputs) != len(model.outputs):
        return None
    places = _places([item.key for item in inputs], [name.split("/")[0] for name in model.input_names])
    shown = _places([item.key for item in outputs], list(model.output_names))
    specs = {
        item.key: tf.TensorSpec(model.inputs[place].shape, model.inputs[place].dtype, item.key)
        for item, place in zip(inputs, places, strict=True)
    }

    def serve(**arrays: Any) -> dict[str, Any]:
        ordered: list[Any] = [None] * len(inputs)
        for item, place in zip(inputs, places, strict=True):
            ordered[place] = arrays[item.key]
        results = tf.nest.flatten(model(ordered if len(ordered) > 1 else ordered[0], training=False))
        return {item.key: results[place] for item, place in zip(outputs, shown, strict=True)}

    return {key: tf.function(serve).get_concrete_function(**specs)}


def _places(wanted: list[str], present: list[str]) -> list[int]:
    """Where each wanted name is; in order, where the names are others."""
    if sorted(wanted) == sorted(present):
        return [present.index(name) for name in wanted]
    return list(range(len(wanted)))
