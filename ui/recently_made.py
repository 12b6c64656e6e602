"""What was worked out of certain objects and is kept for them: the same objects give the same result. No Streamlit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Made = TypeVar("Made")


class RecentlyMade(Generic[Made]):
    """The newest results, shared by all sessions, which only read them. Thread-safe.

    Args:
        most: results that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[Hashable, tuple[Sequence[object], Made]] = {}
        self._lock = threading.Lock()

    def of(self, objects: Sequence[object], others: Hashable, make: Callable[[], Made]) -> Made:
        """Return what was made of exactly these objects, told apart by identity, and of `others`; made now if need be.

        The objects are kept with the result, so that their ids stay theirs.
        """
        key = (*map(id, objects), others)
        with self._lock:
            if key in self._known:
                return self._known[key][1]
        made = make()
        with self._lock:
            self._known[key] = (objects, made)
            while len(self._known) > self._most:
                del self._known[next(iter(self._known))]
        return made
