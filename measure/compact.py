"""The compact file (.tarec): the `.tflite` with its tensors in a code that knows what pruning and clustering leave.

Mostly zeros, few different values, rows and columns that are emptier than others: the code learns all of it as it goes
(`measure.compact_reader` describes the file and reads it). Reading gives back the very same `.tflite`.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from dataclasses import dataclass, field, replace

import numpy as np

from measure.compact_reader import DEFLATE, MAGIC, Decoder, read_compact, symbols
from measure.compact_regions import Region, regions_of
from measure.lzma_settings import LITERALS, lzma_settings

MOST_DECISIONS = 2_500_000
"""Bits coded one by one in one file, about 4 µs each; tensors beyond it are left to LZMA, those first that gain least."""
MOST_SYMBOLS = 4096
"""Different symbols of one tensor."""
BITS_FOR_SPEED = 0.02
"""A decision must gain this much, or the bit is stored as it is: dense int8 weights would take twice the time for
a third of a per cent."""
PER_VALUE, MANY = 4, 200_000
"""Decisions for each value in a tensor with many: dense weights, of which little can be gained, are not worth more."""
EXPECTED = 0.95
"""What contexts leave of the entropy of single values, roughly."""


class Encoder(Decoder):
    """The same contexts as when reading; told each bit, it writes instead."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def settle(self, chance: int, bit: int) -> int:
        """Write the bit where `chance` of 65,536 is that of a one."""
        middle = self.low + ((self.high - self.low) * chance >> 16)
        self.low, self.high = (self.low, middle) if bit else (middle + 1, self.high)
        while not (self.low ^ self.high) >> 24:
            self._written.append(self.high >> 24)
            self.low, self.high = self.low << 8 & 0xFFFFFFFF, self.high << 8 & 0xFFFFFFFF | 255
        return bit

    def finish(self) -> bytes:
        """Return all that was written, with as few last bytes as name a number in the range; the reader adds zeros."""
        for count in range(5):
            below = 32 - 8 * count
            last = -(-self.low >> below) << below
            if last <= self.high:
                return bytes(self._written) + (last >> below).to_bytes(count, "big")
        raise AssertionError("four bytes name any number of 32 bits")


@dataclass(frozen=True)
class _Coding:
    """How the values of one region are split: a symbol each, from a list, and low bits beside it."""

    region: Region
    low_bits: int
    listed: np.ndarray
    """uint32: what the symbols stand for, the most common first, then ascending."""
    ranks: np.ndarray
    """int64 (n,): the symbols."""
    owns_low: np.ndarray
    """bool: which symbols have low bits beside them; those of the others are all 0, as of an exact zero."""
    low: np.ndarray = field(repr=False)
    """uint32: the low bits of the values that have some."""
    cost_bits: float = 0.0
    """About what it will take without contexts."""

    @property
    def decisions(self) -> int:
        """Bits that are coded one by one."""
        depth = max(len(self.listed) - 2, 0).bit_length()
        return len(self.ranks) + depth * int(np.count_nonzero(self.ranks))

    def description(self, gap: int) -> bytes:
        """What the reader must know, with the bytes of the file between it and the cut-out tensor before."""
        values = self.listed.astype(np.int64)
        steps = np.concatenate([values[:1], np.diff(values[1:], prepend=0)]) * 2 + self.owns_low
        region = self.region
        fields = [gap, region.width, len(self.ranks), region.columns, region.step, self.low_bits]
        return b"".join(map(_leb128, [*fields, len(self.listed), *steps.tolist()]))

    def low_bytes(self) -> bytes:
        """The low bits, packed from the lowest on."""
        bits = self.low[:, None] >> np.arange(self.low_bits, dtype=np.uint32) & 1
        return np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little").tobytes()

    def code_with(self, encoder: Encoder) -> None:
        """Write the symbols."""
        known = tuple(self.ranks.tolist())
        symbols(encoder, len(known), self.region.columns, self.region.step, len(self.listed), known)


