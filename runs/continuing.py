"""Going on from where another run of the same project ended, instead of carrying its steps out again.

Either because somebody said so, or because the other has carried out the same first steps: the same settings and seed
come to the same weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intake.errors import InvalidParams, UserError
from intake.models import inspect_model, load_prepared
from optimizers.recipe import Recipe, RecipeStep
from runs.records import Parent, Project, RunRecord
from runs.report import read_report
from runs.store import Store

if TYPE_CHECKING:
    from optimizers.apply import Done


def check_parent(parent: Parent, project_id: str, recipe: Recipe, store: Store) -> None:
    """Raise UserError where a recipe cannot continue the run that it is said to, or that run is gone."""
    if parent.relation != "continues":
        return
    problem = why_not_continued(store.run(parent.run_id), project_id, recipe)
    if problem:
        raise InvalidParams(problem)


def why_not_continued(run: RunRecord, project_id: str, recipe: Recipe) -> str:
    """Return why a recipe in a project does not go on from where a run ended, in a sentence; "" where it does."""
    before = run.recipe.steps
    if run.project_id != project_id:
        return f"{run.name} belongs to another project. Continue it with the same model, dataset and fit."
    if run.state != "finished" or run.result is None:
        return f"Only a finished run can be continued, but {run.name} is {run.state}. Wait for it, or run it again."
    if not before or len(recipe.steps) <= len(before) or _filled(recipe.steps[: len(before)]) != _filled(before):
        return (
            f"A run that continues {run.name} must begin with its steps ({run.recipe.title}) as they were and add at "
            f"least one, got {recipe.title}. Add a step, or start a new run."
        )
    return ""


def _filled(steps: Sequence[RecipeStep]) -> list[RecipeStep]:
    """Return steps with the defaults of settings that came later than they: a run of an older version says none of them."""
    return [RecipeStep.checked(step.technique, step.params, step.fine_tuning) for step in steps]


def steps_done(
    record: RunRecord, project: Project, store: Store, model: Any, scratch: Path, versions: Mapping[str, str]
) -> tuple[Done | None, str]:
    """Return the steps that a run need not carry out again, and what to say of it; for the worker.

    Args:
        record: the run.
        project: its project.
        store: that has both.
        model: the clean tf_keras model of the project.
        scratch: a folder to open the other run's model in; it is removed again.
        versions: of the libraries at work; none: only what the run was said to continue counts.

    Returns:
        None and "" where there is nothing to go on from. None and a sentence where it continues a run whose weights
        cannot be taken: then all steps are to be carried out.
    """
    try:
        before, count = _before(record, store, versions)
        if before is None:
            return None, ""
        ended = _weights_of(before, project, store, model, scratch)
    except (UserError, OSError, ValueError) as error:
        if not record.is_continuing:
            return None, ""
        return None, (
            "The weights of the run that it continues could not be taken, so all steps were carried out from the start. "
            f"{' '.join(str(error).split())}"
        )
    from optimizers.apply import Done

    steps = "step 1 was" if count == 1 else f"steps 1 to {count} were"
    why = "" if record.is_continuing else ", which had the same settings and the same seed in them"
    return Done(count, ended), f"Goes on from the weights of {before.name}: {steps} not carried out again{why}."


def _before(record: RunRecord, store: Store, versions: Mapping[str, str]) -> tuple[RunRecord | None, int]:
    """The run to go on from, and how many steps it has carried out."""
    if record.parent is None or not record.is_continuing:
        return _same_beginning(record, store, versions) if versions else (None, 0)
    before = store.run(record.parent.run_id)
    if problem := why_not_continued(before, record.project_id, record.recipe):
        raise UserError(problem)
    return before, len(before.recipe.steps)


def _same_beginning(record: RunRecord, store: Store, versions: Mapping[str, str]) -> tuple[RunRecord | None, int]:
    """The newest of the finished runs that have trained the most of the first steps of a recipe, and how many.

    A run of the same recipe is none: whoever runs it once more wants to see it once more.
    """
    steps = record.recipe.steps
    if not trained_steps(record.recipe):
        return None, 0
    shared = [
        (count, run)
        for run in store.newest_finished(record.project_id)
        if run.recipe != record.recipe
        and 0 < (count := trained_steps(run.recipe)) < len(steps)
        and run.recipe.steps[:count] == steps[:count]
    ]
    for count, run in sorted(shared, key=lambda pair: pair[0], reverse=True):
        report = read_report(store.artifacts(run.run_id))
        if report is not None and report.one_dnn and report.versions == versions:
            return run, count
    return None, 0


def trained_steps(recipe: Recipe) -> int:
    """Return how many of the first steps lead to the weights that a run of the recipe leaves."""
    return max((number for number, step in enumerate(recipe.steps, 1) if step.fine_tuning is not None), default=0)


def _weights_of(run: RunRecord, project: Project, store: Store, model: Any, scratch: Path) -> Any:
    try:
        inspect_model(_model_file(run, project, store), scratch)
        ended = load_prepared(scratch)
        require_same_weights(model, ended)
        return ended
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _model_file(run: RunRecord, project: Project, store: Store) -> Path:
    """The Keras model that a run left, in the uploaded format."""
    stem = Path(project.model.file_name).stem
    found = [one.path for one in store.artifacts(run.run_id) if one.path.stem == stem and one.path.suffix in _FORMATS]
    if not found:
        raise UserError(f"{run.name} left no Keras model, or it was deleted.")
    return found[0]


_FORMATS = (".keras", ".h5", ".hdf5", ".zip")


def require_same_weights(model: Any, other: Any) -> None:
    """Raise UserError where two tf_keras models do not have the same layers with weights of the same shapes."""
    one, two = (
        [(layer.name, [tuple(weight.shape) for weight in layer.weights]) for layer in each.layers if layer.weights]
        for each in (model, other)
    )
    if one != two:
        raise UserError("Its saved model has other layers than the uploaded one.")
