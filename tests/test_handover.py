"""A finished run for others: C header, report and zip, from the service, the page and the command line."""

from __future__ import annotations

import ast
import hashlib
import html
import json
import re
import shutil
import subprocess
import zipfile
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from intake.dataset_info import DatasetOptions
from intake.errors import UserError
from intake.fit import FitOverrides
from optimizers.recipe import Recipe, RecipeStep
from runs.handover.c_header import c_header, identifier, in_comment
from runs.handover.cells import comment
from runs.handover.files import HANDOVERS
from runs.records import RunRecord
from runs.service import Service
from tests.test_cli import cli
from ui.behaviour_charts import as_figures
from ui.formatting import change_percent, kilobytes, metric_text
from ui.run_report import Reports

NASTY = '<script>document.title="owned"</script> & "quoted" </b> */ #include <x> ??/'


@pytest.fixture(scope="module")
def reporting(service: Service) -> Service:
    """The shared service, able to write reports."""
    service._reports = Reports()
    return service


@pytest.fixture(scope="module")
def runs(reporting: Service, easy_files: tuple[Path, Path]) -> list[RunRecord]:
    """A baseline, a trained run and a quantized one, the last two with names that nobody should trust."""
    prepared = reporting.prepare(*easy_files, DatasetOptions(), FitOverrides())
    project = reporting.project_of("Handed over", prepared)
    recipes = [
        Recipe.checked([RecipeStep(technique="pruning", fine_tuning={"epochs": 1, "batch_size": 32})]),
        Recipe.checked([RecipeStep(technique="post_training_quantization", params={"mode": "int8"})]),
    ]
    queued = [reporting.submit(project.project_id, recipe, NASTY) for recipe in recipes]
    found = [reporting.wait(reporting.baseline(project.project_id).run_id)]
    found += [reporting.wait(run.run_id) for run in queued]
    assert [run.state for run in found] == ["finished"] * 3
    return found


def artifact_of(service: Service, run: RunRecord, name: str = "model.tflite") -> bytes:
    return next(one.path for one in service.artifacts(run.run_id) if one.name == name).read_bytes()


# --- C header ---------------------------------------------------------------------------------------------------------


def test_the_header_holds_the_file(reporting: Service, runs: list[RunRecord]) -> None:
    name, content = reporting.handovers.one_file(runs[2].run_id, "header")
    text, tflite = content.decode("ascii"), artifact_of(reporting, runs[2])
    assert name.endswith(".h")
    array = text.split("= {")[1].split("};")[0]
    assert bytes(int(value, 16) for value in re.findall(r"0x[0-9a-f]{2}", array)) == tflite
    assert f"_len = {len(tflite)};" in text
    assert hashlib.sha256(tflite).hexdigest() in text
    assert text.count("*/") == text.count("/*"), "what users type must not end the comment"
    assert "??/" not in text


@pytest.mark.parametrize(("compiler", "language"), [("cc", "c"), ("c++", "c++")])
def test_the_header_compiles_and_is_aligned(
    reporting: Service, runs: list[RunRecord], tmp_path: Path, compiler: str, language: str
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler} on this machine")
    paths = reporting.handovers.export(runs[2].run_id, "header", tmp_path)
    name = identifier(paths[0].stem)
    (tmp_path / "main.txt").write_text(
        f'#include <stdio.h>\n#include <stdint.h>\n#include "{paths[0].name}"\n#include "{paths[0].name}"\n'
        f"int main(void) {{ if ((uintptr_t){name} % 16) return 2;\n"
        f"return fwrite({name}, 1, {name}_len, stdout) != {name}_len; }}\n"
    )
    standard = {"c": "-std=c11", "c++": "-std=c++11"}[language]
    command = [compiler, standard, "-Wall", "-Wextra", "-Werror", "-x", language, "main.txt", "-o", "main"]
    compiled = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    ran = subprocess.run([tmp_path / "main"], capture_output=True, check=True)
    assert ran.stdout == artifact_of(reporting, runs[2])


@pytest.mark.parametrize(
    "name",
    ["*/ int x; /*", "/*/", "**//", "line\nbreak\\", "\u2028*/\x00", "??/", "a???/b", "ends with \\ ", "naïve 你好"],
)
def test_no_name_leaves_its_comment(name: str) -> None:
    written = in_comment(name)
    assert written.isascii()
    assert not re.search(r"\*/|/\*|\n|\\$|\?\?", written)


@pytest.mark.parametrize(
    "name",
    ['""" or open("x")', "'''", "\\", "a\r\nimport os", "\u2028import os", "\x0cimport os", "# %%", "{1/0}", "\x00"],
)
def test_no_name_becomes_code(reporting: Service, runs: list[RunRecord], name: str) -> None:
    run_id = runs[2].run_id
    usual = {kind: _code_of(reporting, run_id, kind) for kind in ("script", "notebook")}
    reporting.label_run(run_id, name=name)
    try:
        assert {kind: _code_of(reporting, run_id, kind) for kind in usual} == usual
    finally:
        reporting.label_run(run_id, name=NASTY)
    assert ast.parse(comment(name)).body == []


