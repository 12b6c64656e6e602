"""The same jobs without a browser: `python cli.py inspect …`, `python cli.py run …` and `python cli.py export …`.

Exit status: 0 finished, 1 the run failed, 2 the user's mistake (a sentence on stderr).
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from intake.dataset_info import RANDOM_INPUTS, RANDOM_INPUTS_NOTE, DatasetOptions
from intake.errors import UserError
from intake.fit import FitOverrides, Loss, ScaleMode, Task
from measure.packed_files import PACKINGS
from optimizers import TECHNIQUES
from optimizers.advice import advice_on
from optimizers.declaration import ParameterSpec, Params, specs
from optimizers.fine_tuning import FineTuning
from optimizers.presets import presets, steps_named
from optimizers.recipe import RecipeStep, with_suggested_epochs
from optimizers.sweep import MANY_POINTS, Point, expand
from optimizers.treatment import counted
from runs.checks import check_layers, check_points
from runs.handover.files import HANDOVERS
from runs.handover.source import ReportWriter
from runs.recipe_flags import laid_over, pairs_of
from runs.records import Parent, Project, Result, RunRecord
from runs.service import Prepared, Service


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = _parser().parse_args(arguments)
    try:
        service = Service(reports=_report_writer() if given.command is _export else None)
    except UserError as error:  # the store is of another version
        print("\n".join(error.problems), file=sys.stderr)
        return 2
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
    how.add_argument(
        "--technique", nargs="+", choices=[entry.name for entry in TECHNIQUES], help="what to apply, one after another"
    )
    how.add_argument(
        "--recipe", metavar="NAME|FILE", help=f"one of {_preset_names()}, or a file like the recipe.yaml of a run"
    )
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any parameter listed below; TECHNIQUE.NAME=VALUE for one step of several",
    )
    run.add_argument(
        "--continue",
        dest="continued",
        default="",
        metavar="RUN_ID",
        help="go on from the weights of this run of the same files: its steps come first, and are not trained again",
    )
    run.add_argument("--yes", action="store_true", help=f"queue a sweep of more than {MANY_POINTS} runs, too")
    run.add_argument("--project", default="", metavar="NAME", help="name of the project in the dashboard")
    run.add_argument("--name", default="", help="name of the run")
    run.add_argument("--out", type=Path, metavar="DIR", help="copy the artefacts into this folder")
    run.epilog = (
        "Sweeps: a number, a choice or a switch takes several values (0.5,0.7,0.9) or a range (0.5..0.9:0.1, 1..4, "
        "8..64:x2). Each combination becomes a run, and a table of them is printed at the end."
    )
    _add_parameters(run)
    _add_export(commands)
    return parser


def _add_export(commands: Any) -> None:
    export = commands.add_parser(
        "export", help="write a finished run for others: script, notebook, C array, report, zip"
    )
    export.add_argument("run_id", nargs="+", help="of the run; several with --as report are compared")
    export.add_argument(
        "--as",
        dest="kind",
        required=True,
        choices=[entry.kind for entry in HANDOVERS],
        help="; ".join(f"{entry.kind}: {entry.use}" for entry in HANDOVERS).replace("%", "%%"),
    )
    export.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder to write into; default: here")
    export.set_defaults(command=_export)


def _report_writer() -> ReportWriter:
    """Reports are drawn with the figures of the pages, which take a second to load."""
    from ui.run_report import Reports

    return Reports()


def _export(service: Service, given: argparse.Namespace) -> int:
    """Write the files and print their paths."""
    if len(given.run_id) == 1:
        paths = service.handovers.export(given.run_id[0], given.kind, given.out)
    elif given.kind != "report":
        raise UserError(f"Several runs can only become a report, got --as {given.kind}. Export them one by one.")
    else:
        name, content = service.handovers.comparison(given.run_id)
        given.out.mkdir(parents=True, exist_ok=True)
        paths = [given.out / name]
        paths[0].write_bytes(content)
    print("\n".join(map(str, paths)))
    return 0


def _preset_names() -> str:
    return ", ".join(preset.name for preset in presets())


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
    default = "none" if spec.default in ((), {}) else spec.default
    return f"{spec.help} Default {default}; {spec.range_text() or 'any'}.".replace("%", "%%")


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
    steps = _steps(given)
    parent = Parent(run_id=given.continued, relation="continues") if given.continued else None
    if parent is not None:
        steps = [*service.run(parent.run_id).recipe.steps, *steps]
    expand(steps)  # mistakes are told before anything is opened
    prepared = _prepared(service, given)
    points = expand(with_suggested_epochs(steps, prepared.dataset_info.train_samples))
    _look_ahead(service, prepared, points, given.yes)
    data_name = given.dataset.stem if given.dataset else RANDOM_INPUTS
    project = service.project_of(given.project or f"{given.model.stem} on {data_name}", prepared)
    if given.project and project.name != given.project:
        _say(f"These files with this fit are a project already: {project.name}.")
    check_points(points, [lambda recipe: service.check_settings(recipe, project)], given.yes)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
    _say(f"Measuring the baseline of project {project.name} …")
    baseline = service.wait(service.baseline(project.project_id).run_id)
    if baseline.result is None:
        _say(f"The baseline could not be measured. {baseline.error}")
        return 1
    if len(points) > 1:
        return _run_sweep(service, given, project, baseline.result, points, parent)
    _say(f"Running {points[0].recipe.title} …")
    run = service.wait(service.submit(project.project_id, points[0].recipe, given.name, parent).run_id)
    outcome = _outcome(service, project, baseline.result, run, given.out)
    print(_json(outcome)) if given.json else _print_outcome(outcome)
    if run.error:
        _say(run.error)
    return exit_status([outcome])


def exit_status(outcomes: Sequence[dict[str, Any]]) -> int:
    """Return 0 where each run finished with a file that keeps what was asked of it, else 1."""
    return 0 if all(outcome["status"] == "finished" and not outcome["error"] for outcome in outcomes) else 1


def _run_sweep(
    service: Service,
    given: argparse.Namespace,
    project: Project,
    baseline: Result,
    points: tuple[Point, ...],
    parent: Parent | None,
) -> int:
    """Queue all points, wait for them, and print a table; their files go to numbered folders."""
    queued = service.submit_sweep(project.project_id, points, given.name, confirmed=given.yes, parent=parent)
    _say(f"Running {len(queued)} points, tagged {queued[0].tags[0]} …")
    outcomes = []
    for number, (point, run) in enumerate(zip(points, queued, strict=True), start=1):
        ended = service.wait(run.run_id)
        _say(f"{number} of {len(queued)}  {point.label}: {ended.state} {ended.error}".rstrip())
        folder = given.out / f"{number:03d}" if given.out is not None else None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        outcomes.append({"point": point.label, **_outcome(service, project, baseline, ended, folder)})
    if given.json:
        shown = {"project_id": project.project_id, "tag": queued[0].tags[0], "baseline": _figures(baseline)}
        print(_json({**shown, "points": outcomes}))
    else:
        print(sweep_table(baseline, outcomes))
    return exit_status(outcomes)


def sweep_table(baseline: Result, outcomes: list[dict[str, Any]]) -> str:
    """Return a row for the baseline and one for each point: state, metric, sizes, latency, verified claims."""
    rows: list[tuple[str, ...]] = [("point", "state", baseline.metric_name, ".tflite B", "gzip B", "ms", "verified")]
    rows.append(("baseline", "finished", *_columns(baseline.model_dump(mode="json")), ""))
    for outcome in outcomes:
        facts = outcome["verified"]
        met = f"{sum(fact['met'] is True for fact in facts)}/{len(facts)}" if facts else ""
        rows.append((outcome["point"], outcome["status"], *_columns(outcome["result"]), met))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _columns(figures: dict[str, Any] | None) -> tuple[str, str, str, str]:
    if figures is None:
        return "", "", "", ""
    sizes = f"{figures['tflite_bytes']:,}", f"{figures['gzip_bytes']:,}"
    return f"{figures['metric']:.4f}", *sizes, f"{figures['latency_ms']:.2f}"


def _outcome(service: Service, project: Project, baseline: Result, run: RunRecord, out: Path | None) -> dict[str, Any]:
    report = service.report(run.run_id)
    return {
        "run_id": run.run_id,
        "project_id": project.project_id,
        "dataset": project.dataset_name,
        "name": run.name,
        "status": run.state,
        "error": run.error,
        "recipe": run.recipe.model_dump(mode="json"),
        "baseline": _figures(baseline),
        "result": _figures(run.result),
        "estimate": report.estimate.model_dump() if report and report.estimate else None,
        "verified": [fact.model_dump() for fact in report.facts] if report else [],
        "artifacts": _artifacts(service, run, out),
    }


def _look_ahead(service: Service, prepared: Prepared, points: tuple[Point, ...], confirmed: bool) -> None:
    """Say what the recipes will do before a second is spent; raises UserError where one cannot, or will do nothing."""
    try:
        plan = service.model_plan(prepared.model_id).wait()
    except UserError as error:
        _say(f"There is no estimate. {error}")
        check_points(points, [], confirmed)
        return
    check_points(points, [lambda recipe: check_layers(recipe, plan.layers)], confirmed)
    for step in points[0].recipe.steps:
        _say(f"{step.entry.title} {counted(step.entry.treatments(plan.layers, step.checked_params))}.")
    for sentence in advice_on(points):
        _say(f"Advice: {sentence}")
    for point in points[:1] if len(points) == 1 else (points[0], points[-1]):
        estimate = service.estimate(prepared.model_id, point.recipe)
        if estimate is not None:
            where = f" at {point.label}" if point.label else ""
            _say(f"Estimate{where}: .tflite {estimate.tflite_bytes:,} B, gzip {estimate.gzip_bytes:,} B")


def _steps(given: argparse.Namespace) -> list[RecipeStep]:
    """The steps asked for, unchecked: some settings may have several values."""
    flags = {name[6:]: text for name, text in vars(given).items() if name.startswith("param_") and text is not None}
    values = {**flags, **pairs_of(given.set)}
    if given.recipe:
        return laid_over(steps_named(given.recipe), values)
    return laid_over([RecipeStep(technique=name) for name in given.technique], values)


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
