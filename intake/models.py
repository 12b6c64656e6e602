"""Model files in and out: any Keras format -> one clean tf_keras model, and back to the format that was uploaded.

Importing this module loads neither TensorFlow nor Keras.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intake import keras_env
from intake.custom_objects import register_custom_objects
from intake.errors import UnsupportedModel, UserError
from intake.keras3_rebuild import in_order_of_shapes
from intake.model_clean_copy import write_clean_copy
from intake.model_cleaning import clean_keras2, clean_keras3
from intake.model_description import describe_model
from intake.model_graph import Keras2Library, Keras3Library, layer_names
from intake.model_info import ModelInfo
from intake.model_scan import ScannedModel, scan_model
from intake.saved_model_scan import ScannedSavedModel
from intake.saved_models import open_saved_model, save_saved_model

PREPARED_MODEL = "model.h5"
PREPARED_INFO = "info.json"


def inspect_model(path: Path, prepared_dir: Path, on_scanned: Callable[[], None] = lambda: None) -> ModelInfo:
    """Open an uploaded model, make it one clean tf_keras model and keep that in `prepared_dir`.

    The clean model is functional, float32, without nested models, with unique layer names and a free batch axis; its
    outputs were compared with those of the uploaded one. Writes `model.h5` and `info.json`, each in one step.

    Args:
        path: the uploaded file (.keras, .h5, .hdf5, .zip of a SavedModel); its name is kept in the returned info.
        prepared_dir: created if needed.
        on_scanned: called once the file was looked through, before anything of it is loaded.

    Raises:
        UnsupportedModel: the file must not or cannot be opened, or has no equal in Keras 2.
    """
    scanned = scan_model(path)
    on_scanned()
    with _opened(scanned) as opened, _rewording(scanned, "could be opened, but not run on a random batch"):
        model, largest = clean_keras3(opened.model) if scanned.is_keras3 else clean_keras2(opened.model)
    info = describe_model(scanned, model, max(largest, opened.difference), opened.notes)
    prepared_dir.mkdir(parents=True, exist_ok=True)
    _write_in_one_step(prepared_dir / PREPARED_MODEL, lambda target: _save_hdf5(model, target))
    _write_in_one_step(
        prepared_dir / PREPARED_INFO, lambda target: target.write_text(info.model_dump_json(indent=2), encoding="utf-8")
    )
    return info


def load_prepared(prepared_dir: Path) -> Any:
    """Return the clean tf_keras model of `inspect_model`, not compiled. Each call gives a new, independent object.

    Raises:
        FileNotFoundError: nothing was prepared in this folder.
    """
    path = prepared_dir / PREPARED_MODEL
    if not path.is_file():
        raise FileNotFoundError(f"No prepared model in {prepared_dir}: call inspect_model first.")
    register_custom_objects()
    return keras_env.keras2().models.load_model(str(path), compile=False)


def save_as_uploaded(model: Any, uploaded: Path, info: ModelInfo, target_dir: Path) -> Path:
    """Write the weights of `model` into the uploaded model and save that in the format that was uploaded.

    Structure, nesting and format stay as uploaded (for Keras 3 files: readable by plain Keras 3); no optimizer state. A
    SavedModel comes back as a zip that serves the same signature.

    Args:
        model: tf_keras model with the layer names of the prepared one, wrappers stripped. Any weights may differ.
        uploaded: the uploaded file.
        info: what `inspect_model` returned for it; the new file is named after `info.file_name`.
        target_dir: created if needed.

    Returns:
        The path of the new file.

    Raises:
        ValueError: a layer with weights has no counterpart of the same name and shapes on the other side.
        UnsupportedModel: the uploaded file cannot be opened any more.
    """
    scanned = scan_model(uploaded)
    target = target_dir / _returned_name(Path(info.file_name), scanned)
    target_dir.mkdir(parents=True, exist_ok=True)
    with _opened(scanned) as opened:
        _transfer_weights(model, _named_layers(scanned, opened.model))
        _write_in_one_step(target, lambda path: _save_as(scanned, opened.whole or opened.model, path))
    return target


def _save_as(scanned: ScannedModel, original: Any, path: Path) -> None:
    if isinstance(scanned, ScannedSavedModel):
        save_saved_model(original, scanned, path)
    else:
        original.save(str(path))


@dataclass(frozen=True)
class _Opened:
    """An uploaded model as the Keras that it needs opened it."""

    model: Any
    notes: tuple[str, ...]
    """What was mended."""
    difference: float = 0.0
    """Largest difference of outputs that opening brought."""
    whole: Any = None
    """The model of a custom class whose layers `model` shares; None where that is `model` itself."""


@contextmanager
def _opened(scanned: ScannedModel) -> Iterator[_Opened]:
    """Open a scanned model; files that it needs are there as long as the context."""
    with tempfile.TemporaryDirectory() as folder:
        with _rewording(scanned, "passed the safety checks, but Keras cannot open it"):
            opened = _open(scanned, Path(folder))
        if not getattr(opened.model, "inputs", None):
            raise UnsupportedModel(
                f"{scanned.path.name} does not say which shape its input has. Build the model (call it once, or start "
                "it with an Input layer) and save it again."
            )
        yield opened


def _open(scanned: ScannedModel, folder: Path) -> _Opened:
    if isinstance(scanned, ScannedSavedModel):
        return _Opened(*open_saved_model(scanned, folder))
    register_custom_objects()
    copy = write_clean_copy(scanned, folder)
    library = keras_env.keras3() if scanned.is_keras3 else keras_env.keras2()
    model = library.models.load_model(str(copy.path), compile=False, safe_mode=True)
    if getattr(model, "inputs", None):
        return _Opened(model, copy.notes)
    return _Opened(_functional(library, model, scanned.config.get("build_config")), copy.notes, whole=model)


def _functional(library: Any, model: Any, build_config: Any) -> Any:
    """Return a functional model of the layers that a subclassed model calls, or the model itself where none is known."""
    shape = build_config.get("input_shape") if isinstance(build_config, dict) else None
    if not isinstance(shape, list) or any(isinstance(size, list) for size in shape):
        return model
    inputs = library.Input(shape=tuple(shape[1:]))
    return library.Model(inputs, model.call(inputs), name=model.name)


@contextmanager
def _rewording(scanned: ScannedModel, what_happened: str) -> Iterator[None]:
    """Turn whatever Keras raises while it opens or runs a model into a sentence for the user."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UnsupportedModel(
            f"{scanned.path.name} (saved by {scanned.saved_by}) {what_happened}: {reason}. {_what_to_do(scanned)}"
        ) from error


