"""Opening an uploaded zip without trusting it: names, links, member count and expanded size come first."""

from __future__ import annotations

import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from intake.errors import BadDataset
from intake.parts import EXPANDED_LIMIT_BYTES
from intake.zip_members import has_more_members

ZIP_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` raises on damaged, encrypted or exotic archives."""


def open_zip(path: Path, what: str, member_limit: int) -> tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]:
    """Open a zip and return it with its members (folders left out) after checking their declared sizes and names.

    `zipfile` never returns more bytes of a member than it declares, so checking the declared sizes is enough.

    Args:
        what: what the file should be, for the sentences ("a NumPy .npz archive").
        member_limit: most members allowed, end included.

    Raises:
        BadDataset: not a readable zip, too many members, too large, encrypted, links, or unsafe names.
    """
    if has_more_members(path, member_limit):
        raise BadDataset(
            f"{path.name} must have at most {member_limit:,} members, but it has more. Upload fewer files."
        )
    try:
        archive = zipfile.ZipFile(path)
        members = archive.infolist()
    except ZIP_ERRORS as error:
        raise BadDataset(
            f"{path.name} must be {what}, but it cannot be opened as one ({error}): it is damaged, cut short, or "
            "another kind of file. Upload the complete file again."
        ) from error
    problems = _problems(path.name, members)
    if problems:
        archive.close()
        raise BadDataset(problems)
    return archive, [member for member in members if not member.is_dir()]


def _problems(name: str, members: list[zipfile.ZipInfo]) -> list[str]:
    problems = []
    expanded = sum(member.file_size for member in members)
    if expanded > EXPANDED_LIMIT_BYTES:
        problems.append(
            f"{name} must unpack to at most {EXPANDED_LIMIT_BYTES / 2**30:.0f} GiB, but it declares "
            f"{expanded / 2**30:.1f} GiB. Upload fewer or smaller files."
        )
    rules: tuple[tuple[Callable[[zipfile.ZipInfo], bool], str, str], ...] = (
        (_has_no_name, "has no name", "It is damaged: pack it again."),
        (lambda m: bool(m.flag_bits & 1), "is encrypted", "Pack it again without a password."),
        (lambda m: stat.S_ISLNK(m.external_attr >> 16), "is a link", "Pack the files themselves."),
        (lambda m: _leaves_folder(m.filename), "points outside of the archive", "Pack it again with relative names."),
    )
    for broken, what, remedy in rules:
        found = [member.filename for member in members if broken(member)]
        if found:
            problems.append(f"{name} cannot be used: its member {found[0]!r} {what}{_more(found)}. {remedy}")
    return problems


def _has_no_name(member: zipfile.ZipInfo) -> bool:
    """Also of a file that is called like the folder itself, "."."""
    is_folder = member.filename.endswith("/")
    return not member.filename or not (is_folder or PurePosixPath(member.filename.replace("\\", "/")).parts)


def _leaves_folder(member: str) -> bool:
    path = PurePosixPath(member.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or (bool(path.parts) and path.parts[0].endswith(":"))


def _more(found: list[str]) -> str:
    return f", and so do {len(found) - 1} more" if len(found) > 1 else ""
