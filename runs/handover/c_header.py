"""A `.tflite` file as an array in a C header, for microcontrollers without a file system."""

from __future__ import annotations

import hashlib
import re

from runs.handover.cells import one_line
from runs.handover.source import FinishedRun

BYTES_A_LINE = 12
_HEADER = """\
/* {title}
 *
 * Made by Tare. Run {run_id}
 * {size:,} bytes, SHA-256 of the .tflite: {digest}
 * For TensorFlow Lite for Microcontrollers: tflite::GetModel({name})
 */
#ifndef {guard}
#define {guard}

#if defined(__cplusplus) && __cplusplus >= 201103L
#define {guard}_ALIGNED alignas(16)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define {guard}_ALIGNED _Alignas(16)
#elif defined(__GNUC__)
#define {guard}_ALIGNED __attribute__((aligned(16)))
#else
#error "The model must be aligned to 16 bytes: say here how this compiler does it."
#endif

static const unsigned int {name}_len = {size};
{guard}_ALIGNED static const unsigned char {name}[] = {{
{values}
}};

#endif /* {guard} */
"""


def c_header(finished: FinishedRun) -> str:
    """Return a header with the `.tflite` of a run as an aligned constant array and its length; C11 and C++11."""
    content = finished.tflite
    name = identifier(finished.stem)
    lines = [content[start : start + BYTES_A_LINE] for start in range(0, len(content), BYTES_A_LINE)]
    return _HEADER.format(
        title=in_comment(finished.run.name),
        run_id=in_comment(finished.run.run_id),
        size=len(content),
        digest=hashlib.sha256(content).hexdigest(),
        name=name,
        guard=f"TARE_{name.upper()}_H",
        values=",\n".join("  " + ", ".join(f"0x{byte:02x}" for byte in line) for line in lines),
    )


def identifier(text: str) -> str:
    """Return text as a name of C: ASCII letters, digits and underscores, beginning with a letter."""
    plain = re.sub(r"[^0-9a-z]+", "_", text.lower(), flags=re.ASCII).strip("_")
    return plain if plain[:1].isalpha() else f"model_{plain}"


def in_comment(text: str) -> str:
    """Return text that cannot end a comment, open one or continue a line: ASCII, what else there is escaped."""
    escaped = one_line(text).encode("ascii", "backslashreplace").decode()
    return re.sub(r"\?(?=\?)", "? ", escaped).replace("*/", "* /").replace("/*", "/ *").rstrip("\\ ")
