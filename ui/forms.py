"""Declared parameters as widgets: one function per kind of parameter, none per technique.

Values survive page changes (`persist_state`), so a draft is never lost by looking at another page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import streamlit as st

from optimizers.declaration import OF_LAYERS, ParameterSpec, specs
from optimizers.fine_tuning import FineTuning


def widget_key(prefix: str, name: str) -> str:
    """Return the key of a parameter's widget: "pruning:final_sparsity"."""
    return f"{prefix}:{name}"


def fine_tuning_prefix(prefix: str) -> str:
    """Return the prefix of a technique's fine-tuning settings."""
    return f"{prefix}:fine_tuning"


def fine_tuning_specs(defaults: FineTuning) -> tuple[ParameterSpec, ...]:
    """Return the declared fine-tuning settings with these defaults."""
    own = defaults.model_dump()
    return tuple(replace(spec, default=own[spec.name]) for spec in specs(FineTuning))


def without_choices(spec: ParameterSpec, reasons: dict[Any, str]) -> ParameterSpec:
    """Return a choice without those that cannot be, and the reasons in its help."""
    refused = [choice for choice in spec.choices if choice in reasons]
    if not refused:
        return spec
    why = " ".join(f"\n\nNot offered: {choice}. {reasons[choice]}" for choice in refused)
    kept = tuple(choice for choice in spec.choices if choice not in reasons)
    return replace(spec, choices=kept, help=spec.help + why)


def draw_params(prefix: str, declared: Iterable[ParameterSpec]) -> None:
    """Draw a widget per parameter; `read_params` has their values. Layers are chosen in a table: `ui.layer_table`."""
    declared = tuple(spec for spec in declared if spec.kind not in OF_LAYERS)
    advanced = [spec for spec in declared if spec.advanced]
    _draw_all(prefix, declared, [spec for spec in declared if not spec.advanced])
    if advanced:
        with st.expander("More settings", key=widget_key(prefix, "more_settings")):
            _draw_all(prefix, declared, advanced)


def read_params(prefix: str, declared: Iterable[ParameterSpec]) -> dict[str, Any]:
    """Return the values of the widgets that `draw_params` and the layer table drew.

    One that does not count gives its default.
    """
    declared = tuple(declared)
    current = _current_values(prefix, declared)
    return {spec.name: current[spec.name] if _counts(spec, current) else spec.default for spec in declared}


def _draw_all(prefix: str, declared: tuple[ParameterSpec, ...], chosen: list[ParameterSpec]) -> None:
    current = _current_values(prefix, declared)
    for first in range(0, len(chosen), 2):
        for column, spec in zip(st.columns(2, vertical_alignment="bottom"), chosen[first : first + 2], strict=False):
            with column:
                draw(spec, widget_key(prefix, spec.name), disabled=not _counts(spec, current))


def _counts(spec: ParameterSpec, current: dict[str, Any]) -> bool:
    return spec.only_if is None or spec.only_if.holds(current)


def _current_values(prefix: str, declared: tuple[ParameterSpec, ...]) -> dict[str, Any]:
    return {spec.name: _current_value(spec, widget_key(prefix, spec.name)) for spec in declared}


def _current_value(spec: ParameterSpec, key: str) -> Any:
    """Return the value before the widget is drawn, so that the order of the declaration does not matter."""
    return st.session_state.get(key, _start_value(spec, key))


def draw(spec: ParameterSpec, key: str, *, disabled: bool = False) -> Any:
    """Draw the widget of one parameter and return its value."""
    common: dict[str, Any] = {
        "key": key,
        "help": help_text(spec, disabled),
        "disabled": disabled,
        "persist_state": "session",
    }
    label, start = label_text(spec), _start_value(spec, key)
    match spec.kind:
        case "switch":
            return st.toggle(label, value=start, **common)
        case "choice":
            return st.selectbox(label, spec.choices, index=spec.choices.index(start), **common)
        case "integer":
            return st.number_input(label, **_whole_bounds(spec), value=int(start), **common)
        case "number":
            return st.number_input(label, **_bounds(spec), value=float(start), format="%g", **common)
        case "text":
            return st.text_input(label, value=start, **common)


def _start_value(spec: ParameterSpec, key: str) -> Any:
    """Return what the widget starts from: the draft that another page left for it, or the default."""
    start = start_of(key, spec.default)
    return start if spec.kind != "choice" or start in spec.choices else spec.default


def _draft_key(key: str) -> str:
    return f"draft:{key}"


def label_text(spec: ParameterSpec) -> str:
    """Return the label with its unit, unless the label says it already ("Epochs")."""
    repeats = spec.unit.lower() in spec.label.lower()
    return spec.label if not spec.unit or repeats else f"{spec.label} ({spec.unit})"


def help_text(spec: ParameterSpec, disabled: bool = False) -> str:
    """Return what the parameter does, its range and default, and why it is disabled where it is."""
    lines = [spec.help]
    if spec.kind in ("number", "integer") and spec.range_text():
        lines.append(f"Range: {spec.range_text()}. Default: {_short(spec.default)}.")
    elif spec.kind != "text":
        lines.append(f"Default: {_short(spec.default)}.")
    if spec.only_if is not None:
        lines.insert(0, f"**Disabled:** counts {spec.only_if.reason}.") if disabled else lines.append(
            f"Counts {spec.only_if.reason}."
        )
    return "\n\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _whole_bounds(spec: ParameterSpec) -> dict[str, Any]:
    """Whole numbers can step past an open end; the widget then stops at the last allowed value."""
    low = None if spec.low is None else int(spec.low) + spec.low_open
    high = None if spec.high is None else int(spec.high) - spec.high_open
    return {"min_value": low, "max_value": high, "step": int(spec.step or 1)}


def _bounds(spec: ParameterSpec) -> dict[str, Any]:
    """An open end stays reachable on the widget; the declaration then refuses it in a sentence."""
    low = None if spec.low is None else float(spec.low)
    high = None if spec.high is None else float(spec.high)
    return {"min_value": low, "max_value": high, "step": float(spec.step or _own_step(spec.default))}


def _own_step(default: float) -> float:
    """A tenth of the magnitude of the default: 0.0001 for 0.001."""
    return 0.1 if default == 0 else float(10.0 ** (math.floor(math.log10(abs(default))) - 1))


def fill_draft(prefix: str, params: dict[str, Any], fine_tuning: dict[str, Any] | None) -> None:
    """Have the form of a technique start from the values of a recipe step; call it from another page."""
    settings = {widget_key(fine_tuning_prefix(prefix), name): value for name, value in (fine_tuning or {}).items()}
    values = {widget_key(prefix, name): value for name, value in params.items()}
    for key, value in {**values, **settings}.items():
        start_from(key, value)


def start_from(key: str, value: Any) -> None:
    """Have a widget that is not on the page start from a value when it is drawn next."""
    st.session_state.pop(key, None)
    st.session_state[_draft_key(key)] = value


def start_of(key: str, default: Any) -> Any:
    """Return what `start_from` left for a widget, or the default."""
    return st.session_state.get(_draft_key(key), default)
