"""The recipe on the page of a run: what is not the default at once, the rest behind a click."""

from __future__ import annotations

import pytest

from optimizers import TECHNIQUES
from optimizers.declaration import specs
from optimizers.recipe import Recipe
from optimizers.technique import Technique
from runs.records import Project
from runs.service import Service
from tests import test_pages
from tests.test_pages import finished, open_page

service, project = test_pages.service, test_pages.project


def settings_shown(service: Service, project: Project, recipe: Recipe) -> list[list[str]]:
    """The settings in each table of the page that lists any."""
    run = finished(service, project, "shown", recipe, 0.9, 1000)
    page = open_page("pages/run.py", run=run.run_id)
    assert not page.exception
    return [list(table.value["Setting"]) for table in page.dataframe if "Setting" in table.value]


@pytest.mark.parametrize("entry", TECHNIQUES, ids=lambda entry: entry.name)
def test_a_recipe_of_defaults_lists_its_settings_once(service: Service, project: Project, entry: Technique) -> None:
    (every,) = settings_shown(service, project, Recipe.single(entry.name))
    assert specs(entry.Params)[0].label in every


def test_what_was_changed_stands_by_itself(service: Service, project: Project) -> None:
    changed, every = settings_shown(service, project, Recipe.single("pruning", {"final_sparsity": 0.7}))
    assert changed == ["Final sparsity"]
    assert set(changed) < set(every)
