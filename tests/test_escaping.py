"""What people typed, and what their files are called, stays text wherever it is shown or handed out."""

# ruff: noqa: F811 (fixtures of another file are named twice)

from __future__ import annotations

import ast
import html
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from google.protobuf.message import Message  # type: ignore[import-untyped]
from streamlit.testing.v1 import AppTest

from intake.dataset_info import DatasetOptions
from optimizers import TECHNIQUES
from optimizers.recipe import Recipe
from runs.records import Project, RunRecord, Upload
from runs.service import Service
from runs.store import Store
from tests.test_pages import FIT, finished, open_page, service  # noqa: F401
from ui.cells import as_cell, as_cells
from ui.run_table import csv_text

ROOT = Path(__file__).parents[1]
NASTY = "=x [a](javascript:b) <img src=x onerror=c> $e=f$ :material/delete: :red[g] `h` **i** ![j](http://k)"
MARKUP = (r"\[a\]\(javascript", "<img", r"\$e=f\$", ":material/delete:", r":red\[", "`h`", r"\*\*i\*\*", r"!\[j\]")
"""What would have a meaning, where no backslash takes it away."""
PLAIN = {
    ("Selectbox", "options"), ("Selectbox", "raw_value"), ("MultiSelect", "options"), ("MultiSelect", "raw_values"),
    ("TextInput", "default"), ("TextInput", "value"), ("TextArea", "default"), ("TextArea", "value"),
    ("Arrow", "data"), ("ArrowData", "data"), ("Dataframe", "data"),
}  # fmt: skip
"""What Streamlit draws as it is, without Markdown."""


def project_named(service: Service, name: str) -> Project:
    files = [Upload(upload_id=f"{n:016x}", file_name=name, size_bytes=9, sha256="0") for n in (1, 2)]
    record = Project(
        project_id="", name=name, model=files[0], dataset=files[1], options=DatasetOptions(), fit=FIT,
        created_at=datetime.now(UTC),
    )  # fmt: skip
    return Store(service.settings).add_project(record)


@pytest.fixture
def project(service: Service) -> Project:
    """A project that is called something nasty, and so are its files."""
    return project_named(service, NASTY)


@pytest.fixture
def runs(service: Service, project: Project) -> list[RunRecord]:
    """A baseline and three runs with nasty names, notes and tags."""
    made = [finished(service, project, "Baseline", Recipe(), 0.98, 100_000)]
    for number, entry in enumerate(TECHNIQUES[:3]):
        run = finished(service, project, f"{NASTY} {number}", Recipe.single(entry.name), 0.97, 30_000 + number)
        service.label_run(run.run_id, name=f"{NASTY} {number}", tags=(NASTY[:40],), note=NASTY)
        made.append(service.run(run.run_id))
    return made


def strings(message: Message, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield (kind of message, field, text) of all that a page sends to the browser."""
    kind = message.DESCRIPTOR.name
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.message_type and field.message_type.GetOptions().map_entry:
            continue
        for one in values:
            if isinstance(one, Message):
                yield from strings(one)
            elif isinstance(one, str):
                yield kind, field.name, one


def sent(app: AppTest) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    waiting: list[Any] = [app._tree]
    while waiting:
        node = waiting.pop()
        waiting += list(getattr(node, "children", {}).values())
        if isinstance(getattr(node, "proto", None), Message):
            found += strings(node.proto)
    return found


def check_page(app: AppTest) -> None:
    """Hold every text of a page that has markup to it, but for what is drawn without Markdown anyway."""
    texts = sent(app)
    assert any("javascript" in text for _, _, text in texts), "the nasty name is not on the page"
    for kind, field, text in texts:
        if (kind, field) in PLAIN or field == "alt":
            continue
        wrong = [part for part in MARKUP if re.search(rf"(?<!\\){part}", text)]
        if kind == "PlotlyChart":
            wrong = [part for part in wrong if part.startswith("<")]
        assert not wrong, f"{kind}.{field}: {text[:2000]}"


def test_the_list_of_projects(service: Service, runs: list[RunRecord]) -> None:
    check_page(open_page())


def test_the_page_of_a_project(service: Service, project: Project, runs: list[RunRecord]) -> None:
    check_page(open_page("pages/project.py", project=project.project_id))


def test_the_page_of_a_project_with_runs_beside_each_other(
    service: Service, project: Project, runs: list[RunRecord]
) -> None:
    chosen = ",".join(run.run_id for run in runs[1:])
    check_page(open_page("pages/project.py", project=project.project_id, selected=chosen))


def test_the_page_of_a_run(service: Service, runs: list[RunRecord]) -> None:
    check_page(open_page("pages/run.py", run=runs[1].run_id))


def test_the_page_for_an_audience(service: Service, project: Project, runs: list[RunRecord]) -> None:
    check_page(open_page("pages/presentation.py", project=project.project_id, run=runs[1].run_id))


# --- what goes into spreadsheets ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "  =1",
        "=HYPERLINK(1)",
        "＝1+1",
        "-x()",
    ],
)
def test_a_formula_becomes_text(text: str) -> None:
    assert as_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["-0.5", "+0.0123", "-74.1 %", "-0.28 points", "-1,234.5 kB", "1e-05", "-1e5", "plain", "", "-", "a=b"]
)
def test_numbers_and_words_stay(text: str) -> None:
    assert as_cell(text) == text


def test_a_table_keeps_its_numbers() -> None:
    table = pd.DataFrame({"=a": [-0.5, 1.5], "b": ["=1", "x"], "c": [-1, 2], "d": [True, False], "e": ["@x", None]})
    safe = as_cells(table)
    assert list(safe) == ["'=a", "b", "c", "d", "e"]
    assert safe.iloc[0].tolist() == [-0.5, "'=1", -1, True, "'@x"]
    assert table["b"][0] == "=1", "the table itself was changed"
    written = csv_text(table).splitlines()
    assert written == ["'=a,b,c,d,e", "-0.5,'=1,-1,True,'@x", "1.5,x,2,False,"]


def test_the_csv_of_the_runs(service: Service, project: Project, runs: list[RunRecord]) -> None:
    app = open_page("pages/project.py", project=project.project_id)
    (shown,) = [frame.value for frame in app.dataframe if "Run" in frame.value]
    assert any(name.startswith("'=x") for name in shown["Run"])
    read = pd.read_csv(io.StringIO(csv_text(shown)))
    assert not any(str(cell).startswith("=") for cell in read.to_numpy().ravel())


def test_every_table_of_a_page_goes_through_it() -> None:
    """Whatever is shown as a table can be downloaded as CSV with Streamlit's own button."""
    unsafe = []
    for path in [*ROOT.glob("ui/*.py"), *ROOT.glob("pages/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("st.dataframe", "st.table"):
                first = ast.unparse(node.args[0])
                if not first.startswith("as_cells("):
                    unsafe.append(f"{path.name}:{node.lineno}: {first}")
    assert not unsafe


# --- what is handed over ----------------------------------------------------------------------------------------


def test_a_picture_of_a_name_is_no_markup(service: Service, project: Project, runs: list[RunRecord]) -> None:
    """Plotly knows some HTML, links among it."""
    app = open_page("pages/project.py", project=project.project_id)
    specs = [element.proto.spec for element in app.get("plotly_chart")]
    assert specs
    assert any(html.escape("<img src=x onerror=c>") in spec.encode().decode("unicode_escape") for spec in specs)
    assert not any("<img" in spec or "\\u003cimg" in spec for spec in specs)
