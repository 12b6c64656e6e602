"""Two dashboards on one home folder: the second is refused with a sentence; a killed one leaves no lock behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from intake.errors import UserError
from runs.home_lock import LOCK_NAME, HomeLock

HOLDER = (
    "import sys, time; from pathlib import Path; from runs.home_lock import HomeLock\n"
    "lock = HomeLock(Path(sys.argv[1])); lock.take(); print('held', flush=True); time.sleep(60)"
)


def test_second_dashboard_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    first = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(UserError) as refused:
            HomeLock(tmp_path).take()
        assert str(first.pid) in str(refused.value)
        assert "TARE_HOME" in str(refused.value)
    finally:
        first.kill()
        first.wait()
    second = HomeLock(tmp_path)
    second.take()
    second.take()  # its own already
    second.release()


@pytest.mark.parametrize("content", ["", "not json", '{"pid": "x"}', '{"pid": 999999999, "machine": "elsewhere"}'])
def test_an_unreadable_holder_is_still_a_sentence(tmp_path: Path, content: str) -> None:
    lock = HomeLock(tmp_path)
    lock.take()
    (tmp_path / LOCK_NAME).write_text(content)
    with pytest.raises(UserError, match="Another dashboard is using"):
        HomeLock(tmp_path).take()
    lock.release()
