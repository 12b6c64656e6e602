"""Read an uploaded model file as plain data and judge it before any Keras opens it.

tf_keras runs the code inside a Lambda layer while it loads an HDF5 file, safe mode or not, so this scan is the
guard: only files that pass it are opened. Nothing here imports TensorFlow or Keras.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from intake.errors import UnsupportedModel
from intake.keras1_config import in_words_of_keras2
from intake.keras3_hdf5_operations import with_modules_of_operations
from intake.model_config_scan import config_problems
from intake.model_hdf5_scan import hdf5_problems
from intake.model_info import UploadedFormat
from intake.saved_model_files import graph_members, saved_model_problems
from intake.zip_members import has_more_members

ACCEPTED_EXTENSIONS = (".keras", ".h5", ".hdf5", ".zip")
MAX_ZIP_MEMBERS = 1_000
MAX_EXPANDED_BYTES = 4 * 1024**3
MAX_JSON_BYTES = 64 * 1024**2
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SAVE_AGAIN = "Save the whole model with model.save('model.keras') and upload that file."


@dataclass(frozen=True)
class ScannedModel:
    """What an uploaded model file says of itself, read without Keras."""

    path: Path
    uploaded_format: UploadedFormat
    saved_by: str
    """For people: "Keras 2.6.0", "Keras (version not recorded)"."""
    config: dict[str, Any]
    """The parsed `model_config` (HDF5; of Keras 1 in the words of Keras 2) or `config.json` (.keras). Not yet cleaned."""
    metadata: dict[str, Any]
    """`metadata.json` of a .keras file; empty for HDF5."""
    file_bytes: int
    sha256: str
    saved_loss: str | None = None
    """snake_case name of the loss the model was compiled with, if it can be read and is the only one."""
    saved_loss_from_logits: bool | None = None

    @property
    def is_zip(self) -> bool:
        return self.uploaded_format in ("keras2", "keras3")

    @property
    def is_keras3(self) -> bool:
        return self.uploaded_format in ("keras3", "h5_keras3")


def scan_model(path: Path) -> ScannedModel:
    """Read and judge a model file by its content (the extension must be .keras, .h5, .hdf5 or .zip).

    Raises:
        UnsupportedModel: the file is no Keras model, is damaged, holds weights only, holds code or classes that
            are not built in Keras, or reaches outside itself. All the problems found, each in a sentence.
    """
    if path.suffix.lower() not in ACCEPTED_EXTENSIONS:
        raise UnsupportedModel(_wrong_extension(path))
    with _rewording(path.name):
        kind = _content_kind(path)
        if kind == "hdf5":
            return _scan_hdf5(path)
        if kind == "zip":
            return _scan_zip(path)
    raise UnsupportedModel(
        f"{path.name} is neither an HDF5 file nor a .keras archive: its first bytes fit neither format, so it is "
        f"damaged, cut off or of another kind. {_SAVE_AGAIN}"
    )


def _wrong_extension(path: Path) -> str:
    received = f"'{path.suffix}'" if path.suffix else "no extension"
    hint = "zip the whole folder that holds it, or " if path.suffix.lower() == ".pb" else ""
    return (
        f"{path.name} has {received}; a model must be a .keras, .h5 or .hdf5 file, or a .zip of a SavedModel folder: {hint}"
        "open the model in Keras, save it with model.save('model.keras') and upload that file."
    )


@contextmanager
def _rewording(file_name: str) -> Iterator[None]:
    """Turn whatever h5py, zipfile or json raise on a damaged file into a sentence for the user."""
    try:
        yield
    except UnsupportedModel:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnsupportedModel(
            f"{file_name} is damaged or incomplete and cannot be read ({reason}). Upload it again, or save the model "
            "again if that does not help."
        ) from error


def _content_kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise UnsupportedModel(f"{path.name} is empty (0 bytes). Upload the file again.")
    if any(head[start : start + 8] == _HDF5_SIGNATURE for start in (0, 512, 1024, 2048)):
        return "hdf5"
    return "zip" if head[:4] == b"PK\x03\x04" else "unknown"


def _scan_hdf5(path: Path) -> ScannedModel:
    with h5py.File(path, "r") as file:
        problems = hdf5_problems(file, path.name)
        if problems:
            raise UnsupportedModel(problems)
        text = _text_attribute(file, "model_config")
        if text is None:
            raise UnsupportedModel(_weights_only(path, file))
        version = _text_attribute(file, "keras_version") or _weights_attribute(file, "keras_version")
        training = _optional_json(_text_attribute(file, "training_config"))
    if len(text) > MAX_JSON_BYTES:
        raise UnsupportedModel(_too_long("The model description", path.name, len(text)))
    version = version or ("3" if _looks_like_keras3(text) else None)
    keras3 = (version or "").startswith("3")
    parsed = _parsed(text, path.name)
    config = with_modules_of_operations(parsed) if keras3 else in_words_of_keras2(parsed)
    problems = config_problems(config, path.name)
    if problems:
        raise UnsupportedModel(problems)
    return _scanned(path, "h5_keras3" if keras3 else "h5", version, config, {}, training)


def _text_attribute(item: h5py.Group, name: str) -> str | None:
    if name not in item.attrs:
        return None
    value = item.attrs[name]
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _weights_attribute(file: h5py.File, name: str) -> str | None:
    weights = file.get("model_weights")
    return _text_attribute(weights, name) if isinstance(weights, h5py.Group) else None


def _weights_only(path: Path, file: h5py.File) -> str:
    groups = [str(name) for name in file][:3]
    found = f"found: {', '.join(groups)}" if groups else "the file is empty"
    return (
        f"{path.name} holds no model description, only arrays ({found}): it was probably written by save_weights(). "
        f"{_SAVE_AGAIN}"
    )


def _scan_zip(path: Path) -> ScannedModel:
    if has_more_members(path, MAX_ZIP_MEMBERS):
        raise UnsupportedModel(
            f"{path.name} holds more than {MAX_ZIP_MEMBERS:,} members, the most that are accepted. Zip only what belongs to "
            "the model; samples are uploaded as the dataset."
        )
    with zipfile.ZipFile(path) as archive:
        problems = _archive_problems(archive, path.name)
        if not problems and graph_members(archive.namelist()):
            return _scan_saved_model(path, archive)
        problems = problems or _missing_members(archive, path.name)
        if problems:
            raise UnsupportedModel(problems)
        config = _parsed(_json_member(archive, "config.json"), path.name)
        metadata = _parsed(_json_member(archive, "metadata.json"), path.name)
        problems = config_problems(config, path.name) + _weights_problems(archive, path.name)
    if problems:
        raise UnsupportedModel(problems)
    metadata = metadata if isinstance(metadata, dict) else {}
    version = metadata.get("keras_version")
    version = version if isinstance(version, str) else None
    keras3 = version.startswith("3") if version else _looks_like_keras3(json.dumps(config))
    training = config.get("compile_config")
    return _scanned(path, "keras3" if keras3 else "keras2", version, config, metadata, training)


def _archive_problems(archive: zipfile.ZipFile, file_name: str) -> list[str]:
    members = archive.infolist()
    problems = [
        f"{file_name} holds the member '{member.filename[:80]}', which would be written outside its folder or is a "
        "link. Such an archive is not opened."
        for member in members
        if _member_escapes(member)
    ]
    expanded = sum(member.file_size for member in members)
    if expanded > MAX_EXPANDED_BYTES:
        problems.append(
            f"{file_name} expands to {expanded / 1024**3:,.2f} GiB; at most {MAX_EXPANDED_BYTES / 1024**3:.0f} GiB are "
            "accepted. Upload a smaller model."
        )
    return problems


def _missing_members(archive: zipfile.ZipFile, file_name: str) -> list[str]:
    names = archive.namelist()
    missing = [name for name in ("config.json", "metadata.json", "model.weights.h5") if name not in names]
    if not missing:
        return []
    if file_name.lower().endswith(".zip"):
        return [
            f"{file_name} is a zip without a saved_model.pb, so it is no SavedModel. If it holds samples, upload it as the "
            f"dataset. If it is a model: zip the whole folder that model.export() wrote. Found: {', '.join(names[:3])}."
        ]
    return [f"{file_name} is a zip archive without {', '.join(missing)}, so it is no .keras model. {_SAVE_AGAIN}"]


def _scan_saved_model(path: Path, archive: zipfile.ZipFile) -> ScannedModel:
    from intake.saved_model_scan import scan_saved_model  # which needs this module

    problems = saved_model_problems(archive, path.name)
    if problems:
        raise UnsupportedModel(problems)
    return scan_saved_model(path, archive.namelist(), _digest(path))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _member_escapes(member: zipfile.ZipInfo) -> bool:
    name = member.filename.replace("\\", "/")
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    return is_link or name.startswith("/") or ":" in name.split("/")[0] or ".." in name.split("/")


def _json_member(archive: zipfile.ZipFile, name: str) -> str:
    size = archive.getinfo(name).file_size
    if size > MAX_JSON_BYTES:
        raise UnsupportedModel(_too_long(name, "the archive", size))
    return archive.read(name).decode("utf-8")


def _too_long(what: str, where: str, size_bytes: int) -> str:
    return (
        f"{what} inside {where} has {size_bytes:,} bytes; at most {MAX_JSON_BYTES:,} are accepted, many times what the "
        "largest networks need. Save the model again without what does not belong to it."
    )


def _weights_problems(archive: zipfile.ZipFile, file_name: str) -> list[str]:
    with tempfile.TemporaryFile() as weights:
        with archive.open("model.weights.h5") as member:
            shutil.copyfileobj(member, weights)
        weights.seek(0)
        with h5py.File(weights, "r") as file:
            return hdf5_problems(file, file_name)


def _parsed(text: str, file_name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnsupportedModel(
            f"The model description inside {file_name} is not valid JSON, so the file is damaged. {_SAVE_AGAIN}"
        ) from error


def _optional_json(text: str | None) -> object:
    """Parse what is only nice to have; a file whose training settings are unreadable is still a model."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _looks_like_keras3(text: str) -> bool:
    return '"DTypePolicy"' in text or '"batch_shape"' in text


