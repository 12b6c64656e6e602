"""How LZMA is set up for a `.tflite`, for xz and for what a compact file does not code itself."""

from __future__ import annotations

import lzma
from typing import Any

LITERALS = ((3, 0, 2), (0, 2, 2), (0, 0, 0), (3, 0, 0), (2, 2, 2))
"""(lc, lp, pb) worth trying: text and int8, then numbers of four bytes, then the rest; the first two matter most."""
LARGEST_DICTIONARY = 1 << 26


def lzma_settings(length: int) -> dict[str, Any]:
    """Return the slowest preset with a dictionary as long as the content: a longer one would only take memory.

    Args:
        length: of the content, in bytes.
    """
    dictionary = max(4096, 1 << length.bit_length())
    return {"preset": 9 | lzma.PRESET_EXTREME, "dict_size": min(dictionary, LARGEST_DICTIONARY)}
