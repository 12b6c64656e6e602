"""The settings of a step of a recipe as rows: label, value, default. Plain data, no Streamlit."""

from __future__ import annotations

from optimizers.declaration import ParameterSpec, specs
from optimizers.fine_tuning import fine_tuning_specs
from optimizers.recipe import RecipeStep

HEADINGS = ("Setting", "Value", "Default")


def setting_rows(step: RecipeStep) -> list[tuple[str, str, str]]:
    """Return label, value and default of every setting of a step that counts beside the others."""
    given = {**step.params, **(step.fine_tuning or {})}
    defaults = step.entry.fine_tuning
    declared = [*specs(step.entry.Params), *(fine_tuning_specs(defaults) if defaults else ())]
    return [
        (spec.label, _value_text(given[spec.name], spec), _value_text(spec.default, spec))
        for spec in declared
        if spec.name in given and (spec.only_if is None or spec.only_if.holds(given))
    ]


def _value_text(value: object, spec: ParameterSpec) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{layer} {entry:g}" for layer, entry in value.items()) or "none"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{text} {spec.unit}".strip()
