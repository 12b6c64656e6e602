"""Read a compact file (.tarec): give back, byte for byte, the .tflite that it was made from.

    python compact_reader.py model.tarec model.tflite

Complete in itself: it needs only Python 3.9 or newer. docs/loading.md describes the format. The tensors are in one
adaptive binary arithmetic code, as in DeepCABAC (arXiv:1905.08318), its contexts joined by a small learning mixer.
"""

from __future__ import annotations

import io
import itertools
import lzma
import math
import struct
import sys
import zlib

MAGIC, DEFLATE = b"TARC\x01", 255
STRETCH = [round(256 * math.log((index + 0.5) / (4095.5 - index))) for index in range(4096)]
SQUASH = [round(65536 / (1 + math.exp(-x / 256))) for x in range(-2047, 2048)]
SLOWEST = 250
RATE = [int(65536 / (count + 1.6)) for count in range(SLOWEST + 1)]


class Decoder:
    """Adaptive binary arithmetic decoder; chances are of 65,536."""

    def __init__(self, content: bytes = b"") -> None:
        self.low, self.high, self.value = 0, 0xFFFFFFFF, int.from_bytes(content[:4].ljust(4, b"\0"), "big")
        self.following = iter(content[4:])
        self.forget()

    def forget(self) -> None:
        """Start the next tensor with fresh contexts."""
        self.seen: dict[int, list[int]] = {}
        self.mixers: dict[int, list[int]] = {}

    def settle(self, chance: int, bit: int) -> int:
        """Return the next bit where `chance` is that of a one; only a writer looks at the `bit` it is told."""
        middle = self.low + ((self.high - self.low) * chance >> 16)
        bit = int(self.value <= middle)
        self.low, self.high = (self.low, middle) if bit else (middle + 1, self.high)
        while not (self.low ^ self.high) >> 24:
            self.low, self.high = self.low << 8 & 0xFFFFFFFF, self.high << 8 & 0xFFFFFFFF | 255
            self.value = self.value << 8 & 0xFFFFFFFF | next(self.following, 0)
        return bit

    def bit(self, mixer: int, first: int, second: int, third: int, fourth: int, told: int = 0) -> int:
        """Return the next bit, predicted in four contexts that one of the mixers joins."""
        get, new = self.seen.get, self.seen.setdefault
        a, b = get(first) or new(first, [32768, 0]), get(second) or new(second, [32768, 0])
        c, d = get(third) or new(third, [32768, 0]), get(fourth) or new(fourth, [32768, 0])
        e, f, g, h = STRETCH[a[0] >> 4], STRETCH[b[0] >> 4], STRETCH[c[0] >> 4], STRETCH[d[0] >> 4]
        trust = self.mixers.get(mixer) or self.mixers.setdefault(mixer, [20000, 20000, 20000, 20000])
        w, x, y, z = trust
        joined = (e * w + f * x + g * y + h * z >> 16) + 2047
        chance = SQUASH[0 if joined < 0 else 4094 if joined > 4094 else joined]
        bit = self.settle(chance, told)
        target, error = bit << 16, ((bit << 16) - chance) * 2
        trust[0], trust[1] = w + (e * error + 32768 >> 16), x + (f * error + 32768 >> 16)
        trust[2], trust[3] = y + (g * error + 32768 >> 16), z + (h * error + 32768 >> 16)
        for state in (a, b, c, d):
            state[0] += (target - state[0]) * RATE[state[1]] >> 16
            if state[1] < SLOWEST:
                state[1] += 1
        return bit