def write_compact(tflite: bytes) -> bytes:
    """Return the compact file of a `.tflite`; the content itself is checked to come back from it.

    Raises:
        AssertionError: reading does not give back the same bytes, which is a mistake of this file.
    """
    codings = _worth_it(tflite, [coding for region in regions_of(tflite) if (coding := _best(tflite, region))])
    encoder, plan, rest, position = Encoder(), _leb128(len(codings)), b"", 0
    for coding in codings:
        gap = tflite[position : coding.region.start]
        plan += coding.description(len(gap))
        rest += gap
        position = coding.region.end
        coding.code_with(encoder)
    packed, packing = _packed(plan + rest + tflite[position:])
    low = b"".join(coding.low_bytes() for coding in codings)
    head = MAGIC + struct.pack("<IB", zlib.crc32(tflite), packing) + _leb128(len(packed)) + _leb128(len(low))
    compact = head + packed + low + encoder.finish()
    assert read_compact(compact) == tflite, "the compact file does not give back the .tflite"
    return compact


def _best(tflite: bytes, region: Region) -> _Coding | None:
    """The cheapest split of a region's values into symbols and low bits; None where there are too many symbols."""
    words = _words(tflite[region.start : region.end], region.width)
    few = (0, 1, 2, 3, 4) if region.width <= 8 else (0, 4, 8, 10, 12, 16, 20, 22, 23, 24, 26)
    codings = [coding for low_bits in few if low_bits < region.width and (coding := _split(region, words, low_bits))]
    quick = [coding for coding in codings if coding.decisions <= max(MANY, PER_VALUE * len(words))]
    return min(quick, key=lambda coding: coding.cost_bits + BITS_FOR_SPEED * coding.decisions, default=None)


def _words(content: bytes, width: int) -> np.ndarray:
    """The values as uint32, two a byte where they have four bits."""
    if width == 4:
        pairs = np.frombuffer(content, np.uint8)
        return np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1).astype(np.uint32)
    return np.frombuffer(content, f"<u{width // 8}").astype(np.uint32)


def _split(region: Region, words: np.ndarray, low_bits: int) -> _Coding | None:
    listed, ranks, counts = np.unique(words >> low_bits, return_inverse=True, return_counts=True)
    if len(listed) > MOST_SYMBOLS:
        return None
    order = np.argsort(np.arange(len(listed)) != counts.argmax(), kind="stable")
    ranks = np.argsort(order)[ranks]
    low = words & ((1 << low_bits) - 1)
    owns_low = np.bincount(ranks, low, len(listed)) > 0
    entropy = float((counts * np.log2(len(words) / counts)).sum())
    coding = _Coding(region, low_bits, listed[order], ranks, owns_low, low[owns_low[ranks]])
    described = len(listed) * (6.0 if region.width <= 8 else 28.0)
    return replace(coding, cost_bits=EXPECTED * entropy + described + low_bits * len(coding.low))


def _worth_it(tflite: bytes, codings: list[_Coding]) -> list[_Coding]:
    """Those that take less than LZMA alone needs, within the decisions that one file may have."""
    gains = {
        id(coding): len(_packed(tflite[coding.region.start : coding.region.end], 2)[0]) - coding.cost_bits / 8
        for coding in codings
    }
    chosen, decisions = [], 0
    for coding in sorted(codings, key=lambda coding: -gains[id(coding)] / coding.decisions):
        if gains[id(coding)] > 0 and decisions + coding.decisions <= MOST_DECISIONS:
            chosen.append(coding)
            decisions += coding.decisions
    return sorted(chosen, key=lambda coding: coding.region.start)


def _packed(content: bytes, tries: int = 5) -> tuple[bytes, int]:
    """The content in LZMA or deflate, whichever is smaller, and how it was packed."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    choices = [(deflate.compress(content) + deflate.flush(), DEFLATE)]
    for lc, lp, pb in LITERALS[: tries if len(content) < 2**20 else 2]:
        found = {**lzma_settings(len(content)), "id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb}
        choices.append((lzma.compress(content, lzma.FORMAT_RAW, filters=[found]), (pb * 5 + lp) * 9 + lc))
    return min(choices, key=lambda choice: len(choice[0]))


def _leb128(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes(digits) + bytes([value])
