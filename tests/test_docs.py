"""The documents say what the code does: generated parts are fresh, commands and settings that are named exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import PAGES, page
from optimizers import TECHNIQUES
from optimizers.declaration import specs
from runs.settings import Settings

ROOT = Path(__file__).parent.parent
HAND_WRITTEN = ("README.md", "CONTRIBUTING.md", "samples/README.md")
INTERNAL_TARGETS = {"dev"}
"""Targets that only other targets ask for, so that no document need name them."""


def make_targets() -> set[str]:
    """Names of the targets of the Makefile that are meant to be typed."""
    return set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)) - INTERNAL_TARGETS


def named_targets(document: str) -> set[str]:
    """Targets that a document tells its reader to type, in code spans and code blocks."""
    text = (ROOT / document).read_text()
    code = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
    return {name for part in code for name in re.findall(r"\bmake ([a-z][a-z-]*)", part)}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_is_fresh(name: str) -> None:
    assert (ROOT / name).read_text() == page(name), f"{name} is stale: run `make docs`"


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda technique: technique.name)
def test_every_technique_has_a_section_with_all_its_parameters(technique) -> None:  # type: ignore[no-untyped-def]
    text = (ROOT / "docs" / "techniques.md").read_text()
    assert f"\n## {technique.title}\n" in text
    section = text.split(f"\n## {technique.title}\n")[1].split("\n## ")[0]
    missing = [spec.name for spec in specs(technique.Params) if f"| `{spec.name}` |" not in section]
    assert missing == []


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda technique: technique.name)
def test_the_readme_tells_when_to_use_a_technique(technique) -> None:  # type: ignore[no-untyped-def]
    assert re.search(rf"^\| \*?\*?{re.escape(technique.title)}", (ROOT / "README.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("document", HAND_WRITTEN)
def test_a_document_names_only_make_targets_that_exist(document: str) -> None:
    assert named_targets(document) - make_targets() == set()


def test_every_make_target_is_documented() -> None:
    documented = named_targets("README.md") | named_targets("CONTRIBUTING.md")
    assert make_targets() - documented == set()


@pytest.mark.parametrize("document", HAND_WRITTEN)
def test_a_document_links_only_to_files_that_exist(document: str) -> None:
    folder = (ROOT / document).parent
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / document).read_text())
    missing = [link for link in links if not (folder / link).exists()]
    assert missing == []


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    descriptions = [field.description or name for name, field in Settings.model_fields.items()]
    assert [description for description in descriptions if description not in text] == []


def test_the_folder_tree_of_the_readme_is_the_real_one() -> None:
    tree = (ROOT / "README.md").read_text().split("## What is where")[1].split("```")[1]
    named = re.findall(r"^([\w.]+/?) {2,}", tree, re.MULTILINE)
    assert named, "the README shows no folder tree"
    assert [name for name in named if not (ROOT / name).exists()] == []
    packages = {path.parent.name for path in ROOT.glob("[a-z]*/*.py")}
    assert packages - {name.rstrip("/") for name in named} == set()