def _code_of(service: Service, run_id: str, kind: str) -> str:
    """What a script does, without its comments."""
    with zipfile.ZipFile(BytesIO(service.handovers.one_file(run_id, kind)[1])) as archive:
        (text,) = [archive.read(member).decode() for member in archive.namelist() if member.endswith((".py", ".ipynb"))]
    if kind == "notebook":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    return ast.dump(ast.parse(text))


@pytest.mark.parametrize(
    ("stem", "expected"), [("Mein Modell-1", "mein_modell_1"), ("3d", "model_3d"), ("你好", "model_")]
)
def test_arrays_have_names_of_c(stem: str, expected: str) -> None:
    assert identifier(stem) == expected


def test_a_header_is_the_same_every_time(reporting: Service, runs: list[RunRecord]) -> None:
    finished = reporting.handovers.finished(runs[2].run_id)
    assert c_header(finished) == c_header(finished)


# --- report -----------------------------------------------------------------------------------------------------------


class Words(HTMLParser):
    """The words that a page shows, and the elements that could run or load something."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.addresses: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.addresses += [f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.shown.append(data)


def words_of(content: bytes) -> Words:
    words = Words()
    words.feed(content.decode())
    return words


def test_the_report_shows_what_the_store_holds(reporting: Service, runs: list[RunRecord]) -> None:
    baseline, pruned = reporting.run(runs[0].run_id).result, reporting.run(runs[1].run_id).result
    assert baseline is not None
    assert pruned is not None
    name, content = reporting.handovers.one_file(runs[1].run_id, "report")
    words = words_of(content)
    shown = " ".join(words.shown)
    assert name.endswith(".html")
    for text in (
        metric_text("accuracy", pruned.metric), metric_text("accuracy", pruned.metric_low), kilobytes(pruned.gzip_bytes),
        f"{pruned.gzip_bytes:,}", change_percent(pruned.gzip_bytes, baseline.gzip_bytes),
        f"{pruned.nonzero_parameters:,}", hashlib.sha256(artifact_of(reporting, runs[1])).hexdigest(), "Polynomial",
        "optimizer steps, which rarely recovers",
    ):  # fmt: skip
        assert text in shown
    report = reporting.report(runs[1].run_id)
    assert report is not None
    assert all(fact.measured in shown and fact.layer in shown for fact in report.facts)
    assert all(version in shown for version in report.versions.values())
    assert report.model_sha256 in shown
    assert [each for each in words.addresses if not each.startswith("img src=data:")] == [], "it must load nothing"


def test_the_figures_of_the_report_are_those_of_the_store(reporting: Service, runs: list[RunRecord]) -> None:
    figures = figures_of(reporting.handovers.one_file(runs[1].run_id, "report")[1])
    points = {trace["customdata"][0][0]: trace for trace in figures[0]["data"] if trace.get("customdata")}
    assert set(points) == {runs[0].run_id, runs[1].run_id}
    result = reporting.run(runs[1].run_id).result
    assert result is not None
    assert points[runs[1].run_id]["y"] == pytest.approx([result.metric * 100])
    assert points[runs[1].run_id]["x"] == pytest.approx([result.tflite_bytes / 1000])
    report = reporting.report(runs[1].run_id)
    assert report is not None
    assert report.behaviour is not None
    changes = [as_figures(output.classes) for output in report.behaviour.outputs if output.classes]
    curves = {name.split("/")[1] for name in reporting.curves(runs[1].run_id)}
    assert len(figures) == 1 + sum(map(len, changes)) + len(curves)


def figures_of(content: bytes) -> list[dict[str, Any]]:
    found = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', content.decode(), re.DOTALL)
    return [_plain(json.loads(text)) for text in found]


def _plain(value: Any) -> Any:
    """plotly writes columns of numbers as base64."""
    import base64

    import numpy as np

    if isinstance(value, dict):
        if "bdata" in value:
            return np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"]).tolist()
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def test_what_users_typed_stays_text(reporting: Service, runs: list[RunRecord]) -> None:
    for content in (
        reporting.handovers.one_file(runs[1].run_id, "report")[1],
        reporting.handovers.comparison([run.run_id for run in runs])[1],
    ):
        page = content.decode()
        assert "owned" in page
        assert '<script>document.title="owned"' not in page
        assert html.escape("</b> */", quote=False) in page
        assert NASTY in " ".join(words_of(content).shown)


def test_the_baseline_has_a_report_too(reporting: Service, runs: list[RunRecord]) -> None:
    shown = " ".join(words_of(reporting.handovers.one_file(runs[0].run_id, "report")[1]).shown)
    assert "exported in float32" in shown
    assert "against the baseline" not in shown


def test_a_comparison_has_a_row_for_each_run(reporting: Service, runs: list[RunRecord]) -> None:
    name, content = reporting.handovers.comparison([run.run_id for run in reversed(runs)])
    shown = " ".join(words_of(content).shown)
    assert name == "easy-3-runs.html"
    for run in runs:
        result = reporting.run(run.run_id).result
        assert result is not None
        assert kilobytes(result.tflite_bytes) in shown
        assert metric_text("accuracy", result.metric) in shown
        assert run.run_id in shown
    assert shown.index("Post-training quantization") < shown.index("Pruning"), "in the order that was asked for"


def test_what_cannot_be_compared_is_said(
    reporting: Service, runs: list[RunRecord], easy_files: tuple[Path, Path]
) -> None:
    with pytest.raises(UserError, match="at least two"):
        reporting.handovers.comparison([runs[0].run_id, runs[0].run_id])
    prepared = reporting.prepare(easy_files[0], None, DatasetOptions(), FitOverrides())
    other = reporting.baseline(reporting.project_of("Other", prepared).project_id)
    reporting.wait(other.run_id)
    with pytest.raises(UserError, match="one project"):
        reporting.handovers.comparison([runs[0].run_id, other.run_id])


# --- zip, page, command line ------------------------------------------------------------------------------------------


def test_the_zip_has_everything(reporting: Service, runs: list[RunRecord]) -> None:
    name, content = reporting.handovers.one_file(runs[1].run_id, "zip")
    with zipfile.ZipFile(BytesIO(content)) as archive:
        folder = Path(name).stem
        names = {member.removeprefix(f"{folder}/") for member in archive.namelist()}
        for artifact in reporting.artifacts(runs[1].run_id):
            assert archive.read(f"{folder}/{artifact.name}") == artifact.path.read_bytes()
    assert names >= {f"{folder}.h", f"{folder}.html", "repeat/repeat.py", "repeat/repeat.ipynb", "repeat/model.h5"}
    assert not [name for name in names if name.startswith("no_")]
    assert reporting.handovers.one_file(runs[1].run_id, "zip")[1] == content


def test_what_is_no_longer_stored_is_said(
    reporting: Service, runs: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = reporting.project(runs[1].project_id)
    assert [problem for _, problem in reporting.handovers.ways(project) if problem] == []
    monkeypatch.setattr("runs.handover.desk.stored_plan", lambda *given: None)
    refused = {entry.kind: problem for entry, problem in reporting.handovers.ways(project) if problem}
    assert set(refused) == {"script", "notebook"}
    assert "plan.json" in refused["script"]
    with pytest.raises(UserError, match="no longer stored"):
        reporting.handovers.one_file(runs[1].run_id, "script")
    with zipfile.ZipFile(BytesIO(reporting.handovers.one_file(runs[1].run_id, "zip")[1])) as archive:
        reason = next(name for name in archive.namelist() if name.endswith("no_repeat.txt"))
        assert b"no longer stored" in archive.read(reason)


def test_mistakes_are_sentences(reporting: Service, runs: list[RunRecord]) -> None:
    with pytest.raises(UserError, match="Choose one of: script, notebook"):
        reporting.handovers.one_file(runs[1].run_id, "pdf")
    with pytest.raises(UserError, match="no run of this address"):
        reporting.handovers.one_file("0" * 32, "report")


def test_the_page_offers_every_way(reporting: Service, runs: list[RunRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[SimpleNamespace] = []

    def button(label: str, data: Any, **given: Any) -> None:
        offered.append(SimpleNamespace(label=label, data=data, **given))

    monkeypatch.setattr("streamlit.download_button", button)
    monkeypatch.setattr("ui.downloads.service", lambda: reporting)
    app = AppTest.from_function(_draw_downloads, default_timeout=120)
    app.session_state["run"] = reporting.run(runs[2].run_id)
    app.session_state["project"] = reporting.project(runs[2].project_id)
    app.run()
    assert not app.exception
    by_key = {one.key: one for one in offered}
    for entry in HANDOVERS:
        one = by_key[f"download:handover:{entry.kind}"]
        name, content = reporting.handovers.one_file(runs[2].run_id, entry.kind)
        assert (one.file_name, one.data()) == (name, content)
    assert {entry.use for entry in HANDOVERS} <= {caption.value for caption in app.caption}


def _draw_downloads() -> None:
    import streamlit as st

    from ui.downloads import draw_downloads

    draw_downloads(st.session_state["run"], st.session_state["project"])


def test_the_command_line_exports(reporting: Service, runs: list[RunRecord], tmp_path: Path) -> None:
    home = reporting.settings.home
    ids = [run.run_id for run in runs]
    ran = cli(home, "export", ids[2], "--as", "header", "--out", tmp_path / "new")
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.strip()).read_bytes() == reporting.handovers.one_file(ids[2], "header")[1]
    compared = cli(home, "export", *ids, "--as", "report", "--out", tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert Path(compared.stdout.strip()).read_bytes() == reporting.handovers.comparison(ids)[1]
    refused = cli(home, "export", *ids, "--as", "script", "--out", tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "one by one" in refused.stderr
