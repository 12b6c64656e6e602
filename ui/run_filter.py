"""Which runs of a project are shown. Plain data, no Streamlit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from optimizers import TECHNIQUES
from runs.records import RunRecord
from ui.frames import changed_settings
from ui.wording import STATES


@dataclass(frozen=True)
class RunFilter:
    """What a run must be to be shown; what is empty asks for nothing."""

    techniques: tuple[str, ...] = ()
    """Titles; a run needs one of them among its steps."""
    tags: tuple[str, ...] = ()
    """A run needs one of them."""
    states: tuple[str, ...] = ()
    """Words of `ui.wording.STATES`."""
    text: str = ""
    """Words that name, technique, settings, tags, note or owner must all contain, in any case."""
    starred: bool = False
    archived: bool = False
    """Whether archived runs are shown too."""

    @property
    def count(self) -> int:
        """How many kinds of conditions are set."""
        return sum(map(bool, (self.techniques, self.tags, self.states, self.text.strip(), self.starred, self.archived)))


def matching(runs: Iterable[RunRecord], wanted: RunFilter) -> list[RunRecord]:
    """Return the runs to show; baselines always, to compare with, unless they are archived."""
    there = [run for run in runs if wanted.archived or not run.archived]
    if wanted == RunFilter(archived=wanted.archived):
        return there
    return [run for run in there if run.is_baseline or _meets(run, wanted)]


def _meets(run: RunRecord, wanted: RunFilter) -> bool:
    titles = {step.entry.title for step in run.recipe.steps}
    return (
        (not wanted.techniques or bool(titles & set(wanted.techniques)))
        and (not wanted.tags or bool(set(run.tags) & set(wanted.tags)))
        and (not wanted.states or STATES[run.state] in wanted.states)
        and (not wanted.starred or run.starred)
        and _contains(run, wanted.text.casefold().split())
    )


def _contains(run: RunRecord, words: list[str]) -> bool:
    if not words:
        return True
    parts = (run.name, run.recipe.title, run.note, run.owner, run.run_id, *run.tags, *changed_settings(run.recipe))
    text = "\n".join(parts).casefold()
    return all(word in text for word in words)


def tags_of(runs: Iterable[RunRecord]) -> list[str]:
    """Return all tags of some runs, the newest first."""
    return list(dict.fromkeys(tag for run in reversed(list(runs)) for tag in run.tags))


def techniques_of(runs: Iterable[RunRecord]) -> list[str]:
    """Return the titles of the techniques that some runs used, in the order of the registry."""
    used = {step.technique for run in runs for step in run.recipe.steps}
    return [entry.title for entry in TECHNIQUES if entry.name in used]


def states_of(runs: Iterable[RunRecord]) -> list[str]:
    """Return the states that some runs are in, in the order of their life."""
    found = {run.state for run in runs}
    return [word for state, word in STATES.items() if state in found]
