"""What people say of runs: name, note, tags, star; archive, restore and delete; for one run or for several at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from intake.errors import UserError
from runs.labels import MOST_TAGS, NAME_LENGTH, NOTE_LENGTH
from runs.records import RunRecord
from ui.formatting import as_text
from ui.run_filter import tags_of
from ui.selection import select
from ui.session import PROJECT, may_change, service, show_problems

DESCRIBE, TAG, DELETE = "Name, note and tags", "Add tags", "Delete"
STAR, UNSTAR, ARCHIVE, RESTORE = "Star", "Remove the star", "Archive", "Restore"
_SWITCHES: dict[str, dict[str, Any]] = {
    STAR: {"starred": True},
    UNSTAR: {"starred": False},
    ARCHIVE: {"archived": True},
    RESTORE: {"archived": False},
}
_NAMED_IN_FULL = 5
"""Names in the question before a deletion."""


def choices_for(chosen: list[RunRecord]) -> list[str]:
    """Return what can be done with some runs: nothing that would change nothing."""
    choices = [DESCRIBE if len(chosen) == 1 else TAG]
    if not all(run.starred for run in chosen):
        choices.append(STAR)
    if any(run.starred for run in chosen):
        choices.append(UNSTAR)
    if not all(run.archived for run in chosen):
        choices.append(ARCHIVE)
    if any(run.archived for run in chosen):
        choices.append(RESTORE)
    return [*choices, DELETE]


def draw_run_menu(run: RunRecord) -> None:
    """Draw the menu of a run's page."""
    _act(st.menu_button("Manage", choices_for([run]), key="run:menu", type="tertiary"), [run], on_run_page=True)


def draw_menu_of_selected(chosen: list[RunRecord]) -> None:
    """Draw what can be done with the selected runs of a project; nothing where none is, or for viewers."""
    if chosen and may_change():
        label = f"{len(chosen):,} selected" if len(chosen) > 1 else "1 selected"
        _act(st.menu_button(label, choices_for(chosen), key="project:selected_menu"), chosen, on_run_page=False)


def _act(choice: str | None, chosen: list[RunRecord], on_run_page: bool) -> None:
    if choice == DESCRIBE:
        describe_run(chosen[0])
    elif choice == TAG:
        tag_runs(chosen)
    elif choice == DELETE:
        delete_runs(chosen, on_run_page)
    elif choice in _SWITCHES and _done(chosen, lambda run: service().label_run(run.run_id, **_SWITCHES[choice])):
        if choice == ARCHIVE and not on_run_page:
            st.toast("Archived. *Filter* shows archived runs again, and *Restore* brings them back.")
        st.rerun()


def _done(chosen: list[RunRecord], change: Callable[[RunRecord], None]) -> bool:
    """Change all runs that can be; show why the others cannot, and return True where there are none of these."""
    problems: dict[str, None] = {}
    for run in chosen:
        try:
            change(run)
        except UserError as error:
            problems |= dict.fromkeys(f"{run.name}: {problem}" for problem in error.problems)
    if problems:
        show_problems(tuple(problems))
    return not problems


def draw_note(run: RunRecord) -> None:
    """Draw what somebody wrote about a run, exactly as it was typed."""
    if run.note:
        with st.container(border=True, key="run:note"):
            st.markdown("  \n".join(as_text(line) for line in run.note.splitlines()))


@st.dialog("Name, note and tags")
def describe_run(run: RunRecord) -> None:
    """Ask for name, note and tags of a run."""
    name = st.text_input("Name", run.name, max_chars=NAME_LENGTH, key=f"describe:name:{run.run_id}")
    note = st.text_area("Note", run.note, max_chars=NOTE_LENGTH, key=f"describe:note:{run.run_id}")
    tags = _ask_tags(list(run.tags), run)
    if st.button("Save", type="primary", key="describe:do") and _done(
        [run], lambda run: service().label_run(run.run_id, name=name, note=note, tags=tags)
    ):
        st.rerun()


def _ask_tags(given: list[str], run: RunRecord) -> list[str]:
    known = tags_of(service().runs(run.project_id))
    return st.multiselect(
        "Tags",
        list(dict.fromkeys([*given, *known])),
        given,
        key=f"describe:tags:{run.run_id}",
        accept_new_options=True,
        max_selections=MOST_TAGS,
        placeholder="Choose one, or type a new one",
    )


@st.dialog("Add tags")
def tag_runs(chosen: list[RunRecord]) -> None:
    """Ask for tags that several runs get besides their own."""
    tags = _ask_tags([], chosen[0])
    if st.button("Add", type="primary", key="tag:do", disabled=not tags) and _done(
        chosen, lambda run: service().label_run(run.run_id, tags=[*run.tags, *tags])
    ):
        st.rerun()


@st.dialog("Delete")
def delete_runs(chosen: list[RunRecord], on_run_page: bool) -> None:
    """Ask before runs are deleted."""
    names = [f"**{as_text(run.name)}**" for run in chosen]
    more = len(names) - _NAMED_IN_FULL
    listed = ", ".join(names if more <= 0 else [*names[:_NAMED_IN_FULL], f"and {more} more"])
    st.markdown(f"Delete {listed} with {'its' if len(chosen) == 1 else 'their'} files?")
    st.caption("To only get them out of sight, archive them instead.")
    label = "Delete run" if len(chosen) == 1 else f"Delete {len(chosen):,} runs"
    if st.button(label, type="primary", key="delete_run:do") and _done(
        chosen, lambda run: service().delete_run(run.run_id)
    ):
        if on_run_page:
            st.switch_page(PROJECT, query_params={"project": chosen[0].project_id})
        select([])
        st.rerun()
