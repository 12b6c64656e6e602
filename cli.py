"""The same jobs without a browser: `python cli.py inspect …` and `python cli.py run …`.

Exit status: 0 finished, 1 the run failed, 2 the user's mistake (a sentence on stderr).
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any, get_args

from intake.dataset_info import RANDOM_INPUTS, RANDOM_INPUTS_NOTE, DatasetOptions
from intake.errors import InvalidParams, UserError
from intake.fit import FitOverrides, Loss, ScaleMode, Task
from measure.packed_files import PACKINGS
from optimizers import TECHNIQUES, technique
from optimizers.declaration import ParameterSpec, Params, specs
from optimizers.fine_tuning import FineTuning, suggested
from optimizers.recipe import Recipe
from optimizers.treatment import counted
from runs.records import Result, RunRecord
from runs.service import Prepared, Service, check_layers


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = _parser().parse_args(arguments)
    service = Service()
    try:
        return int(given.command(service, given))
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except OSError as error:  # an unreadable file, a folder that cannot be made
        print(f"{error.strerror or error}: {error.filename}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 1
    finally:
        service.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cli.py", description="Make Keras models smaller and see what it costs.")
    commands = parser.add_subparsers(required=True, metavar="command")
    inspect = commands.add_parser("inspect", help="show how a model and a dataset are understood and fit together")
    run = commands.add_parser("run", help="carry out a technique or a recipe and measure the result")
    for command in (inspect, run):
        _add_inputs(command)
    inspect.set_defaults(command=_inspect)
    run.set_defaults(command=_run)
    how = run.add_mutually_exclusive_group(required=True)
    how.add_argument("--technique", choices=[entry.name for entry in TECHNIQUES], help="what to apply")
    how.add_argument("--recipe", type=Path, metavar="FILE", help="recipe.yaml of an earlier run")
    run.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any parameter listed below")
    run.add_argument("--project", default="", metavar="NAME", help="name of the project in the dashboard")
    run.add_argument("--name", default="", help="name of the run")
    run.add_argument("--out", type=Path, metavar="DIR", help="copy the artefacts into this folder")
    _add_parameters(run)
    return parser


def _add_inputs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", type=Path, required=True, help="Keras model: .h5, .hdf5, .keras, or .zip of a SavedModel"
    )
    command.add_argument(
        "--dataset", type=Path, help=".npz, .csv, .parquet, or .zip of images; left out: random inputs for the model"
    )
    labels = command.add_mutually_exclusive_group()
    labels.add_argument("--label", metavar="COL", help="column to predict, for tables")
    labels.add_argument("--no-labels", action="store_true", help="take every column or image as an input")
    command.add_argument("--task", choices=get_args(Task), help="default: read from the model and the labels")
    command.add_argument("--scale", choices=get_args(ScaleMode), help="default: the best of the plausible ones")
    command.add_argument("--project-loss", choices=get_args(Loss), help="default: read from the model and the labels")
    command.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def _add_parameters(command: argparse.ArgumentParser) -> None:
    """One flag for each declared parameter; a name that two techniques share is one flag."""
    seen: set[str] = set()
    groups: list[tuple[str, type[Params]]] = [("fine-tuning", FineTuning)]
    groups += [(entry.name, entry.Params) for entry in TECHNIQUES]
    for title, declaration in groups:
        group = command.add_argument_group(title)
        for spec in specs(declaration):
            if spec.name not in seen:
                seen.add(spec.name)
                flag = "--" + spec.name.replace("_", "-")
                group.add_argument(flag, dest=f"param_{spec.name}", metavar="VALUE", help=_flag_help(spec))


def _flag_help(spec: ParameterSpec) -> str:
    """argparse formats help with %, so a literal one is doubled."""
    return f"{spec.help} Default {spec.default}; {spec.range_text() or 'any'}.".replace("%", "%%")


def _inspect(service: Service, given: argparse.Namespace) -> int:
    prepared = _prepared(service, given)
    model_info, dataset_info, report = prepared.model_info, prepared.dataset_info, prepared.report
    described = {
        "model": model_info.model_dump(mode="json"),
        "dataset": dataset_info.model_dump(mode="json"),
        "match": report.model_dump(mode="json"),
    }
    if given.json:
        print(_json(described))
        return 0
    print(f"Model     {model_info.file_name}: {model_info.saved_by}, {model_info.parameters:,} parameters")
    print(f"          input {_shapes(model_info.input_shapes)}, output {_shapes(model_info.output_shapes)}")
    print(f"Dataset   {dataset_info.file_name}: {dataset_info.kind}, {dataset_info.split}")
    print(f"Task      {report.fit.task}, loss {report.fit.loss}")
    if report.fit.task == "agreement":
        print(f"          scale {report.candidates[0].scale}; measured by agreement with the uploaded model")
    for candidate in report.candidates if report.fit.task != "agreement" else ():
        mark = "→" if candidate.chosen else " "
        print(
            f"  {mark} scale {candidate.scale}, classes {candidate.class_order}: {candidate.metric_name} {candidate.metric:.4f}"
        )
    for note in (*model_info.notes, *dataset_info.notes, *report.notes):
        print(f"Note      {note}")
    return 0


def _shapes(shapes: tuple[tuple[int | None, ...], ...]) -> str:
    return " and ".join(map(str, shapes))


def _json(value: Any) -> str:
    """JSON knows no NaN and no infinity: they become null."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _prepared(service: Service, given: argparse.Namespace) -> Prepared:
    for path in (given.model, given.dataset):
        if path is not None and not path.is_file():
            raise UserError(f"There is no file {path}. Check the path.")
    options = DatasetOptions(label_column=given.label, label_kind="none" if given.no_labels else "auto")
    overrides = FitOverrides(task=given.task, scale=given.scale, loss=given.project_loss)
    _say("Opening model and dataset …" if given.dataset else f"Opening the model … {RANDOM_INPUTS_NOTE}")
    return service.prepare(given.model, given.dataset, options, overrides)


