"""Which runs the table shows, in which order, with which columns; and the CSV of it. No server, no TensorFlow."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import pandas as pd
import pytest

from optimizers import TECHNIQUES
from optimizers.recipe import Recipe
from runs.records import RunRecord
from tests.test_charts import ACCURACY, ERROR, a_recipe, result, run_of
from ui.frames import runs_frame
from ui.quantities import metric_of, quantities
from ui.run_filter import RunFilter, matching, states_of, tags_of, techniques_of
from ui.run_list import column_config, rounded
from ui.run_table import (
    NEWEST,
    OLDEST,
    column_choices,
    csv_text,
    digits_of,
    in_order,
    in_sight,
    orders,
    table_frame,
    usual_columns,
)

FIRST = TECHNIQUES[0]


@pytest.fixture
def runs() -> list[RunRecord]:
    """A baseline between runs that differ in everything that can be filtered by."""
    first = Recipe.single(FIRST.name, {}, {"epochs": 7} if FIRST.fine_tuning else None)
    return [
        run_of("alpha", first, result(0.97, 90_000), tags=("sweep:1",), note="For the meeting"),
        run_of("Baseline", None, result(0.98, 100_000)),
        run_of("beta", a_recipe(), result(0.90, 20_000), starred=True),
        run_of("gone", a_recipe(), result(0.95, 30_000), archived=True),
        run_of("waiting", a_recipe(), tags=("sweep:2",)),
    ]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ["alpha", "Baseline", "beta", "waiting"]),
        ({"techniques": (FIRST.title,)}, ["alpha", "Baseline"]),
        ({"tags": ("sweep:2",)}, ["Baseline", "waiting"]),
        ({"states": ("queued",)}, ["Baseline", "waiting"]),
        ({"text": "MEETING alp"}, ["alpha", "Baseline"]),
        ({"text": "epochs 7"}, ["alpha", "Baseline"]),
        ({"text": "no such words"}, ["Baseline"]),
        ({"starred": True}, ["Baseline", "beta"]),
        ({"archived": True}, ["alpha", "Baseline", "beta", "gone", "waiting"]),
    ],
)
def test_filters_keep_what_matches_and_the_baseline(
    runs: list[RunRecord], wanted: dict[str, Any], names: list[str]
) -> None:
    assert [run.name for run in matching(runs, RunFilter(**wanted))] == names


def test_choices_of_filters_are_what_the_runs_have(runs: list[RunRecord]) -> None:
    assert tags_of(runs) == ["sweep:2", "sweep:1"]
    assert techniques_of(runs) == [FIRST.title, TECHNIQUES[-1].title]
    assert states_of(runs) == ["queued", "finished"]
    assert RunFilter(tags=("a",), text=" ").count == 1


def names_in(order: str, runs: list[RunRecord]) -> list[str]:
    return list(in_order(runs_frame(runs), order, ACCURACY, "id-Baseline")["name"])


def test_baseline_is_on_top_in_every_order(runs: list[RunRecord]) -> None:
    for order in orders(ACCURACY):
        assert names_in(order, runs)[0] == "Baseline"
    assert names_in(OLDEST, runs)[1:] == ["alpha", "beta", "gone", "waiting"]
    assert names_in(NEWEST, runs)[1:] == ["waiting", "gone", "beta", "alpha"]


def test_best_first_knows_which_way_is_better(runs: list[RunRecord]) -> None:
    assert names_in("Best .tflite", runs)[1:] == ["beta", "gone", "alpha", "waiting"]
    assert names_in(f"Best {metric_of(ACCURACY).label}", runs)[1:] == ["alpha", "gone", "beta", "waiting"]


def test_every_column_can_be_shown_with_its_change_against_the_baseline(runs: list[RunRecord]) -> None:
    columns = column_choices(ACCURACY)
    table = table_frame(runs_frame(runs), columns, ACCURACY, runs[1].result)
    shown = table.set_index("Run")
    assert len(table.columns) == 1 + len(columns) + len(quantities(ACCURACY))
    assert shown.loc["★ beta", ".tflite, change in %"] == pytest.approx(-80)
    assert shown.loc["★ beta", "Accuracy, change in points"] == pytest.approx(-8)
    assert pd.isna(shown.loc["Baseline", ".tflite, change in %"])
    assert "gone (archived)" in shown.index
    for column in table:
        assert (digits_of(column, ACCURACY) is not None) == (table[column].dtype.kind == "f"), column


def test_columns_come_in_the_order_in_which_they_were_chosen(runs: list[RunRecord]) -> None:
    table = table_frame(runs_frame(runs), ["Latency", "State"], ACCURACY, None)
    assert list(table.columns) == ["Run", "Latency, ms", "State"]


def test_usual_columns_can_be_chosen_for_every_metric() -> None:
    for fit in (ACCURACY, ERROR):
        assert set(usual_columns(fit)) <= set(column_choices(fit))


def test_what_the_chart_shows_comes_first_and_the_state_only_where_it_tells_something() -> None:
    usual = usual_columns(ACCURACY)
    assert usual[:3] == ["Accuracy", ".tflite", ".tflite, gzip"]
    assert in_sight(usual, usual, ["Accuracy", ".tflite"], all_finished=True) == usual
    assert in_sight(usual, usual, ["Accuracy", ".tflite"], all_finished=False)[:2] == ["State", "Accuracy"]
    others = in_sight(usual, usual, ["Latency", "Sparsity"], all_finished=True)
    assert others[:3] == ["Latency", "Sparsity", "Accuracy"]
    assert len(set(others)) == len(others)
    assert in_sight(["Note", "State"], usual, ["Accuracy"], all_finished=False) == ["Note", "State"]


def test_changes_have_a_short_heading_on_the_page_and_a_whole_one_in_the_csv(runs: list[RunRecord]) -> None:
    table = table_frame(runs_frame(runs), ["Accuracy", ".tflite"], ACCURACY, runs[1].result)
    config = column_config(table, ACCURACY)
    assert [config[name]["label"] for name in table.columns[1:]] == [None, "Δ points", None, "Δ %"]
    assert csv_text(table).startswith('Run,"Accuracy, %","Accuracy, change in points",".tflite, kB",')


def test_csv_is_what_is_on_screen(runs: list[RunRecord]) -> None:
    runs = [*runs, run_of("=1+1", a_recipe(), note="@x", tags=("-y",))]
    frame = in_order(runs_frame(matching(runs, RunFilter(text="=1"))), NEWEST, ACCURACY, "id-Baseline")
    table = table_frame(frame, ["Note", "Tags", ".tflite"], ACCURACY, runs[1].result)
    read = list(csv.reader(io.StringIO(csv_text(table))))
    assert read[0] == list(table.columns)
    assert [row[0] for row in read[1:]] == ["Baseline", "'=1+1"]
    assert read[2][1:3] == ["'@x", "'-y"]
    assert float(read[1][3]) == 100.0


def test_numbers_are_rounded_though_the_browser_cuts_them_off() -> None:
    runs = [
        run_of("Baseline", None, result(0.97, 174_784, latency_ms=1.0)),
        run_of("a", a_recipe(), result(0.97777, 48_350, latency_ms=0.2999)),
    ]
    table = table_frame(runs_frame(runs), [".tflite", "Accuracy", "Latency"], ACCURACY, runs[0].result)
    shown = rounded(table, ACCURACY)
    for column in table:
        if (digits := digits_of(column, ACCURACY)) is not None:
            for before, after in zip(table[column], shown[column], strict=True):
                cut_off = math.trunc(after * 10 ** digits[0]) / 10 ** digits[0] if after == after else after
                assert cut_off == pytest.approx(round(before, digits[0]), nan_ok=True)
    assert list(shown["Run"]) == list(table["Run"])
