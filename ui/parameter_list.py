"""The parameters of a technique as the help page lists them: two columns, which a phone has room for."""

from __future__ import annotations

from optimizers.declaration import Params, specs


def parameter_list(declaration: type[Params]) -> str:
    """Return a Markdown table: the name of each parameter, and what it does, with range and default."""
    rows = ["| parameter | what it does |", "|---|---|"]
    for spec in specs(declaration):
        unit = f" {spec.unit}" if spec.unit else ""
        only = f" ({spec.only_if.reason})" if spec.only_if else ""
        default = spec.default if spec.default not in ((), {}) else "none"
        rows.append(f"| `{spec.name}` | {spec.help}{only} **{spec.range_text()}**; default {default}{unit} |")
    return "\n".join(rows)
