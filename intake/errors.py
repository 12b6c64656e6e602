"""Mistakes that a user can mend, worded for the page as they are.

UserError
├── UnsupportedModel   the model file cannot be opened, or must not be
├── BadDataset         the dataset file cannot be read, or holds nothing usable
├── DoesNotFit         model and dataset (or technique) do not go together
└── InvalidParams      a parameter is out of its declared range

Everything else that is raised is our bug: the page shows the run id and the log keeps the traceback.
"""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """One or more problems in sentences: which thing, what must hold, what was received, what to do.

    Args:
        problems: one sentence, or all the sentences found (at least one).
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class UnsupportedModel(UserError):
    """The model file cannot be opened, or is not safe to open."""


class BadDataset(UserError):
    """The dataset file cannot be read, or what it holds cannot be used."""


class DoesNotFit(UserError):
    """Two things that are fine by themselves do not go together."""


class InvalidParams(UserError):
    """A parameter or a recipe breaks a declared rule."""
