"""Widgets of a setting that takes several values: a text for numbers, a choice of some for the rest."""

from __future__ import annotations

from typing import Any

import streamlit as st

from optimizers.declaration import ParameterSpec
from optimizers.sweep import HOW, SWEPT
from ui.drafts import start_from, start_of
from ui.setting_texts import help_text, label_text, short_value

ENDING = ":several"
"""Of the keys of these widgets, so that single values are kept beside."""


def several_key(key: str) -> str:
    """Return the key of the widget that takes several values of a setting, by the key of the one that takes one."""
    return f"{key}{ENDING}"


def draw_several(spec: ParameterSpec, key: str, single: Any, *, disabled: bool) -> None:
    """Draw the widget of one setting; it starts from the single value that the form has for it."""
    common: dict[str, Any] = {"key": several_key(key), "disabled": disabled, "persist_state": "session"}
    label, help_ = label_text(spec), help_text(spec, disabled)
    if spec.kind in ("number", "integer"):
        st.text_input(label, value=_start(spec, key, single), help=f"{help_}\n\n{HOW}", **common)
    else:
        start = [value for value in _start(spec, key, single) if value in _choices(spec)]
        st.multiselect(label, _choices(spec), default=start, format_func=short_value, help=help_, **common)


def _start(spec: ParameterSpec, key: str, single: Any) -> Any:
    numeric = spec.kind in ("number", "integer")
    return start_of(several_key(key), _number_text(single) if numeric else [single])


def _number_text(value: float) -> str:
    """The shortest that reads back as the value."""
    short = f"{value:g}"
    return short if float(short) == value else str(value)


def _choices(spec: ParameterSpec) -> list[Any]:
    return [False, True] if spec.kind == "switch" else list(spec.choices)


def several_of(spec: ParameterSpec, key: str, single: Any) -> Any:
    """Return what its widget says, drawn or not yet: the text of a number, a list of choices."""
    return st.session_state.get(several_key(key), _start(spec, key, single))


def has_several(spec: ParameterSpec, value: Any) -> bool:
    """True where a value of a recipe file is several: a list, or the text of a number."""
    return spec.kind in SWEPT and (
        isinstance(value, list) or (isinstance(value, str) and spec.kind in ("number", "integer"))
    )


def draft_several(spec: ParameterSpec, key: str, value: Any) -> None:
    """Have the widget start from several values of a recipe file."""
    numeric = spec.kind in ("number", "integer")
    start_from(several_key(key), ", ".join(map(str, value)) if numeric and isinstance(value, list) else value)


def begin_sweep() -> None:
    """Have settings with one value start from the plain form again, which may have changed since the last sweep."""
    for key in [str(key) for key in st.session_state]:
        value = st.session_state[key] if key.endswith(ENDING) else None
        if (isinstance(value, list) and len(value) == 1) or (
            isinstance(value, str) and not ("," in value or ".." in value)
        ):
            del st.session_state[key]
