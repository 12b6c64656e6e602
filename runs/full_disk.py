"""The words for a disk that is full: nobody's fault but the machine's, and somebody can mend it."""

from __future__ import annotations

import errno


def disk_sentence(error: BaseException) -> str:
    """Return what to say where an error, or one that it came of, is a full disk or an exhausted quota; "" elsewhere."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f" ({seen.filename})" if seen.filename else ""
            return (
                f"The disk is full{where}. Nothing that was stored before is lost. Free some space on the disk of the home "
                "folder (TARE_HOME), or delete projects, then resume the run or run it again."
            )
        seen = seen.__cause__ or seen.__context__
    return ""
