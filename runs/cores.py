"""How many runs train at a time on the cores of this machine, and on how many threads each."""

from __future__ import annotations

import os

CORES_OF_A_RUN = 4
"""Fine-tuning of the models that people make smaller gains little from more."""
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
"""TensorFlow reads these when it starts."""


def cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def slots_for(number_of_cores: int) -> int:
    """Return how many runs go well at a time."""
    return max(1, number_of_cores // CORES_OF_A_RUN)


def thread_limits(slots: int, number_of_cores: int) -> dict[str, str]:
    """Return the variables that keep runs which train at the same time from each taking every core.

    One by itself may take all, and nothing is set.
    """
    if slots == 1:
        return {}
    threads = str(max(1, number_of_cores // slots))
    return dict.fromkeys(_THREADS, threads)
