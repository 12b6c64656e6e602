"""Archives that lie, written byte by byte: what `zipfile` itself would not write."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

DIRECTORY, LOCAL, END = b"PK\1\2", b"PK\3\4", b"PK\5\6"


def with_members(path: Path, count: int, declared: int | None = None, suffix: str = ".png") -> Path:
    """Write a zip whose directory lists `count` empty members, all at one place, and declares another number of them."""
    declared = count if declared is None else declared
    local = struct.pack("<4s5H3L2H", LOCAL, 20, 0, 0, 0, 0, 0, 0, 0, 9, 0) + b"a/0000000"
    head = struct.pack("<4s6H3L5H2L", DIRECTORY, 20, 20, 0, 0, 0, 0, 0, 0, 0, 9 + len(suffix), 0, 0, 0, 0, 0, 0)
    entries = b"".join(head + f"a/{number:07d}{suffix}".encode() for number in range(count))
    start = len(local)
    end_of_64 = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, declared, declared, len(entries), start
    ) + struct.pack("<4sLQL", b"PK\6\7", 0, start + len(entries), 1)
    end = struct.pack("<4s4H2LH", END, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(local + entries + end_of_64 + end)
    return path


def zeros_zip(path: Path, name: str, size_bytes: int, beginning: bytes = b"") -> Path:
    """Write a zip with a member of so many zeros, after a beginning: a thousandth of that on the disk."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        member.write(beginning)
        left, chunk = size_bytes - len(beginning), bytes(2**22)
        while left > 0:
            member.write(chunk[:left])
            left -= len(chunk)
    return path


def with_declared_size(path: Path, name: str, size_bytes: int) -> Path:
    """Have both headers of a member say another size than it expands to."""
    content = bytearray(path.read_bytes())
    for signature, place, length_of_header in ((LOCAL, 22, 30), (DIRECTORY, 24, 46)):
        start = content.find(signature)
        while start >= 0:
            if content[start + length_of_header :].startswith(name.encode()):
                content[start + place : start + place + 4] = struct.pack("<L", size_bytes)
            start = content.find(signature, start + 1)
    path.write_bytes(content)
    return path


def overlapping(path: Path, names: list[str], content: bytes) -> Path:
    """Write a zip in which all members are the same bytes, the way of the "better zip bomb"."""
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packed.compress(content) + packed.flush()
    checksum, sizes = zlib.crc32(content), (len(data), len(content))
    first = names[0].encode()
    local = struct.pack("<4s5H3L2H", LOCAL, 20, 0, 8, 0, 0, checksum, *sizes, len(first), 0) + first
    entries = b""
    for name in names:
        head = (20, 20, 0, 8, 0, 0, checksum, *sizes, len(name), 0, 0, 0, 0, 0, 0)
        entries += struct.pack("<4s6H3L5H2L", DIRECTORY, *head) + name.encode()
    body = local + data
    counts = (len(names), len(names))
    path.write_bytes(body + entries + struct.pack("<4s4H2LH", END, 0, 0, *counts, len(entries), len(body), 0))
    return path


def special(name: str, mode: int, content: bytes = b"") -> bytes:
    """Return a zip whose only member has the mode of a link, a device, a pipe, ..."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        member = zipfile.ZipInfo(name)
        member.create_system, member.external_attr = 3, (mode | 0o777) << 16
        archive.writestr(member, content)
    return held.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    """Return an ordinary zip."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()
