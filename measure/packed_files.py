"""The `.tflite` as it travels: packed in several ways, each a file that can be downloaded."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from dataclasses import dataclass

from measure.compact import write_compact
from measure.lzma_settings import LITERALS, lzma_settings

LARGEST_BYTES = 64_000_000
"""Of larger files only gzip and zstd are made: xz and the compact file would take minutes."""
_ZSTD_SLOW_BYTES = 8_000_000
"""Up to here zstd may take its slowest level, which needs a second for a megabyte."""


@dataclass(frozen=True)
class Packing:
    """One way of packing a `.tflite`."""

    field: str
    """Of `measure.sizes.Sizes`: how many bytes it takes."""
    file_name: str
    """Of the file that a run leaves."""
    title: str
    use: str
    """When to take it, one sentence."""
    pack: Callable[[bytes], bytes]
    largest_bytes: int | None = None
    """Files larger than this are not packed so; None: all are."""

    @property
    def suffix(self) -> str:
        """What follows the name of the model: ".tflite.gz"."""
        return self.file_name.removeprefix("model")


def gzip_packed(content: bytes) -> bytes:
    """Return the content in gzip, level 9, without a file name or time stamp."""
    return gzip.compress(content, 9, mtime=0)


def zstd_packed(content: bytes) -> bytes:
    """Return the content as one zstd frame, with its length and without a checksum."""
    import zstandard

    level = 22 if len(content) <= _ZSTD_SLOW_BYTES else 19
    return zstandard.ZstdCompressor(level=level, write_checksum=False).compress(content)


def xz_packed(content: bytes) -> bytes:
    """Return the content in xz with a CRC-32, the smallest of several ways to look at its bytes."""
    tries = [
        lzma.compress(
            content,
            lzma.FORMAT_XZ,
            lzma.CHECK_CRC32,
            filters=[{**lzma_settings(len(content)), "id": lzma.FILTER_LZMA2, "lc": lc, "lp": lp, "pb": pb}],
        )
        for lc, lp, pb in LITERALS[: 5 if len(content) < 2**20 else 2]
    ]
    return min(tries, key=len)


PACKINGS: tuple[Packing, ...] = (
    Packing(
        "gzip_bytes",
        "model.tflite.gz",
        "gzip",
        "Take it where nothing else can be unpacked: every web server, browser and app store knows it.",
        gzip_packed,
    ),
    Packing(
        "zstd_bytes",
        "model.tflite.zst",
        "zstd",
        "Take it where unpacking must be fast, on a server or in an update that ships the zstd library.",
        zstd_packed,
    ),
    Packing(
        "xz_bytes",
        "model.tflite.xz",
        "xz",
        "Take it for firmware images and Linux packages: small, and unpacked by tools that are there already.",
        xz_packed,
        LARGEST_BYTES,
    ),
    Packing(
        "compact_bytes",
        "model.tarec",
        "Compact file",
        "Take it where every byte counts and you can ship our small reader: made for pruned, clustered and quantized "
        "weights.",
        write_compact,
        LARGEST_BYTES,
    ),
)


def packed_files(tflite: bytes) -> dict[str, bytes]:
    """Return file name -> content for every packing that a `.tflite` of this length gets."""
    return {
        packing.file_name: packing.pack(tflite)
        for packing in PACKINGS
        if packing.largest_bytes is None or len(tflite) <= packing.largest_bytes
    }