def symbols(coder: Decoder, count: int, columns: int, step: int, size: int, known: tuple[int, ...] = ()) -> list[int]:
    """Return the symbols of one tensor, 0 to size - 1, where 0 is the most common; a writer tells them in `known`.

    Whether it is 0 is predicted from column, row, neighbours (before, above, `step` before) and how many others were
    in column and row; which other it is, bit by bit, from the bits so far, the row, and the last others above and before.
    """
    coder.forget()
    start = 2 * columns + step + 2  # what lies before the first symbol counts as 0
    found, others, above = [0] * (start + count), [0] * (columns + 2), [0] * columns
    depth = max(size - 2, 0).bit_length()
    bit, place, row, column, in_row, last = coder.bit, max(depth - 2, 0), 0, 0, 0, 0
    for at in range(start, start + count):
        told, up = known[at - start] if known else 0, at - columns
        near = (found[at - 1] > 0) | (found[at - 2] > 0) << 1 | (found[up] > 0) << 2 | (found[up - columns] > 0) << 3
        near |= (found[up - 1] > 0) << 4 | (found[up + 1] > 0) << 5 | (found[at - step] > 0) << 6
        around = others[column] + others[column + 1] + others[column + 2]
        density = (around * 64 // (3 * row + 1)).bit_length() << 4 | (in_row * 64 // (column + 1)).bit_length()
        if bit(0, column << 3, row << 3 | 1, near << 3 | 2, density << 3 | 3, int(told > 0)):
            node, over, before = 1, above[column] >> place << 48, last >> place << 48
            for level in range(depth - 1, -1, -1):
                key, right = node << 3, told - 1 >> level & 1
                node = node << 1 | bit(level + 1, key | 4, row << 24 | key | 5, over | key | 6, before | key | 7, right)
            last = above[column] = node - (1 << depth)
            found[at], in_row, others[column + 1] = last + 1, in_row + 1, others[column + 1] + 1
        row, column, in_row = (row, column + 1, in_row) if column + 1 < columns else (row + 1, 0, 0)
    return found[start:]


def number(stream: io.BytesIO) -> int:
    """Return the next number in LEB128: seven bits a byte, the lowest first."""
    byte = stream.read(1)[0]
    return byte if byte < 128 else byte & 127 | number(stream) << 7


def unpacked(packed: bytes, packing: int) -> io.BytesIO:
    """Return block 1; the properties byte of LZMA is (pb * 5 + lp) * 9 + lc."""
    if packing == DEFLATE:
        return io.BytesIO(zlib.decompress(packed, -15))
    lc, lp, pb = packing % 9, packing // 9 % 5, packing // 45
    how = {"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb, "dict_size": 1 << 26}
    return io.BytesIO(lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[how]).decompress(packed))


def tensor(plan: io.BytesIO, low_block: io.BytesIO, coder: Decoder) -> bytes:
    """Return the content of the next tensor that was cut out."""
    width, count, columns, step, low_bits, size = (number(plan) for _ in range(6))
    listed = [number(plan) for _ in range(size)]  # twice the value of each symbol, and one where low bits belong to it
    values = [listed[0] >> 1, *itertools.accumulate(entry >> 1 for entry in listed[1:])]
    found = symbols(coder, count, columns, step, size)
    words, at, mask = [values[symbol] << low_bits for symbol in found], 0, (1 << low_bits) - 1
    owners = [index for index, symbol in enumerate(found) if listed[symbol] & 1]
    low = low_block.read((len(owners) * low_bits + 7) // 8)
    for index in owners:
        words[index] |= int.from_bytes(low[at >> 3 : at + low_bits + 7 >> 3], "little") >> (at & 7) & mask
        at += low_bits
    words = [one | other << 4 for one, other in zip(words[::2], words[1::2])] if width == 4 else words  # noqa: B905
    return struct.pack(f"<{len(words)}{'BBHI'[max(width, 8).bit_length() - 3]}", *words)


def read_compact(content: bytes) -> bytes:
    """Return the .tflite in a compact file; raises ValueError where it is none, or the checksum is another."""
    if not content.startswith(MAGIC):
        raise ValueError("This is no compact file of this version: it does not begin with TARC and a 1.")
    stream = io.BytesIO(content[len(MAGIC) :])
    checksum, packing = struct.unpack("<IB", stream.read(5))
    plan_bytes, low_bytes = number(stream), number(stream)
    plan, low_block = unpacked(stream.read(plan_bytes), packing), io.BytesIO(stream.read(low_bytes))
    coder, count = Decoder(stream.read()), number(plan)
    cuts = [(number(plan), tensor(plan, low_block, coder)) for _ in range(count)]
    tflite = b"".join(plan.read(gap) + cut for gap, cut in cuts) + plan.read()
    if zlib.crc32(tflite) != checksum:
        raise ValueError("The compact file is damaged: what it gives back has another checksum. Fetch it again.")
    return tflite


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as source, open(sys.argv[2], "wb") as target:
        target.write(read_compact(source.read()))
