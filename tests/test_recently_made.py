"""What is kept for the same objects is made once, and never taken for that of others."""

from __future__ import annotations

import pytest

from runs.records import RunRecord
from tests.test_charts import ACCURACY, AXES, run_of, runs  # noqa: F401
from ui import charts
from ui.charts import tradeoff_figure
from ui.recently_made import RecentlyMade
from ui.tradeoff import changes_of


def test_the_same_objects_give_the_same_result() -> None:
    made: list[int] = []
    recent: RecentlyMade[list[int]] = RecentlyMade(2)

    def make() -> list[int]:
        made.append(len(made))
        return [*made]

    one, two = [1], [1]  # equal, but not the same
    first = recent.of([one], "a", make)
    assert recent.of([one], "a", make) is first
    assert recent.of([two], "a", make) == [0, 1]
    assert recent.of([one], "b", make) == [0, 1, 2]
    assert recent.of([one], "a", make) == [0, 1, 2, 3]  # two are kept


def test_what_hovers_over_a_chart_is_made_once_for_the_same_runs(
    runs: list[RunRecord],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    baseline = next(run.result for run in runs if run.is_baseline)
    frame = changes_of(runs, AXES, baseline, ACCURACY)
    before = [
        list(() if trace.hovertext is None else trace.hovertext)
        for trace in tradeoff_figure(frame, AXES, ACCURACY).data
    ]

    def never(*args: object) -> str:
        raise AssertionError("made again")

    monkeypatch.setattr(charts, "_changes", never)
    again = changes_of(list(runs), AXES, baseline, ACCURACY)
    assert again is frame
    assert [
        list(() if trace.hovertext is None else trace.hovertext)
        for trace in tradeoff_figure(again, AXES, ACCURACY).data
    ] == before
    assert any(before)
