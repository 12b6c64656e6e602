"""Declared parameters as widgets: one function per kind of parameter, none per technique.

Values survive page changes (`persist_state`), so a draft is never lost by looking at another page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import streamlit as st

from optimizers.declaration import OF_LAYERS, ParameterSpec
from optimizers.sweep import SWEPT
from ui.drafts import start_of
from ui.setting_texts import help_text, label_text
from ui.several import draw_several, several_of


def widget_key(prefix: str, name: str) -> str:
    """Return the key of a parameter's widget: "pruning:final_sparsity"."""
    return f"{prefix}:{name}"


def fine_tuning_prefix(prefix: str) -> str:
    """Return the prefix of a technique's fine-tuning settings."""
    return f"{prefix}:fine_tuning"


def without_choices(spec: ParameterSpec, reasons: dict[Any, str]) -> ParameterSpec:
    """Return a choice without those that cannot be, and the reasons in its help."""
    refused = [choice for choice in spec.choices if choice in reasons]
    if not refused:
        return spec
    why = " ".join(f"\n\nNot offered: {choice}. {reasons[choice]}" for choice in refused)
    kept = tuple(choice for choice in spec.choices if choice not in reasons)
    return replace(spec, choices=kept, help=spec.help + why)


def draw_params(prefix: str, declared: Iterable[ParameterSpec], *, sweeping: bool = False) -> None:
    """Draw a widget per parameter; `read_params` has their values. Layers are chosen in a table: `ui.layer_table`.

    Args:
        prefix: of the keys of the widgets.
        declared: the parameters.
        sweeping: whether those that can have several values are given as a list or range.
    """
    declared = tuple(spec for spec in declared if spec.kind not in OF_LAYERS)
    advanced = [spec for spec in declared if spec.advanced]
    _draw_all(prefix, declared, [spec for spec in declared if not spec.advanced], sweeping)
    if advanced:
        with st.expander("More settings", key=widget_key(prefix, "more_settings")):
            _draw_all(prefix, declared, advanced, sweeping)


def read_params(prefix: str, declared: Iterable[ParameterSpec], *, sweeping: bool = False) -> dict[str, Any]:
    """Return the values of the widgets that `draw_params` and the layer table drew, as `optimizers.sweep` takes them.

    One that does not count gives its default.
    """
    declared = tuple(declared)
    current = _current_values(prefix, declared, sweeping)
    return {spec.name: current[spec.name] if _counts(spec, current) else spec.default for spec in declared}


def _draw_all(prefix: str, declared: tuple[ParameterSpec, ...], chosen: list[ParameterSpec], sweeping: bool) -> None:
    current = _current_values(prefix, declared, sweeping)
    for first in range(0, len(chosen), 2):
        for column, spec in zip(st.columns(2, vertical_alignment="bottom"), chosen[first : first + 2], strict=False):
            with column:
                key, disabled = widget_key(prefix, spec.name), not _counts(spec, current)
                if sweeping and spec.kind in SWEPT:
                    draw_several(spec, key, _current_value(spec, key), disabled=disabled)
                else:
                    draw(spec, key, disabled=disabled)


def _counts(spec: ParameterSpec, current: dict[str, Any]) -> bool:
    """True where it counts under the values of the others, or under one of several."""
    condition = spec.only_if
    while condition is not None:
        parent = current.get(condition.parameter)
        if not any(value in condition.values for value in (parent if isinstance(parent, list) else [parent])):
            return False
        condition = condition.and_if
    return True


def _current_values(prefix: str, declared: tuple[ParameterSpec, ...], sweeping: bool) -> dict[str, Any]:
    found = {}
    for spec in declared:
        key = widget_key(prefix, spec.name)
        single = _current_value(spec, key)
        found[spec.name] = several_of(spec, key, single) if sweeping and spec.kind in SWEPT else single
    return found


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
