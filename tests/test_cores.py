"""How many runs train at a time, and how the cores are shared out among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runs import settings as settings_module
from runs.cores import cores, slots_for, thread_limits
from runs.settings import Settings


@pytest.mark.parametrize(("number_of_cores", "slots"), [(1, 1), (2, 1), (4, 1), (8, 2), (16, 4)])
def test_a_run_for_every_four_cores(number_of_cores: int, slots: int) -> None:
    assert slots_for(number_of_cores) == slots


def test_who_says_how_many_gets_as_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "cores", lambda: 16)
    assert Settings(home=tmp_path).slots == 4
    assert Settings(home=tmp_path, worker_slots=3).slots == 3


def test_runs_that_train_at_the_same_time_share_the_cores_out() -> None:
    assert thread_limits(1, 16) == {}
    assert set(thread_limits(4, 16).values()) == {"4"}
    assert set(thread_limits(4, 2).values()) == {"1"}
    assert cores() >= 1