def _scanned(
    path: Path,
    uploaded_format: UploadedFormat,
    version: str | None,
    config: dict[str, Any],
    metadata: dict[str, Any],
    training: object,
) -> ScannedModel:
    loss, from_logits = _saved_loss(training)
    return ScannedModel(
        path=path,
        uploaded_format=uploaded_format,
        saved_by=f"Keras {version}" if version and "." in version else "Keras (version not recorded)",
        config=config,
        metadata=metadata,
        file_bytes=path.stat().st_size,
        sha256=_digest(path),
        saved_loss=loss,
        saved_loss_from_logits=from_logits,
    )


def _saved_loss(training: object) -> tuple[str | None, bool | None]:
    """Read (name, from_logits) of the one loss in a training_config or compile_config."""
    loss = training.get("loss") if isinstance(training, dict) else None
    if isinstance(loss, list) and len(loss) == 1:
        loss = loss[0]
    if isinstance(loss, str):
        return _snake_case(loss), False
    if not isinstance(loss, dict) or not isinstance(loss.get("class_name"), str):
        return None, None
    settings = loss.get("config")
    if loss["class_name"] == "function":
        return (_snake_case(settings), False) if isinstance(settings, str) else (None, None)
    from_logits = settings.get("from_logits", False) if isinstance(settings, dict) else None
    return _snake_case(loss["class_name"]), from_logits if isinstance(from_logits, bool) else None


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
