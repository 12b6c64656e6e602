"""What people say of a run: name, note, tags, star, archived. Typed text is cut to what a store and a page can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NAME_LENGTH = 120
NOTE_LENGTH = 4000
TAG_LENGTH = 60
MOST_TAGS = 20


def cleaned_labels(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the labels that are given (not None), as they are stored."""
    labels = {key: value for key, value in given.items() if value is not None}
    if "name" in labels:
        labels["name"] = one_line(labels["name"], NAME_LENGTH) or "Untitled"
    if "note" in labels:
        labels["note"] = str(labels["note"]).strip()[:NOTE_LENGTH]
    if "tags" in labels:
        labels["tags"] = cleaned_tags(labels["tags"])
    return labels


def cleaned_tags(tags: Iterable[str]) -> list[str]:
    """Return each tag once, on one line, at most `MOST_TAGS`."""
    lines = (one_line(tag, TAG_LENGTH) for tag in tags)
    return list(dict.fromkeys(line for line in lines if line))[:MOST_TAGS]


def one_line(text: str, longest: int) -> str:
    """Return a text without line breaks and without blanks at its ends."""
    return " ".join(text.split())[:longest].strip()
