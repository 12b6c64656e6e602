"""Starts a worker without a network, where the system allows it: `python -m runs.apart`.

A process of its own first, because Linux lets only one without threads leave for namespaces of its own, and numpy has
threads as soon as it is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
"""From linux/sched.h."""


def main() -> None:
    """Become the worker, without a network or, where that is not allowed, with one; the log says which."""
    problem = leave_network()
    print(f"Worker with the network: {problem}" if problem else "Worker without a network", file=sys.stderr, flush=True)
    os.execv(sys.executable, [sys.executable, "-m", "runs.worker"])


def leave_network() -> str:
    """Leave this process no network but one without any device; return why that was not possible, or "".

    An administrator's process needs only a network of its own. Another one needs the rights to make it, which Linux
    gives it among users of its own, where each is whom he was; they are gone when the process becomes another program.
    """
    user, group = os.getuid(), os.getgid()
    kinds = _CLONE_NEWNET if user == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
    try:
        unshare = ctypes.CDLL(None, use_errno=True).unshare
    except AttributeError:
        return "this is not Linux"
    if unshare(kinds):
        return os.strerror(ctypes.get_errno())
    names = (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")) if user else ()
    for name, content in names:
        with contextlib.suppress(OSError), open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(content)  # where it is not allowed the worker is called nobody, and may do what it could before
    return ""


if __name__ == "__main__":
    main()
