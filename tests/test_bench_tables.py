"""The published tables: every row has a recipe that can run, and is judged by what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.published import PUBLISHED, Bar
from bench.published_rows import PublishedRow, published_tables
from bench.table import read_rows, write_rows
from bench.tables import RECIPES, TRAINED, _recipe, _with_others


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda one: one.recipe)
def test_every_row_has_a_legal_recipe_that_takes_the_seed(published: object) -> None:
    first, second = _recipe(published, 1), _recipe(published, 2)  # type: ignore[arg-type]
    assert first.steps
    assert first != second


def test_every_recipe_file_has_a_row() -> None:
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {one.recipe for one in PUBLISHED}


def test_networks_are_as_large_as_published() -> None:
    sizes = {make.__name__: make().count_params() for make, _ in TRAINED.values()}
    assert sizes == {"tutorial_cnn": 20_410, "lenet_300_100": 266_610, "lenet_5": 431_080}


def test_a_bar_is_met_only_where_all_that_it_names_is_reached() -> None:
    bar = Bar("download", least_times=20, most_loss=0.1)
    assert bar.met(times=20, size_bytes=1, loss=0.1, accuracy=0)
    assert not bar.met(times=19.9, size_bytes=1, loss=0.1, accuracy=0)
    assert not bar.met(times=20, size_bytes=1, loss=0.11, accuracy=0)
    assert not Bar("tflite", most_bytes=55_000, least_accuracy=0.85).met(5, 55_001, 0, 0.9)
    assert not Bar("tflite", most_bytes=55_000, least_accuracy=0.85).met(5, 55_000, 0, 0.8499)
    assert str(bar) == "smallest download ≥ 20×, loss ≤ 0.1"


ROW = PublishedRow(
    network="LeNet-5, MNIST", recipe="lenet_5", theirs="39×", seeds=3, tflite_bytes=1000, smallest_download="gzip",
    download_bytes=100, entropy_floor_bytes=90, measure="smallest download", times=10.0, times_spread=0.5,
    baseline_accuracy=0.99, accuracy=0.98, accuracy_spread=0.001, loss=1.0, loss_spread=0.1, seconds=5.0,
    target="smallest download ≥ 39×", ok="no",
)  # fmt: skip


def test_rows_measured_at_different_times_stand_in_one_file(tmp_path: Path) -> None:
    path, other = tmp_path / "rows.csv", replace(ROW, recipe="lenet_300_100", network="LeNet-300-100, MNIST", ok="yes")
    write_rows(_with_others([ROW, other], path), path)
    again = replace(ROW, times=40.0, ok="yes")
    write_rows(_with_others([again], path), path)
    rows = read_rows(PublishedRow, path)
    assert rows == [other, again]
    assert "**40.0** ± 0.5" in published_tables(rows)
    assert published_tables(rows).endswith(
        "2 of 2 targets met. The runs of these rows take 10 s for one seed, 0 minutes for all."
    )
    longer = [replace(row, seconds=60.0) for row in rows]
    assert published_tables(longer).endswith("120 s for one seed, 6 minutes for all.")
