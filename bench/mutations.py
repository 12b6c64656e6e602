"""Ways to spoil a file: blindly, and by what its format makes of it."""

from __future__ import annotations

import io
import json
import random
import re
import stat
import zipfile
from collections.abc import Callable
from typing import Any

import yaml

Mutation = Callable[[bytes, random.Random], bytes]

_NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**63), 1e308, float("nan"), 0.5)
_TEXTS = ("", "x" * 5000, "../../etc/passwd", "\0", "é" * 3, "{0.__class__}", "=1+1", "Lambda", "os.system", "float99")
_NAMES = ("../outside", "/absolute", "a/../../b", "C:\\x", "con", "config.json", "\u202egnp", "x" * 300)


def flipped(content: bytes, chance: random.Random) -> bytes:
    """Some bytes are others."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 4, 64, 1024))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def cut(content: bytes, chance: random.Random) -> bytes:
    """The end is missing."""
    return content[: chance.randrange(1, len(content))]


def zeroed(content: bytes, chance: random.Random) -> bytes:
    """A stretch is zeros."""
    start, length = chance.randrange(len(content)), chance.choice((1, 16, 512, 8192))
    return content[:start] + b"\0" * min(length, len(content) - start) + content[start + length :]


def repeated(content: bytes, chance: random.Random) -> bytes:
    """A stretch comes twice."""
    start, length = chance.randrange(len(content)), chance.choice((1, 16, 512, 8192))
    return content[: start + length] + content[start:]


def grown(content: bytes, chance: random.Random) -> bytes:
    """Bytes are put in that mean nothing."""
    start = chance.randrange(len(content))
    return content[:start] + chance.randbytes(chance.choice((1, 16, 512))) + content[start:]


BLIND: tuple[Mutation, ...] = (flipped, cut, zeroed, repeated, grown)


def of_archive(content: bytes, chance: random.Random) -> bytes:
    """One member of a zip is spoilt, renamed, missing, twice there, a link, or one of very many."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    chosen = chance.randrange(len(members))
    how = chance.choice(("spoil", "spoil", "rename", "drop", "twice", "link", "many"))
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as target:
        for number, (info, data) in enumerate(members):
            if number != chosen:
                target.writestr(info.filename, data)
            elif how == "spoil":
                target.writestr(info.filename, _spoilt_member(info.filename, data, chance))
            elif how == "rename":
                target.writestr(chance.choice(_NAMES), data)
            elif how == "twice":
                target.writestr(info.filename, data)
                target.writestr(info.filename, _spoilt_member(info.filename, data, chance))
            elif how == "link":
                link = zipfile.ZipInfo(info.filename)
                link.external_attr = (stat.S_IFLNK | 0o777) << 16
                target.writestr(link, "/etc/passwd")
            elif how == "many":
                for extra in range(3000):
                    target.writestr(f"many/{extra}.txt", b"")
    return written.getvalue()


def _spoilt_member(name: str, data: bytes, chance: random.Random) -> bytes:
    if name.endswith(".json") and chance.random() < 0.8:
        return json.dumps(_spoilt(json.loads(data), chance)).encode()
    return chance.choice(BLIND)(data, chance) if data else b"x"


def _spoilt(value: Any, chance: random.Random) -> Any:
    """Return JSON in which one value, found by going down at random, is another."""
    if isinstance(value, dict) and value and chance.random() < 0.95:
        key = chance.choice(sorted(value))
        if chance.random() < 0.1:
            return {name: kept for name, kept in value.items() if name != key}
        return {**value, key: _spoilt(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.95:
        index = chance.randrange(len(value))
        changed = list(value)
        if chance.random() < 0.1:
            changed.insert(index, changed[index])
        else:
            changed[index] = _spoilt(changed[index], chance)
        return changed
    return chance.choice((*_NUMBERS, *_TEXTS, None, True, [], {}, [[]], {"class_name": "Dense", "config": {}}))


def of_table(content: bytes, chance: random.Random) -> bytes:
    """Cells of a CSV file are formulas, quotes, other encodings, or far too many."""
    lines = content.split(b"\n")
    row = chance.randrange(len(lines))
    cells = lines[row].split(b",")
    cells[chance.randrange(len(cells))] = chance.choice(
        (b'"', b"=cmd|' /C calc'!A0", b"1e999", "é".encode("latin-1"), "x".encode("utf-16"), b"\0", b"x" * 100_000,
         b"," * 5000, b"nan", b"-")
    )  # fmt: skip
    lines[row] = b",".join(cells)
    return b"\n".join(lines)


def of_end(content: bytes, chance: random.Random) -> bytes:
    """Some bytes of the last part are others: there Parquet says what is in the file."""
    start = len(content) * 2 // 3
    return content[:start] + flipped(content[start:], chance)


def of_array(content: bytes, chance: random.Random) -> bytes:
    """The header of an `.npy` file says something else."""
    header = content.index(b"}")
    words = re.findall(rb"[\w<>|.]+|.", content[10:header], re.DOTALL)
    words[chance.randrange(len(words))] = chance.choice(
        (
            b"999999999999",
            b"-1",
            b"<f8",
            b"|O",
            b"<U99999",
            b"True",
            b"()",
            b"(" * 500,
            b"'",
            b"None",
            b"__import__('os')",
            b"",
        )
    )
    return content[:10] + b"".join(words) + content[header:]


def of_yaml(content: bytes, chance: random.Random) -> bytes:
    """A value of a YAML file is another, or the file is one that makes much of little."""
    how = chance.choice(("spoil", "spoil", "spoil", "spoil", "aliases", "deep", "merge", "itself", "tag"))
    if how == "spoil":
        return yaml.safe_dump(_spoilt(yaml.safe_load(content), chance)).encode()
    levels = chance.choice((5, 20, 40))
    if how in ("aliases", "merge"):
        start, use = ("&n0 [1]", "[*n{0}, *n{0}]") if how == "aliases" else ("&n0 {a: 1}", "{{<<: [*n{0}, *n{0}]}}")
        lines = [f"n0: {start}", *(f"n{n + 1}: &n{n + 1} {use.format(n)}" for n in range(levels))]
        return content + "\n".join(lines).encode()
    if how == "deep":
        return b"steps: " + b"[" * 100 * levels + b"]" * 100 * levels
    if how == "itself":
        return b"steps: &a [{technique: pruning, params: *a}]"
    return b"steps: !!python/object/apply:os.system ['true']"
