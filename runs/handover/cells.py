"""Cells of a script in the percent format, which editors run one by one, and the same as a notebook."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any


@dataclass(frozen=True)
class Cell:
    """Words (Markdown without anything that users typed) or code."""

    text: str
    is_code: bool = True


def words(*lines: str) -> Cell:
    """Return a cell of Markdown."""
    return Cell("\n".join(lines), is_code=False)


def code(*lines: str) -> Cell:
    """Return a cell of code."""
    return Cell("\n".join(lines).strip("\n"))


def source_of(*functions: Callable[..., Any]) -> str:
    """Return the source of functions as it stands in their files, to be copied into a script."""
    return "\n\n\n".join(inspect.getsource(function).strip() for function in functions)


def without_uncalled(cells: Sequence[Cell]) -> list[Cell]:
    """Return cells without the functions that nothing in them calls, directly or by way of others."""
    trees = [ast.parse(cell.text).body if cell.is_code else [] for cell in cells]
    called = _called([statement for body in trees for statement in body])
    kept = []
    for cell, body in zip(cells, trees, strict=True):
        lines = cell.text.split("\n")
        for one in reversed(body):
            if isinstance(one, ast.FunctionDef) and one.name not in called:
                del lines[one.lineno - 1 : one.end_lineno]
        kept.append(Cell(re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).strip("\n"), cell.is_code))
    return [cell for cell in kept if cell.text]


def _called(statements: Sequence[ast.stmt]) -> set[str]:
    functions = {one.name: one for one in statements if isinstance(one, ast.FunctionDef)}
    called: set[str] = set()
    new = _names([one for one in statements if not isinstance(one, ast.FunctionDef)]) & set(functions)
    while new:
        called |= new
        new = _names([functions[name] for name in new]) & set(functions) - called
    return called


def _names(statements: Sequence[ast.stmt]) -> set[str]:
    return {node.id for one in statements for node in ast.walk(one) if isinstance(node, ast.Name)}


def comment(text: str) -> str:
    """Return text, whoever typed it, as one line of comment."""
    return f"# {one_line(text)}"


def one_line(text: str) -> str:
    """Return text without line breaks and without characters that cannot be printed."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def as_script(cells: Sequence[Cell]) -> str:
    """Return cells as a Python file."""
    parts = []
    for cell in cells:
        if cell.is_code:
            parts.append(f"# %%\n{cell.text}")
        else:
            parts.append("# %% [markdown]\n" + "\n".join(f"# {line}".rstrip() for line in cell.text.splitlines()))
    return "\n\n".join(parts) + "\n"


def as_notebook(cells: Sequence[Cell]) -> str:
    """Return cells as a Jupyter notebook (nbformat 4.5), without outputs."""
    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {
                "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                "language_info": {"name": "python"},
            },
            "cells": [_notebook_cell(number, cell) for number, cell in enumerate(cells)],
        },
        indent=1,
    )


def _notebook_cell(number: int, cell: Cell) -> dict[str, Any]:
    kind = "code" if cell.is_code else "markdown"
    more: dict[str, Any] = {"execution_count": None, "outputs": []} if cell.is_code else {}
    name = sha256(f"{number}{cell.text}".encode()).hexdigest()[:12]
    return {"id": name, "cell_type": kind, "metadata": {}, "source": cell.text.splitlines(keepends=True), **more}
