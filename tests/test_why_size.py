"""The answer to "Why is it not smaller?", from the figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from measure.layers import TensorRow
from optimizers.treatment import Treatment
from runs.layer_outcomes import LayerOutcome
from runs.report import RunReport
from runs.service import Service
from runs.store import Store
from tests import test_pages
from tests.test_charts import result
from tests.test_pages import Project, measured, open_page, texts
from ui.why_size import as_markdown, size_reasons

service, project = test_pages.service, test_pages.project
BASELINE = result(0.98, 100_000, gzip_bytes=90_000)


def row(name: str, stored_bytes: int, dtype: str = "float32") -> TensorRow:
    return TensorRow(name=name, shape=(10, 10), dtype=dtype, stored_bytes=stored_bytes, zero_share=0, distinct=100)


def report(*tensors: TensorRow, layers: tuple[LayerOutcome, ...] = ()) -> RunReport:
    return RunReport(
        facts=(), tensors=tensors, layers=layers, versions={}, model_sha256="", dataset_sha256="", one_dnn=True
    )


def left(name: str, stored_bytes: int) -> LayerOutcome:
    treatment = Treatment(
        layer=name, class_name="Embedding", verdict="impossible", reason="It is a table.", fix="Use float16."
    )
    return LayerOutcome(
        layer=name, class_name="Embedding", parameters=9, treatments=(treatment,), left_by_choice=False,
        dtype="float32", bytes_after=stored_bytes,
    )  # fmt: skip


def answer(tensors: RunReport | None, size: int, **changed: Any) -> str:
    return " ".join(size_reasons(result(0.97, size, **changed), BASELINE, tensors))


def test_zeros_do_not_shrink_the_raw_file() -> None:
    said = answer(report(row("a", 45_000), row("b", 45_000)), 100_000, gzip_bytes=27_000, nonzero_parameters=200)
    assert said.startswith(
        "The raw .tflite did not shrink: 80.0 % of its weights are zero, but a zero takes four bytes"
    )
    assert "In gzip it is 3.3 times smaller than the baseline." in said
    assert "fewer bits shrinks the raw file too" in said


def test_few_values_do_not_shrink_it_either() -> None:
    said = answer(None, 100_000, gzip_bytes=15_000, nonzero_parameters=1000, distinct_weights=16)
    assert "no kernel has more than 16 different values, but each weight still takes four bytes" in said
    assert "6.0 times smaller" in said


def test_nothing_gained_is_said_plainly() -> None:
    said = answer(report(row("a", 90_000)), 100_000, gzip_bytes=90_000, nonzero_parameters=1000)
    assert said == (
        "The raw .tflite did not shrink: its weights have as many different values as before, and each is stored as "
        "float32."
    )
    assert answer(None, 110_000, nonzero_parameters=1000).startswith("The raw .tflite grew by 10.0 %:")


def test_a_layer_left_in_float_is_named_with_the_reason() -> None:
    tensors = report(row("words", 50_000), row("b", 12_000, "int8"), layers=(left("words", 50_000),))
    said = answer(tensors, 80_000, gzip_bytes=40_000)
    assert said.startswith(
        "62 % of the file is weights that were left in float32. 62 % is the layer words: It is a table. Use float16."
    )
    assert "left in float32" not in answer(report(row("words", 50_000), row("b", 12_000)), 80_000, gzip_bytes=40_000)


def test_one_large_kernel_and_what_is_not_weights_are_named() -> None:
    said = answer(report(row("relu;words#1", 20_000, "int8"), row("b", 5_000, "int8")), 40_000, gzip_bytes=20_000)
    assert "50 % of the file is one kernel, that of words (int8, 20.0 kB)" in said
    assert "38 % of the file (15.0 kB) is not weights" in said


def test_a_file_that_gzip_cannot_pack_says_why() -> None:
    assert "gzip takes off only 5 % more" in answer(None, 40_000, gzip_bytes=38_000)
    assert answer(None, 40_000, gzip_bytes=20_000) == ""


def test_names_stay_text() -> None:
    assert as_markdown(["**a**"]) == "**Why is it not smaller?** \\*\\*a\\*\\*"


def test_the_run_page_answers_beside_the_sizes(service: Service, project: Project, tmp_path: Path) -> None:
    _, run = measured(service, project)
    (tmp_path / "files").mkdir()
    tensors = report(row("words", 20_000), row("b", 5_000, "int8"), layers=(left("words", 20_000),))
    (tmp_path / "files" / "report.json").write_text(tensors.model_dump_json())
    Store(service.settings).log_artifacts(run.run_id, tmp_path / "files")
    said = texts(open_page("pages/run.py", run=run.run_id))
    assert "**Why is it not smaller?** 67 % of the file is weights that were left in float32\\." in said
