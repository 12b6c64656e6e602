"""What a widget that is not on the page yet will start from."""

from __future__ import annotations

from typing import Any

import streamlit as st


def _draft_key(key: str) -> str:
    return f"draft:{key}"


def start_from(key: str, value: Any) -> None:
    """Have a widget that is not on the page start from a value when it is drawn next."""
    st.session_state.pop(key, None)
    st.session_state[_draft_key(key)] = value


def start_of(key: str, default: Any) -> Any:
    """Return what `start_from` left for a widget, or the default."""
    return st.session_state.get(_draft_key(key), default)


def forget_drafts(prefix: str) -> None:
    """Forget the values and drafts of all widgets whose keys begin with a prefix."""
    for key in [key for key in st.session_state if str(key).startswith((prefix, _draft_key(prefix)))]:
        del st.session_state[key]