def _run(service: Service, given: argparse.Namespace) -> int:
    _recipe(given, None)  # mistakes are told before anything is opened
    prepared = _prepared(service, given)
    recipe = _recipe(given, prepared.dataset_info.train_samples)
    _look_ahead(service, prepared.model_id, recipe)
    data_name = given.dataset.stem if given.dataset else RANDOM_INPUTS
    project = service.project_of(given.project or f"{given.model.stem} on {data_name}", prepared)
    if given.project and project.name != given.project:
        _say(f"These files with this fit are a project already: {project.name}.")
    service.check_settings(recipe, project)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
    _say(f"Measuring the baseline of project {project.name} …")
    baseline = service.wait(service.baseline(project.project_id).run_id)
    if baseline.result is None:
        _say(f"The baseline could not be measured. {baseline.error}")
        return 1
    _say(f"Running {recipe.title} …")
    run = service.wait(service.submit(project.project_id, recipe, given.name).run_id)
    report = service.report(run.run_id)
    outcome = {
        "run_id": run.run_id,
        "project_id": project.project_id,
        "dataset": project.dataset_name,
        "name": run.name,
        "status": run.state,
        "error": run.error,
        "recipe": recipe.model_dump(mode="json"),
        "baseline": _figures(baseline.result),
        "result": _figures(run.result),
        "estimate": report.estimate.model_dump() if report and report.estimate else None,
        "verified": [fact.model_dump() for fact in report.facts] if report else [],
        "artifacts": _artifacts(service, run, given.out),
    }
    print(_json(outcome)) if given.json else _print_outcome(outcome)
    if run.error:
        _say(run.error)
    return 0 if run.state == "finished" else 1


def _look_ahead(service: Service, model_id: str, recipe: Recipe) -> None:
    """Say what the recipe will do before a second is spent; raises UserError where it will do nothing."""
    job = service.model_plan(model_id)
    try:
        plan = job.wait()
    except UserError as error:
        _say(f"There is no estimate. {error}")
        return
    check_layers(recipe, plan.layers)
    for step in recipe.steps:
        _say(f"{step.entry.title} {counted(step.entry.treatments(plan.layers, step.checked_params))}.")
    estimate = service.estimate(model_id, recipe)
    if estimate is not None:
        _say(f"Estimate: .tflite {estimate.tflite_bytes:,} B, gzip {estimate.gzip_bytes:,} B")


