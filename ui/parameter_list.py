"""The parameters of a technique as the help page lists them: running text, which a phone has room for."""

from __future__ import annotations

from optimizers.declaration import Params, specs


def parameter_list(declaration: type[Params]) -> str:
    """Return a Markdown list: the name of each parameter, what it does, its range and its default."""
    rows = []
    for spec in specs(declaration):
        unit = f" {spec.unit}" if spec.unit else ""
        only = f" ({spec.only_if.reason})" if spec.only_if else ""
        default = spec.default if spec.default not in ((), {}) else "none"
        about = f": {spec.help}{only}  \n  *{spec.range_text()}; default {default}{unit}*".replace("_", r"\_")
        rows.append(f"- **`{spec.name}`**{about}")
    return "\n".join(rows) or "It has no parameters."
