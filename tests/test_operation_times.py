"""Time of each operation: files cut into operations that compute the same, names of layers, tables, the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from intake.errors import DoesNotFit, UserError
from intake.keras_env import keras2
from measure.conversion import Conversion
from measure.export import convert
from measure.flatbuffer import unpacked
from measure.operation_files import file_of, kind_of, smallest_file, steps_of
from measure.operation_times import OperationTime, OperationTimes, measure_operations
from runs.service import Service
from tests import test_pages
from tests.awkward_models import AWKWARD
from tests.conftest import EasyData, convolutional_model
from tests.test_layer_errors import QUANTIZED
from tests.test_pages import Project, measured, open_page, texts
from tests.test_speed import with_file
from ui.formatting import as_text
from ui.operation_rows import (
    BASELINE,
    RUN,
    kind_table,
    largest_figure,
    layer_shares,
    operation_table,
    pairs,
    whole_sentence,
)

service, project = test_pages.service, test_pages.project
SAMPLE = EasyData().x[:1]


@pytest.fixture(scope="module")
def model() -> Any:
    keras2().utils.set_random_seed(0)
    return convolutional_model()


@pytest.fixture(scope="module")
def floats(model: Any) -> bytes:
    return convert(model, Conversion())


def called(tflite: bytes, given: list[np.ndarray]) -> list[np.ndarray]:
    """What a file puts out for one sample, as it stands in its tensors."""
    interpreter = Interpreter(model_content=tflite, num_threads=1)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), given, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def called_in_pieces(tflite: bytes, given: list[np.ndarray]) -> list[np.ndarray]:
    """The same, operation by operation."""
    content = unpacked(tflite)
    graph = content.subgraphs[0]
    values = dict(zip(map(int, graph.inputs), given, strict=True))
    for step in steps_of(tflite, content):
        inputs = [values[index] for index in step.inputs]
        piece = file_of(tflite, content, step, [array.shape for array in inputs])
        values.update(zip(step.outputs, called(piece, inputs), strict=True))
    return [values[int(index)] for index in graph.outputs]


@pytest.mark.parametrize("kind", ["float32", *sorted(QUANTIZED)])
def test_the_pieces_of_a_file_compute_what_the_file_does(model: Any, floats: bytes, kind: str) -> None:
    data = EasyData()
    tflite = floats if kind == "float32" else convert(model, QUANTIZED[kind], data.representative(16, 0), floats)
    np.testing.assert_allclose(called_in_pieces(tflite, [SAMPLE])[0], called(tflite, [SAMPLE])[0], atol=1e-5)


def recurrent(cell: str) -> Any:
    """A fused LSTM keeps a state from call to call; a GRU becomes a loop."""
    layers = keras2().layers
    given = keras2().Input((4, 3))
    return keras2().Model(given, layers.Dense(2)(getattr(layers, cell)(5, name="memory")(given)))


MODELS = {
    "state": lambda: recurrent("LSTM"),
    "loop": lambda: recurrent("GRU"),
    "two inputs and outputs": AWKWARD["attention, two inputs and outputs"],
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_loops_states_and_several_inputs_are_cut_too(name: str) -> None:
    keras2().utils.set_random_seed(0)
    made, random = MODELS[name](), np.random.default_rng(0)
    tflite = convert(made, Conversion())
    shapes = [[1, *(side or 5 for side in one.shape[1:])] for one in made.inputs]
    given = [
        random.integers(1, 4, shape).astype(one.dtype.as_numpy_dtype)
        for shape, one in zip(shapes, made.inputs, strict=True)
    ]
    content = unpacked(tflite)
    kinds = [kind_of(content, step.operator) for step in steps_of(tflite, content)]
    assert kinds.count("WHILE") == (1 if name == "loop" else 0)
    for piece, whole in zip(called_in_pieces(tflite, given), called(tflite, given), strict=True):
        np.testing.assert_allclose(piece, whole, atol=1e-5)


def test_operations_are_timed_and_know_their_layers(model: Any, floats: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("measure.operation_times.SECONDS", 0.1)
    small = convert(model, QUANTIZED["int8"], EasyData().representative(16, 0), floats)
    heard: list[float] = []
    layers = {layer.name: layer.count_params() for layer in model.layers}
    files = measure_operations([small, floats], [SAMPLE], 1, layers, model.output_names, heard.append)
    named = [[(one.kind, one.layer) for one in times.operations] for times in files]
    alike = [("CONV_2D", "conv"), ("RESHAPE", "flat"), ("FULLY_CONNECTED", "hidden"), ("FULLY_CONNECTED", "head"),
             ("SOFTMAX", "head")]  # fmt: skip
    assert named == [[("QUANTIZE", ""), *alike, ("DEQUANTIZE", "head")], alike]
    for times in files:
        assert times.turns >= 20
        assert times.call_ms > 0
        assert times.overhead_ms > 0
        assert all(one.median_ms >= 0 for one in times.operations)


def test_the_operation_with_most_to_multiply_takes_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("measure.operation_times.SECONDS", 0.1)
    layers = keras2().layers
    given = keras2().Input((256,))
    wide = layers.Dense(512, name="wide")(layers.Dense(1024, name="widest")(given))
    dense = keras2().Model(given, layers.Dense(2, name="narrow")(wide))
    sample = [np.ones((1, 256), np.float32)]
    names = {layer.name: layer.count_params() for layer in dense.layers}
    times = measure_operations([convert(dense, Conversion())], sample, 1, names, ["narrow"], lambda done: None)[0]
    spent = {one.layer: one.median_ms for one in times.operations}
    assert spent["wide"] > spent["widest"] > spent["narrow"]
    assert 0.3 < times.sum_ms / times.call_ms < 3


def test_a_file_that_cannot_be_run_says_so(floats: bytes) -> None:
    assert called(smallest_file(), [np.array([-3], np.float32)])[0] == [3]
    with pytest.raises(DoesNotFit, match=r"by itself\. It says"):
        measure_operations([b"nothing"], [SAMPLE], 1, {}, [], lambda done: None)


def timed(*operations: tuple[str, str, float], call_ms: float = 2.0) -> OperationTimes:
    """Of kind, layer, ms."""
    made = [
        OperationTime(kind=kind, layer=layer, median_ms=ms, is_loop=kind == "WHILE") for kind, layer, ms in operations
    ]
    return OperationTimes(threads=1, turns=40, call_ms=call_ms, overhead_ms=0.001, operations=tuple(made))


SMALL = timed(
    ("QUANTIZE", "", 0.1), ("CONV_2D", "a", 0.4), ("CONV_2D", "a", 0.2), ("WHILE", "", 0.3), call_ms=1.25
)  # fmt: skip
BEFORE = timed(("CONV_2D", "a", 1.0), ("CONV_2D", "a", 0.5), ("WHILE", "", 0.25), ("SOFTMAX", "b", 0.25))


def test_operations_that_do_the_same_stand_side_by_side() -> None:
    table = operation_table((SMALL, BEFORE))
    assert list(table["Operation"]) == ["QUANTIZE", "CONV_2D", "CONV_2D", "WHILE (with all it repeats)", "SOFTMAX"]
    assert list(table["Layer"]) == ["", "a", "a", "", "b"]
    assert list(table[RUN].fillna(-1)) == [0.1, 0.4, 0.2, 0.3, -1]
    assert list(table[BASELINE].fillna(-1)) == [-1, 1.0, 0.5, 0.25, 0.25]
    assert table["Share"].sum() == pytest.approx(1)
    assert BASELINE not in operation_table((SMALL,))
    assert len(pairs((SMALL,))) == 4


def test_kinds_are_added_up() -> None:
    table = kind_table((SMALL, BEFORE)).set_index("Kind")
    assert list(table.index)[:3] == ["CONV_2D", "WHILE", "QUANTIZE"]
    assert table.loc["CONV_2D", "Operations"] == 2
    assert table.loc["CONV_2D", RUN] == pytest.approx(0.6)
    assert table.loc["CONV_2D", "Share"] == pytest.approx(0.6)
    assert table.loc["SOFTMAX", BASELINE] == 0.25


def test_the_figure_keeps_bars_of_the_same_name_apart() -> None:
    figure = largest_figure((SMALL, BEFORE))
    baseline, run = figure.data
    assert list(run.y) == ["CONV_2D of a", "CONV_2D of a (2)", "WHILE", "SOFTMAX of b", "QUANTIZE"]
    assert list(baseline.x)[:3] == [1.0, 0.5, 0.25]
    assert list(run.x)[:3] == [0.4, 0.2, 0.3]
    assert list(largest_figure((timed(("CONV_2D", "a", 1.0), ("RESHAPE", "b", 0.0)),)).data[0].y) == ["CONV_2D of a"]


def test_what_the_parts_come_to_is_said() -> None:
    said = whole_sentence(SMALL)
    assert "took 1.2 ms" in said or "took 1.3 ms" in said
    assert said.endswith("4 operations take 1.0 ms together, 80 % of that.")
    assert layer_shares(SMALL) == {"a": pytest.approx(0.6)}


def test_the_page_asks_the_worker_and_shows_its_answer(service: Service, project: Project, tmp_path: Path) -> None:
    baseline, run = measured(service, project)
    for one in (baseline, run):
        with_file(service, one, tmp_path)
    app = open_page("pages/run.py", run=run.run_id)
    assert service.operations.times(run.run_id, 1) is None
    app.button(key="run:operations:measure").click().run()
    assert not app.exception
    job = service.operations.times(run.run_id, 1)
    assert job is not None
    assert service.operations.measured(run.run_id) is None
    job.finish((SMALL, BEFORE))
    shown = open_page("pages/run.py", run=run.run_id)
    assert not shown.exception
    tables: list[Any] = [frame.value for frame in shown.dataframe if RUN in frame.value]
    assert [len(table) for table in tables] == [4, 5]
    assert as_text(whole_sentence(SMALL)) in texts(shown)
    assert service.operations.measured(run.run_id) is job
    assert service.operations.measure(run.run_id, 1) is not job


def test_a_run_without_its_file_says_so(service: Service, project: Project) -> None:
    _, run = measured(service, project)
    with pytest.raises(UserError, match=r"left no \.tflite"):
        service.operations.measure(run.run_id, 1)
