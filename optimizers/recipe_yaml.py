"""Reading the YAML of a recipe without trusting it: aliases can make gigabytes of a few lines."""

from __future__ import annotations

from typing import Any

import yaml

from intake.errors import InvalidParams

MOST_CHARACTERS = 2**20
MOST_VALUES = 10_000
"""Scalars, lists and mappings, each counted as often as aliases put it somewhere."""


def values_of_yaml(text: str) -> Any:
    """Return the plain data of a YAML text, None where it is empty; raises InvalidParams for whatever it cannot be."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidParams(
            f"This is not a recipe file: it has {len(text):,} characters, and a recipe has at most {MOST_CHARACTERS:,}."
        )
    try:
        return _constructed(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:300]
        raise InvalidParams(f"This is not a recipe file: {reason}") from None


def _constructed(text: str) -> Any:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > MOST_VALUES:
            raise InvalidParams(
                f"This is not a recipe file: with its aliases it holds more than {MOST_VALUES:,} values. Write a recipe "
                "of a few steps."
            )
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Count what a node becomes; one that holds itself has no end."""
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1
        held = node.value if isinstance(node.value, list) else []
        inner = (item for entry in held for item in (entry if isinstance(entry, tuple) else (entry,)))
        known[id(node)] = 1 + sum(_values(item, known) for item in inner)
    return known[id(node)]