def _recipe(given: argparse.Namespace, train_samples: int | None) -> Recipe:
    """The recipe asked for; with `train_samples`, the epochs of a small dataset unless some were given."""
    values = {name[6:]: text for name, text in vars(given).items() if name.startswith("param_") and text is not None}
    for pair in given.set:
        name, separator, text = pair.partition("=")
        if not separator:
            raise InvalidParams(f"--set takes NAME=VALUE, like final_sparsity=0.8, got {pair!r}.")
        values[name.strip()] = text.strip()
    if given.recipe:
        return _recipe_file(given.recipe, values)
    entry = technique(given.technique)
    own = {spec.name for spec in specs(entry.Params)}
    common = {spec.name for spec in specs(FineTuning)} - own
    params = entry.Params.from_text({name: text for name, text in values.items() if name not in common})
    settings = FineTuning.from_text({name: text for name, text in values.items() if name in common})
    if entry.fine_tuning is not None and train_samples is not None:
        settings = {**suggested(entry.fine_tuning, train_samples).model_dump(), **settings}
    return Recipe.single(entry.name, params, settings)


def _recipe_file(path: Path, values: dict[str, str]) -> Recipe:
    """A recipe file, with the fine-tuning settings of the command line laid over its own."""
    try:
        recipe = Recipe.from_yaml(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The recipe {path} cannot be read: {error}.") from None
    unknown = sorted(set(values) - {spec.name for spec in specs(FineTuning)})
    if unknown:
        raise InvalidParams(
            f"With --recipe only fine-tuning settings can be changed; edit the file for: {', '.join(unknown)}."
        )
    settings = FineTuning.from_text(values)
    if settings and not any(step.fine_tuning for step in recipe.steps):
        raise InvalidParams(f"No step of this recipe trains; leave out: {', '.join(settings)}.")
    steps = [
        step.model_copy(update={"fine_tuning": {**step.fine_tuning, **settings}}) if step.fine_tuning else step
        for step in recipe.steps
    ]
    return Recipe.checked(steps)


def _figures(result: Result | None) -> dict[str, Any] | None:
    return result.model_dump(mode="json") if result else None


def _artifacts(service: Service, run: RunRecord, out: Path | None) -> dict[str, str]:
    """Name -> path of each file that the run left, copied to `out` where one was given."""
    found = {artifact.name: artifact.path for artifact in service.artifacts(run.run_id)}
    if out is not None:
        found = {name: Path(shutil.copy2(path, out / Path(name).name)) for name, path in found.items()}
    return {name: str(path.resolve()) for name, path in found.items()}


def _print_outcome(outcome: dict[str, Any]) -> None:
    print(f"{outcome['name']}: {outcome['status']} (run {outcome['run_id']})")
    for title in ("baseline", "result"):
        if figures := outcome[title]:
            print(
                f"  {title:9} {figures['metric_name']} {figures['metric']:.4f}  .tflite {figures['tflite_bytes']:,} B  "
                f"gzip {figures['gzip_bytes']:,} B  {figures['latency_ms']:.2f} ms"
            )
            print(f"  {'':9} {packed_text(figures)}")
    if (estimate := outcome["estimate"]) and (figures := outcome["result"]):
        print("  " + estimate_text(estimate, figures))
    if outcome["dataset"] == RANDOM_INPUTS:
        print(f"  {RANDOM_INPUTS_NOTE}")
    for fact in outcome["verified"]:
        verdict = {True: "met", False: "MISSED", None: "not checked"}[fact["met"]]
        print(f"  {verdict:11} {fact['layer']}: asked {fact['asked']}, found {fact['measured']}")
    for path in outcome["artifacts"].values():
        print(f"  {path}")


def packed_text(figures: dict[str, Any]) -> str:
    """Return "gzip 12,345 B, zstd 11,800 B, xz 11,000 B, compact file 9,000 B (smallest)"."""
    known = {entry.title: figures[entry.field] for entry in PACKINGS if figures.get(entry.field) is not None}
    smallest = min(known, key=lambda title: known[title])
    parts = [f"{title} {size:,} B{' (smallest)' * (title == smallest)}" for title, size in known.items()]
    return f"compressed: {', '.join(parts)}"


def estimate_text(estimate: dict[str, int], figures: dict[str, Any]) -> str:
    """Return "estimated .tflite 22,100 B, measured 22,900 B (+3.6 %); ..."."""
    parts = [
        f"{label} {estimate[name]:,} B, measured {figures[name]:,} B ({(figures[name] / estimate[name] - 1) * 100:+.1f} %)"
        for label, name in ((".tflite", "tflite_bytes"), ("gzip", "gzip_bytes"))
        if estimate[name]
    ]
    return f"estimated {'; '.join(parts)}"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
