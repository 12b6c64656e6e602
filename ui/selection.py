"""The runs that are selected: one list in the address, which chart, table and comparison share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import streamlit as st

from ui.session import RUN, address, set_address

OPEN_KEY = "project:open_run"


def selected_ids() -> list[str]:
    """Return the ids of the selected runs, in the order in which they were selected."""
    return [run_id for run_id in address("selected").split(",") if run_id]


def select(run_ids: Iterable[str]) -> None:
    """Make exactly these the selected runs."""
    set_address("selected", ",".join(dict.fromkeys(run_ids)))


def is_area(selection: dict[str, Any]) -> bool:
    """True where a selection of a chart was drawn with lasso or box, and not clicked."""
    return bool(selection.get("lasso") or selection.get("box"))


def open_later(run_id: str) -> None:
    """Open a run as soon as the page is drawn again; a callback itself cannot change the page."""
    st.session_state[OPEN_KEY] = run_id


def open_chosen() -> None:
    """Go to the run whose point or row was just clicked."""
    run_id = st.session_state.pop(OPEN_KEY, "")
    if run_id:
        st.switch_page(RUN, query_params={"run": run_id})
