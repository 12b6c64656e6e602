"""Home folders that older commits wrote open, with what they say; those of newer versions are a sentence.

The packed folders are made by `tests/older_stores/make_store.py`.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import app_test

from intake.errors import UserError
from optimizers import TECHNIQUES
from optimizers.recipe import Recipe, RecipeStep
from runs.executor import LocalExecutor
from runs.records import Parent, RunRecord
from runs.service import Service
from runs.settings import Settings
from runs.store import Store
from runs.store_schema import OtherSchema, newest_schema, schema_of
from runs.upgrade import upgrade
from runs.versions import NewerTare
from tests.test_pages import links, open_page, texts
from ui import session
from ui.formatting import as_text
from ui.run_report import Reports

PACKED = sorted((Path(__file__).parent / "older_stores").glob("*.tar.xz"))
STATES = {
    "Baseline": "finished",
    "Pruned": "finished",
    "Clustered": "finished",
    "Quantization-aware": "finished",
    "Quantized": "finished",
    "Cancelled half way": "cancelled",
    "Model gone": "failed",
}
every_store = pytest.mark.parametrize("packed", PACKED, ids=lambda path: path.name.partition(".")[0])


def unpacked(packed: Path, home: Path) -> Path:
    home.mkdir(parents=True)
    with tarfile.open(packed) as archive:
        archive.extractall(home, filter="data")
    return home


def rows(home: Path, question: str) -> list[Any]:
    """What the database itself says, asked without Tare."""
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as connection:
        return connection.execute(question).fetchall()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers never start, and pages remember that app.py has run."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(LocalExecutor, "start", lambda self: None)
    monkeypatch.setattr(PagesManager, "uses_pages_directory", False)
    monkeypatch.setattr(app_test, "PagesManager", type("RememberingPagesManager", (PagesManager,), {}))


@pytest.fixture
def older(
    request: pytest.FixtureRequest, tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """The service of the pages over a copy of an older home folder."""
    home = unpacked(request.param, tmp_path / "home")
    monkeypatch.setenv("TARE_HOME", str(home))
    session.shared_service.clear()
    yield session.service()
    session.service().stop()
    session.shared_service.clear()


each_older = pytest.mark.parametrize("older", PACKED, ids=lambda path: path.name.partition(".")[0], indirect=True)


def by_name(service: Service) -> dict[str, RunRecord]:
    (project,) = service.projects()
    return {run.name: run for run in service.runs(project.project_id)}


def test_there_are_older_stores() -> None:
    assert len(PACKED) >= 2
    assert all(path.stat().st_size < 300_000 for path in PACKED)


@each_older
def test_figures_are_what_the_older_store_says(older: Service) -> None:
    runs = by_name(older)
    assert {name: str(run.state) for name, run in runs.items()} == STATES
    for run in runs.values():
        stored = dict(
            rows(older.settings.home, f"SELECT key, value FROM latest_metrics WHERE run_uuid = '{run.run_id}'")
        )
        if run.result is None:
            assert "tflite_bytes" not in stored
            continue
        shown = run.result.model_dump(exclude={"metric_name"}, exclude_none=True)
        assert shown == {name: stored[name] for name in shown}
        assert {"tflite_bytes", "gzip_bytes", "metric", "latency_ms", "duration_s"} <= set(shown)
        tflite = {one.name: one for one in older.artifacts(run.run_id)}["model.tflite"]
        assert tflite.size_bytes == tflite.path.stat().st_size == run.result.tflite_bytes
        assert tflite.path.is_relative_to(older.settings.home)
    assert runs["Model gone"].error
    assert runs["Baseline"].is_baseline
    assert not any(run.owner or run.parent for run in runs.values())


@each_older
def test_curves_reports_and_logs_are_there(older: Service) -> None:
    for name, run in by_name(older).items():
        points = older.curves(run.run_id)
        trained = name in ("Pruned", "Clustered", "Quantization-aware")
        assert ("train/loss" in points) == (trained or name == "Cancelled half way")
        question = f"SELECT count(*) FROM metrics WHERE run_uuid = '{run.run_id}' AND key = 'train/loss'"
        assert [(len(points.get("train/loss", [])),)] == rows(older.settings.home, question)
        report = older.report(run.run_id)
        assert (report is not None) == (run.state == "finished")
        if report is not None:
            assert report.tensors
            assert len(report.facts) == run.verified_count
            assert older.log(run.run_id)


@each_older
def test_every_page_opens(older: Service) -> None:
    assert "A few digits" in links(open_page())
    (project,) = older.projects()
    runs = by_name(older)
    selected = ",".join(run.run_id for run in list(runs.values())[:3])
    app = open_page("pages/project.py", project=project.project_id, selected=selected)
    assert len(app.dataframe[0].value) == len(runs)
    assert not app.error
    for name, run in runs.items():
        app = open_page("pages/run.py", run=run.run_id)
        assert [title.value for title in app.title] == [as_text(name)]
        assert ("Sizes" in texts(app)) == (run.result is not None)
        assert bool(app.error) == (name == "Model gone")
    assert not open_page("pages/presentation.py", project=project.project_id).error


@each_older
def test_runs_are_handed_over(older: Service) -> None:
    finished = {name: run for name, run in by_name(older).items() if run.result}
    for name, run in finished.items():
        file_name, content = older.handovers.one_file(run.run_id, "report")
        assert file_name.endswith(".html")
        assert name in content.decode()
    ids = [run.run_id for run in finished.values()]
    assert older.handovers.comparison(ids)[1].decode().count("A few digits")
    assert older.handovers.one_file(ids[1], "header")[1].count(b"0x") > 4000


@each_older
def test_the_form_is_filled_from_an_older_run(older: Service) -> None:
    (project,) = older.projects()
    for name in ("Pruned", "Clustered", "Quantization-aware", "Quantized", "Cancelled half way"):
        run = by_name(older)[name]
        app = open_page("pages/project.py", project=project.project_id, change=run.run_id)
        app.button(key="new_run:run").click().run()
        assert not app.exception
        assert not app.error
        (queued,) = [one for one in older.runs(project.project_id) if one.parent_run_id == run.run_id]
        (old,), (new,) = run.recipe.steps, queued.recipe.steps
        assert {key: new.params[key] for key in old.params} == old.params
        assert {key: (new.fine_tuning or {})[key] for key in old.fine_tuning or {}} == (old.fine_tuning or {})


@each_older
def test_the_form_continues_an_older_run(older: Service) -> None:
    (project,) = older.projects()
    pruned = by_name(older)["Pruned"]
    app = open_page("pages/project.py", **{"project": project.project_id, "continue": pruned.run_id})
    app.button(key="new_run:run").click().run()
    assert not app.exception
    assert [error.value for error in app.error] == []
    (queued,) = [run for run in older.runs(project.project_id) if run.parent_run_id == pruned.run_id]
    assert queued.is_continuing
    assert queued.recipe.steps[0].technique == "pruning"


@pytest.mark.slow
@every_store
def test_older_runs_are_repeated_continued_and_scripted(packed: Path, tmp_path: Path) -> None:
    older = Service(Settings(home=unpacked(packed, tmp_path / "home")), Reports())
    older.start()
    try:
        runs = by_name(older)
        again = older.wait(older.run_again(runs["Quantized"].run_id).run_id)
        assert again.state == "finished", again.error
        assert again.result is not None
        assert again.result.metric == runs["Quantized"].result.metric  # type: ignore[union-attr]
        quantized = RecipeStep(technique="post_training_quantization", params={"mode": "int8"})
        for steps in (runs["Pruned"].recipe.steps, Recipe.checked(list(runs["Pruned"].recipe.steps)).steps):
            parent = Parent(run_id=runs["Pruned"].run_id, relation="continues")
            recipe = Recipe(steps=(*steps, *Recipe.checked([quantized]).steps))
            on = older.wait(older.submit(again.project_id, recipe, parent=parent).run_id)
            assert on.state == "finished", on.error
            assert any("step 1 was not carried out again" in note for note in on.notes)
            assert not older.curves(on.run_id)
        for kind in ("script", "notebook", "zip"):
            assert older.handovers.one_file(runs["Clustered"].run_id, kind)[1]
    finally:
        older.stop()


# --- schemas of MLflow --------------------------------------------------------------------------------------------


def set_revision(home: Path, revision: str) -> None:
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def _copy_rows(source: Path, target: Path) -> None:
    """Copy what two databases both have a place for."""
    with contextlib.closing(sqlite3.connect(target)) as connection, connection:
        connection.execute("ATTACH ? AS newer", (str(source),))
        tables = [name for (name,) in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [
                {row[1] for row in connection.execute(f"PRAGMA {place}.table_info('{table}')")}
                for place in ("main", "newer")
            ]
            shared = ", ".join(f'"{name}"' for name in sorted(columns[0] & columns[1]))
            if table != "alembic_version" and shared:
                connection.execute(f'DELETE FROM main."{table}"')
                connection.execute(f'INSERT INTO main."{table}" ({shared}) SELECT {shared} FROM newer."{table}"')


def in_older_schema(home: Path, steps_back: int) -> str:
    """Write the database of a home anew as an MLflow some migrations ago would have; return that schema."""
    from alembic import command
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    database, aside = home / "mlflow.db", home / "aside.db"
    database.rename(aside)
    config = _get_alembic_config(f"sqlite:///{database}")
    revision = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][steps_back]
    engine = create_engine(f"sqlite:///{database}")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
    _copy_rows(aside, database)
    aside.unlink()
    return str(revision)


@pytest.mark.parametrize("steps_back", [1, 5, 20])
def test_an_older_schema_is_a_sentence_with_the_command_which_then_helps(
    steps_back: int, tmp_path: Path, quiet: None
) -> None:
    home = unpacked(PACKED[0], tmp_path / "home")
    settings = Settings(home=home)
    before = by_name(Service(settings))
    revision = in_older_schema(home, steps_back)
    with pytest.raises(OtherSchema, match=rf"older version of MLflow .schema {revision}, .*python -m runs\.upgrade"):
        Service(settings)
    assert schema_of(home / "mlflow.db") == revision
    done = upgrade(settings)
    assert f"schema {revision} became {newest_schema()}" in done
    assert schema_of(home / f"mlflow.db.before-{newest_schema()}") == revision
    assert by_name(Service(settings)) == before
    assert "up to date already" in upgrade(settings)


def test_the_newest_schema_is_what_mlflow_itself_says(empty_home: Path) -> None:
    from mlflow.store.db.utils import _get_latest_schema_revision

    assert newest_schema() == _get_latest_schema_revision() == schema_of(empty_home / "mlflow.db")


def test_a_newer_schema_is_a_sentence_everywhere(tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    home = unpacked(PACKED[0], tmp_path / "home")
    set_revision(home, "fedcba987654")
    before = (home / "mlflow.db").read_bytes()
    said = "written by a newer version of Tare: MLflow"
    with pytest.raises(OtherSchema, match=said):
        Service(Settings(home=home))
    with pytest.raises(OtherSchema, match=said):
        upgrade(Settings(home=home))
    monkeypatch.setenv("TARE_HOME", str(home))
    session.shared_service.clear()
    try:
        for page in ("", "pages/project.py", "pages/techniques.py"):
            (error,) = open_page(page).error
            assert said in error.value.replace("\\", "")
            assert "fedcba987654" in error.value
    finally:
        session.shared_service.clear()
    for command in (["cli.py", "export", "0" * 32, "--as", "zip"], ["-m", "runs.prepare"], ["-m", "runs.upgrade"]):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, timeout=120)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert done.returncode in (1, 2)
    assert (home / "mlflow.db").read_bytes() == before


def test_an_upgrade_waits_until_the_dashboard_has_ended(tmp_path: Path, quiet: None) -> None:
    home = unpacked(PACKED[0], tmp_path / "home")
    in_older_schema(home, 1)
    script = "import sys, time; from runs.home_lock import HomeLock; from pathlib import Path; l = HomeLock(Path(sys.argv[1])); l.take(); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", script, str(home)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="Another dashboard is using the folder"):
            upgrade(Settings(home=home))
    finally:
        holder.kill()
        holder.wait()
    assert schema_of(home / "mlflow.db") != newest_schema()


# --- a newer Tare -------------------------------------------------------------------------------------------------


def change_recipe(home: Path, run_id: str, change: dict[str, Any]) -> None:
    """Add fields to the only step of a stored recipe."""
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        (text,) = connection.execute(
            "SELECT value FROM tags WHERE run_uuid = ? AND key = 'tare.recipe'", (run_id,)
        ).fetchone()
        recipe = json.loads(text)
        recipe["steps"][0] |= change
        connection.execute(
            "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = 'tare.recipe'", (json.dumps(recipe), run_id)
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"technique": "dreaming"}, "there is no technique named 'dreaming' here"),
        ({"params": {"final_sparsity": 0.5, "depth_of_sleep": 3}}, "Pruning has no setting named depth_of_sleep here"),
        ({"fine_tuning": {"epochs": 1, "lucidity": 1}}, "Pruning has no setting named lucidity here"),
        ({"when": "at night"}, "recipe.steps.0.when: extra inputs are not permitted"),
    ],
)
def test_a_recipe_of_a_newer_version_is_a_sentence(
    change: dict[str, Any], said: str, tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = unpacked(PACKED[0], tmp_path / "home")
    pruned = by_name(Service(Settings(home=home)))["Pruned"]
    change_recipe(home, pruned.run_id, change)
    monkeypatch.setenv("TARE_HOME", str(home))
    session.shared_service.clear()
    try:
        service = session.service()  # it starts nevertheless
        with pytest.raises(NewerTare, match=r"The run Pruned .* A newer version of Tare has written it"):
            service.run(pruned.run_id)
        for page, query in (
            ("", {}),
            ("pages/project.py", {"project": pruned.project_id}),
            ("pages/run.py", {"run": pruned.run_id}),
        ):
            shown = texts(open_page(page, **query)).replace("\\", "")
            assert said in shown
            assert "Start that version again, or update this one" in shown
    finally:
        session.service().stop()
        session.shared_service.clear()


def test_projects_and_reports_of_a_newer_version_are_sentences(tmp_path: Path, quiet: None) -> None:
    home = unpacked(PACKED[0], tmp_path / "home")
    service = Service(Settings(home=home))
    service.start()
    run = by_name(service)["Pruned"]
    file = next(one.path for one in service.artifacts(run.run_id) if one.name == "report.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "tensors": "in another form"}))
    with pytest.raises(NewerTare, match=r"The report .*report\.json cannot be read: tensors"):
        service.report(run.run_id)
    (project,) = (home / "projects").glob("*.json")
    project.write_text(json.dumps({**json.loads(project.read_text()), "fit": {"task": "dreaming"}}))
    for question in (service.projects, lambda: service.project(run.project_id)):
        with pytest.raises(NewerTare, match=r"The project in .*json cannot be read: fit\.task"):
            question()
    service.stop()


def test_a_newer_run_that_waits_keeps_nobody_from_starting(tmp_path: Path, quiet: None) -> None:
    home = unpacked(PACKED[0], tmp_path / "home")
    first = Service(Settings(home=home))
    (project,) = first.projects()
    newer, ours = (first.submit(project.project_id, Recipe.single(entry.name)) for entry in TECHNIQUES[:2])
    change_recipe(home, newer.run_id, {"technique": "dreaming"})
    found = Store(Settings(home=home)).understood_runs([project.project_id], "queued")
    assert [run.run_id for run in found] == [ours.run_id]
    second = Service(Settings(home=home))
    second.start()
    second.stop()