def _what_to_do(scanned: ScannedModel) -> str:
    if "'channels_first'" in str(scanned.config):
        return (
            "Some of its layers have data_format='channels_first', which processors and TensorFlow Lite do not run. "
            "Rebuild it with channels_last."
        )
    return "Open it in the Keras that wrote it and save it again with model.save('model.keras')."


def _named_layers(scanned: ScannedModel, original: Any) -> dict[str, Any]:
    return layer_names(Keras3Library() if scanned.is_keras3 else Keras2Library(), original)


def _transfer_weights(model: Any, originals: dict[str, Any]) -> None:
    given = {layer.name: layer for layer in model.layers if layer.weights}
    wanted = {name: layer for name, layer in originals.items() if layer.weights}
    missing, unknown = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing or unknown:
        raise ValueError(
            "The weights cannot be written back: the layer names differ from those of the uploaded model "
            f"(missing: {missing or 'none'}; unknown: {unknown or 'none'})."
        )
    for name, layer in wanted.items():
        new = in_order_of_shapes(given[name].get_weights(), [tuple(weight.shape) for weight in layer.weights])
        if [weight.shape for weight in new] != [weight.shape for weight in layer.get_weights()]:
            raise ValueError(
                f"The weights of layer '{name}' cannot be written back: the uploaded model has the shapes "
                f"{[weight.shape for weight in layer.get_weights()]}, received {[weight.shape for weight in new]}."
            )
        layer.set_weights(new)


def _returned_name(name: Path, scanned: ScannedModel) -> str:
    """The extension must fit the content: an HDF5 file that was uploaded as .keras goes back as .h5."""
    fitting: tuple[str, ...] = (".keras",) if scanned.is_zip else (".h5", ".hdf5")
    if isinstance(scanned, ScannedSavedModel):
        fitting = (".zip",)
    return name.name if name.suffix in fitting else name.stem + fitting[0]


def _save_hdf5(model: Any, target: Path) -> None:
    model.save(str(target), save_format="h5", include_optimizer=False)


def _write_in_one_step(target: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a file beside `target`, then put it in place: readers see all of it or nothing."""
    with tempfile.TemporaryDirectory(prefix=f".writing_{os.getpid()}_", dir=target.parent) as folder:
        unfinished = Path(folder) / target.name
        write(unfinished)
        os.replace(unfinished, target)
