"""Uploaded files on disk: streamed, hashed, never held in memory."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import BinaryIO

from intake.errors import UserError
from runs.paths import upload_path
from runs.records import Upload
from runs.settings import Settings
from runs.whole_files import write_whole

CHUNK_BYTES = 1 << 20
RECORD_NAME = "upload.json"


def store_upload(settings: Settings, name: str, stream: BinaryIO) -> Upload:
    """Copy a stream under the home folder and return what is known of it.

    The same content under the same name is stored once. Raises UserError where it is empty or too large; then
    nothing stays behind.
    """
    folder = settings.folder("uploads")
    temporary = folder / f".{secrets.token_hex(8)}.part"
    try:
        digest, size = _copy(stream, temporary, settings.max_upload_mb, name)
        upload = _describe(_safe_name(name), digest, size)
        path = upload_path(settings, upload)
        path.parent.mkdir(exist_ok=True)
        os.replace(temporary, path)
        write_whole(path.parent / RECORD_NAME, upload.model_dump_json().encode())
        return upload
    finally:
        temporary.unlink(missing_ok=True)


def find_upload(settings: Settings, upload_id: str) -> Upload:
    """Return a stored upload; raises UserError where there is none of that id."""
    record = settings.folder("uploads") / re.sub(r"[^0-9a-f]", "", upload_id) / RECORD_NAME
    if not upload_id or not record.is_file():
        raise UserError("This upload is no longer here. Upload the file again.")
    return Upload.model_validate_json(record.read_text())


def _copy(stream: BinaryIO, target: Path, max_upload_mb: int, name: str) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        while chunk := stream.read(CHUNK_BYTES):
            size += len(chunk)
            if size > max_upload_mb << 20:
                raise UserError(
                    f"{name} is larger than {max_upload_mb} MB, the most that this installation takes. "
                    "Upload a smaller file, or raise TARE_MAX_UPLOAD_MB."
                )
            digest.update(chunk)
            file.write(chunk)
    if not size:
        raise UserError(f"{name} is empty (0 bytes). Upload the file again.")
    return digest.hexdigest(), size


def _describe(name: str, digest: str, size: int) -> Upload:
    upload_id = hashlib.sha256(f"{name}\0{digest}".encode()).hexdigest()[:16]
    return Upload(upload_id=upload_id, file_name=name, size_bytes=size, sha256=digest)


def _safe_name(name: str) -> str:
    base = re.sub(r"[^\w.\-+() ]", "_", Path(name.replace("\\", "/")).name).strip(" .") or "upload"
    if base == RECORD_NAME:
        base = f"_{base}"
    stem, suffix = os.path.splitext(base)
    return stem.encode()[:180].decode(errors="ignore") + suffix.encode()[:20].decode(errors="ignore")
