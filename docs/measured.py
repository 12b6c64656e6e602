"""The figures of the docs, from the CSV files in docs/measured that the `make bench-…` commands wrote."""

from __future__ import annotations

from pathlib import Path

from bench.published_rows import PublishedRow, published_tables
from bench.ratio import Ratio, ratio_table
from bench.table import Row, read_rows, table_of
from optimizers.recipe import Recipe
from optimizers.technique import Technique

ROWS = Path(__file__).parent / "measured"
RECIPES = Path(__file__).parent.parent / "bench" / "recipes"


def published() -> str:
    """Return the published tables, ours beside theirs."""
    return published_tables(_published_rows())


def mnist() -> str:
    """Return every technique on the network of the MNIST tutorials."""
    return table_of(read_rows(Row, ROWS / "mnist.csv"))


def pairs() -> str:
    """Return the techniques on other kinds of input."""
    return table_of(read_rows(Row, ROWS / "pairs.csv"))


def performance() -> str:
    """Return how quick Tare is beside the usual way."""
    return ratio_table(read_rows(Ratio, ROWS / "performance.csv"))


def example_of(technique: Technique) -> str:
    """Return what the published tables show of a technique by itself, in a sentence; "" where they do not."""
    for row in _published_rows():
        recipe = Recipe.from_yaml((RECIPES / f"{row.recipe}.yaml").read_text(encoding="utf-8"))
        if [step.technique for step in recipe.steps] == [technique.name]:
            return (
                f"{row.network}, [{row.recipe}.yaml](../bench/recipes/{row.recipe}.yaml): {row.measure} {row.times:.1f} "
                f"times smaller, accuracy {row.baseline_accuracy:.2%} before and {row.accuracy:.2%} after "
                f"(mean of {row.seeds} seeds; `make bench-tables`)"
            )
    return ""


def _published_rows() -> list[PublishedRow]:
    return read_rows(PublishedRow, ROWS / "tables.csv")
