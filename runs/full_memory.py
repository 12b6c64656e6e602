"""The words for memory that ran out inside a worker: somebody can mend it."""

from __future__ import annotations

_OF_TENSORFLOW = "ResourceExhaustedError"


def memory_sentence(error: BaseException) -> str:
    """Return what to say where an error, or one that it came of, is memory that was refused; "" elsewhere."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or type(seen).__name__ == _OF_TENSORFLOW:
            what = " ".join(str(seen).split())[:200]
            return (
                f"There is not enough memory for this{f' ({what})' if what else ''}. Use a smaller file, batch size or model, "
                "or give the machine more memory."
            )
        seen = seen.__cause__ or seen.__context__
    return ""
