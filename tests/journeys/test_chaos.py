"""A short version of `make chaos`: the worker of the real app is killed while it trains, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.journey
def test_a_killed_worker_loses_no_run() -> None:
    command = [sys.executable, "-m", "bench.chaos", "--only", "worker_killed"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr[-3000:]
    assert "worker_killed: nothing lost" in said.stdout
    assert "faults tried: 1, runs: 2, lost: 0" in said.stdout
