"""Trying one sample: how it is read, what both files answer, and in which words."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from intake.dataset_info import DatasetInfo, DatasetOptions
from intake.datasets import load_parsed, parse_dataset
from intake.errors import BadDataset, UserError
from intake.fit import Fit, FitOverrides
from intake.keras_env import keras2
from intake.one_sample import LIMIT_BYTES, endings_of, range_note, sample_of_file
from intake.preprocessing import model_inputs
from intake.table_rows import cells_of_line, cells_of_row, encoded_row, line_of_cells, needs_file, row_columns
from intake.tables import categories_of
from measure.litert import predict
from measure.sample_answers import OutputPair, output_pairs
from optimizers.recipe import Recipe, RecipeStep
from runs.paths import samples_folder
from runs.records import RunRecord
from runs.service import Service
from runs.try_job import AskedSample, Tried
from tests.conftest import easy_images
from tests.test_behaviour import fit_of
from ui.try_it import number_table, score_figure
from ui.try_words import answer_sentences, latency_sentence, short_times

# --- rows of a table ----------------------------------------------------------------------------------------------


TABLE = "id,town,age,member,kind\n" + "\n".join(
    f"{100 + i},{('Bern', 'Ulm', 'Zug, old')[i % 3]!r},{20.5 + i},{('true', 'false')[i % 2]},{'ab'[i % 2]}".replace(
        "'", '"'
    )
    for i in range(30)
)
LINES = {line.split(",")[0]: line for line in TABLE.splitlines()}


@pytest.fixture(params=["one_hot", "one_hot_drop_first", "ordinal"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[DatasetInfo, np.ndarray, Path]:
    """A parsed table with text, numbers, yes and no: what is known of it, all its encoded rows, its file."""
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    columns = ("town", "age", "member")
    options = DatasetOptions(label_column="kind", feature_columns=columns, categorical_encoding=request.param)
    parse_dataset(path, options, tmp_path / "parsed")
    dataset = load_parsed(tmp_path / "parsed")
    return dataset.info, np.concatenate([dataset.x_train, dataset.x_val, dataset.x_test]), path


def encoded(line: str, info: DatasetInfo, path: Path) -> np.ndarray:
    columns = row_columns(info)
    categories = categories_of(path, info.options) if needs_file(info, columns) else {}
    return encoded_row(cells_of_line(line, info), columns, categories, info.options.categorical_encoding)


def test_a_typed_row_is_encoded_as_the_file_was(table: tuple[DatasetInfo, np.ndarray, Path]) -> None:
    info, rows, path = table
    whole = np.concatenate([encoded(line, info, path) for line in TABLE.splitlines()[1:]])
    assert whole.shape == rows.shape
    assert sorted(map(tuple, whole.tolist())) == sorted(map(tuple, rows.tolist()))
    assert np.array_equal(encoded('"Zug, old",22.5,true', info, path), encoded(LINES["102"], info, path))
    assert np.array_equal(encoded("Bern;20,5;true", info, path), encoded(LINES["100"], info, path))


def test_the_cells_of_a_row_can_be_read_back(table: tuple[DatasetInfo, np.ndarray, Path]) -> None:
    info, rows, path = table
    cells = cells_of_row(rows[0], info)
    if info.options.categorical_encoding == "one_hot":
        assert np.array_equal(encoded(line_of_cells(cells), info, path)[0], rows[0])
    else:  # only the file knows the towns
        assert cells[0] == ""


def test_bad_cells_are_told_all_at_once(table: tuple[DatasetInfo, np.ndarray, Path]) -> None:
    info, _, path = table
    with pytest.raises(BadDataset) as caught:
        encoded("Rome,old,true", info, path)
    assert [problem.split(" must")[0] for problem in caught.value.problems] == ["Column 'town'", "Column 'age'"]
    assert "Bern, Ulm, Zug, old" in caught.value.problems[0]
    with pytest.raises(BadDataset, match=r"3 cells \(town, age, member\), or all 5 of the table, but this one has 2"):
        encoded("Bern,1", info, path)
    with pytest.raises(BadDataset, match="float32"):
        encoded("Bern,1e99,true", info, path)


# --- files --------------------------------------------------------------------------------------------------------


def picture(seed: int, mode: str = "RGB", ending: str = "PNG", size: tuple[int, int] = (20, 14)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(content, ending)
    return content.getvalue()


def array_file(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def info_of(shape: tuple[int, ...], dtype: str, low: float, high: float, **more: Any) -> DatasetInfo:
    return DatasetInfo(
        file_name="d", file_bytes=1, sha256="", kind="arrays", options=DatasetOptions(), train_samples=9,
        validation_samples=1, test_samples=2, sample_shape=shape, dtype=dtype, value_min=low, value_max=high,
        label_kind="none", split="", **more,
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_an_image_is_decoded_as_those_of_the_dataset(mode: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for number in range(12):
            archive.writestr(f"{'ab'[number % 2]}/{number:02}.png", picture(number, mode))
    options = DatasetOptions(image_size=(9, 11), validation_share=0)
    parse_dataset(tmp_path / "d.zip", options, tmp_path / "parsed")
    dataset = load_parsed(tmp_path / "parsed")
    (sample,) = sample_of_file(picture(3, mode), "mine.PNG", dataset.info)
    stored = np.concatenate([dataset.x_train, dataset.x_test])
    assert sample.dtype == np.uint8
    assert sum(np.array_equal(sample[0], each) for each in stored) == 1
    assert not range_note((sample,), dataset.info)


@pytest.mark.parametrize("shape", [(14, 20), (14, 20, 1), (14, 20, 3), (3, 14, 20)])
def test_an_image_for_arrays_gets_their_shape_and_range(shape: tuple[int, ...]) -> None:
    (sample,) = sample_of_file(picture(1), "a.png", info_of(shape, "float32", -1, 1))
    assert sample.shape == (1, *shape)
    assert sample.dtype == np.dtype(np.float32)
    pixels = np.asarray(Image.open(io.BytesIO(picture(1))).convert("RGB" if 3 in shape else "L"))
    expected = np.moveaxis(pixels, -1, 0) if shape[0] == 3 else pixels.reshape(shape)
    assert sample[0] == pytest.approx(expected / 127.5 - 1, abs=1e-6)
    assert "png" in endings_of(info_of(shape, "float32", -1, 1))


def test_an_array_comes_as_it_is() -> None:
    info = info_of((4,), "float32", 0, 1)
    for array in (np.arange(4) / 4, (np.arange(4) / 4)[None]):
        (sample,) = sample_of_file(array_file(array), "x.npy", info)
        assert sample == pytest.approx(np.asarray([[0, 0.25, 0.5, 0.75]]))
    assert endings_of(info) == ("npy",)
    columns = np.asfortranarray(np.arange(6).reshape(2, 3))
    assert sample_of_file(array_file(columns), "x.npy", info_of((2, 3), "int64", 0, 5))[0].tolist() == [
        [[0, 1, 2], [3, 4, 5]]
    ]
    assert "from 0 to 5" in range_note((np.asarray([[0.0, 5]]),), info)


def test_several_inputs_take_one_array_each() -> None:
    about = {"dtype": "float32", "value_min": 0, "value_max": 1}
    arrays = [{"name": "a", "sample_shape": (2,), **about}, {"name": "b", "sample_shape": (3,), **about}]
    info, content = info_of((2,), "float32", 0, 1, arrays=arrays), io.BytesIO()
    np.savez(content, b=np.ones(3), a=np.zeros((1, 2)))
    assert [array.tolist() for array in sample_of_file(content.getvalue(), "s.npz", info)] == [[[0, 0]], [[1, 1, 1]]]
    content = io.BytesIO()
    np.savez(content, a=np.zeros(2))
    with pytest.raises(BadDataset, match=r"named a, b, but b is missing"):
        sample_of_file(content.getvalue(), "s.npz", info)


HUGE = array_file(np.zeros(4, np.float32)).replace(b"(4,), }   ", b"(4000000000000,), }"[:19])
BAD_FILES = {
    "x.png": (picture(0)[:90], "cannot be decoded"),
    "y.png": (b"<svg/>", "not an image"),
    "x.txt": (b"1,2", r"ends in .png, .+, .npy, but got x.txt"),
    "x.npy": (array_file(np.zeros((8, 7))), r"shape \(8, 8\), but it has the shape \(8, 7\)"),
    "h.npy": (HUGE, "shape"),
    "s.npy": (array_file(np.zeros((8, 8), "U3")), "must hold numbers"),
    "o.npy": (array_file(np.asarray([[None] * 8] * 8, object)), "must hold numbers"),
    "n.npy": (array_file(np.full((8, 8), np.nan)), "finite"),
    "c.npy": (array_file(np.zeros((8, 8)))[:-9], "cut short"),
    "e.npy": (b"", "cannot be read"),
    "l.png": (bytes(LIMIT_BYTES + 1), "at most 16 MB"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_a_sentence(name: str) -> None:
    content, said = BAD_FILES[name]
    with pytest.raises(BadDataset, match=said):
        sample_of_file(content, name, info_of((8, 8), "float32", 0, 16))


# --- answers ------------------------------------------------------------------------------------------------------


def pair_of(fit: Fit, before: Any, after: Any, names: tuple[str, ...] = (), image: Any = None) -> OutputPair:
    old = None if before is None else [np.asarray(before, np.float32)]
    return output_pairs(fit, names, ["out"], old, [np.asarray(after, np.float32)], image)[0]


def said(*pairs: OutputPair, truth: str = "") -> list[str]:
    return answer_sentences(
        Tried(row=0, image="", values="", truth=truth, note="", outputs=pairs, before_ms=2.0, after_ms=1.0)
    )


PETS = ("ant", "bee", "cat")


def test_both_files_choose_a_class() -> None:
    same = pair_of(fit_of("classification"), [[0.1, 0.2, 0.7]], [[0.2, 0.2, 0.6]], PETS)
    assert [score.name for score in same.scores] == ["cat", "ant", "bee"]
    assert said(same, truth="bee") == ["Both say cat (70.0 % and 60.0 %).", "Its label is bee."]
    other = pair_of(fit_of("classification"), [[0.1, 0.2, 0.7]], [[0.5, 0.2, 0.3]], PETS)
    assert said(other) == ["The original says cat (70.0 %), this run says ant (50.0 %)."]
    assert said(pair_of(fit_of("classification"), None, [[0, 1, 0]], PETS)) == ["The original says bee (100.0 %)."]


def test_logits_become_probabilities_and_scores_stay_what_they_are() -> None:
    logits = fit_of("classification").model_copy(update={"from_logits": True})
    pair = pair_of(logits, [[0, 0, np.log(2)]], [[0, 0, np.log(8)]], PETS)
    assert (pair.scores[0].before, pair.scores[0].after) == pytest.approx((0.5, 0.8))
    plain = pair_of(fit_of("classification"), [[3, -7, 5]], [[3, -7, 9]], PETS)
    assert not plain.are_probabilities
    assert said(plain) == ["Both say cat."]


def test_yes_or_no_has_two_classes_in_the_order_of_the_model() -> None:
    fit = fit_of("binary_classification").model_copy(update={"class_order": (1, 0)})
    pair = pair_of(fit, [[0.9]], [[0.4]], ("no", "yes"))
    assert said(pair) == ["The original says no (90.0 %), this run says yes (60.0 %)."]


def test_of_many_classes_the_first_choices_of_both_are_among_the_five() -> None:
    names = tuple(f"c{number}" for number in range(50))
    before, after = np.full((1, 50), 9.0), np.full((1, 50), 0.0)
    before[0, 7], after[0, 33] = 10, 1
    pair = pair_of(fit_of("classification"), before, after, names)
    assert len(pair.scores) == 5
    assert {"c7", "c33"} <= {score.name for score in pair.scores}


def test_an_answer_that_is_no_number_is_said_to_be_none() -> None:
    pair = pair_of(fit_of("classification"), [[0.1, 0.9, 0]], [[np.nan, np.nan, np.nan]], PETS)
    assert said(pair)[0].startswith("The original says bee")
    assert said(pair)[0].endswith("this run says not a number.")
    moved = pair_of(fit_of("regression"), [[1.0, 2]], [[np.inf, 2]])
    assert moved.moved is None
    assert OutputPair.model_validate_json(moved.model_dump_json()) == moved


def test_labels_are_listed() -> None:
    pair = pair_of(fit_of("multilabel_classification"), [[0.9, 0.6, 0.1]], [[0.9, 0.4, 0.1]], PETS)
    assert said(pair) == ["The original says ant, bee, this run says ant."]


def test_numbers_differ_by_so_much() -> None:
    one = pair_of(fit_of("regression"), [[2.0]], [[2.5]])
    assert said(one, truth="3") == ["The original says 2, this run says 2.5: a difference of +0.5.", "Its label is 3."]
    assert said(pair_of(fit_of("regression"), [[2.0]], [[2.0]])) == ["Both say 2."]
    many = pair_of(fit_of("regression"), np.zeros((1, 20)), np.full((1, 20), 0.25))
    assert said(many) == ["The 20 numbers of both differ by 0.25 on average."]
    assert list(number_table(many)["Difference"]) == [0.25] * 12


def test_several_outputs_are_named() -> None:
    first = pair_of(fit_of("classification"), [[0.1, 0.2, 0.7]], [[0.2, 0.2, 0.6]], PETS)
    second = pair_of(fit_of("regression"), [[2.0]], [[2.0]]).model_copy(update={"name": "price"})
    assert said(first, second) == ["out: both say cat (70.0 % and 60.0 %).", "price: both say 2."]


def pixels_of(address: str) -> np.ndarray:
    import base64

    content = base64.b64decode(address.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_pictures_that_come_out_are_shown_side_by_side() -> None:
    whole = np.linspace(0, 1, 64).reshape(8, 8, 1)
    pair = pair_of(fit_of("reconstruction", metric_name="mse"), [whole.ravel()], [np.zeros(64)], image=whole)
    assert pair.kind == "images"
    assert pixels_of(pair.image_before).max() > 250
    assert pixels_of(pair.image_after).max() < 5
    assert said(pair) == ["The pictures of both differ by 0.5 on average."]


def test_classes_of_pixels_are_colours() -> None:
    classes = np.eye(3)[np.arange(64).reshape(8, 8) % 3][None]
    pair = pair_of(fit_of("agreement", outputs=("numbers",)), classes, classes)
    assert len(np.unique(pixels_of(pair.image_after).reshape(-1, 3), axis=0)) == 3
    sequence = pair_of(fit_of("agreement", outputs=("numbers",)), np.zeros((1, 16, 16)), np.zeros((1, 16, 16)))
    assert sequence.kind == "numbers"


def test_bars_stand_for_both_files() -> None:
    pair = pair_of(fit_of("classification"), [[0.1, 0.2, 0.7]], [[0.5, 0.2, 0.3]], ("<b>", "bee", "cat"))
    bars = score_figure(pair).data
    assert [bar.name for bar in bars] == ["original", "this run"]
    assert [list(bar.x) for bar in bars] == [pytest.approx([70, 10, 20]), pytest.approx([30, 50, 20])]
    assert score_figure(pair).layout.yaxis.ticktext == ("cat", "&lt;b&gt;", "bee")


def test_times_have_one_unit() -> None:
    assert short_times(0.5, 12.0) == ["0.500 ms", "12.0 ms"]
    assert short_times(0.0154, 0.0007) == ["15.4 µs", "0.7 µs"]
    tried = Tried(row=0, image="", values="", truth="", note="", outputs=(), before_ms=2.0, after_ms=1.0)
    assert latency_sentence(tried).startswith("A call takes 2.0 ms with the original and 1.0 ms with this run")


# --- worker -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quantized(service: Service, easy_files: tuple[Path, Path]) -> RunRecord:
    """A finished run in int8, its baseline measured."""
    prepared = service.prepare(*easy_files, DatasetOptions(), FitOverrides())
    project = service.project_of("Handed over", prepared)
    step = RecipeStep(technique="post_training_quantization", params={"mode": "int8"})
    run = service.wait(service.submit(project.project_id, Recipe.checked([step]), "int8").run_id)
    service.wait(service.baseline(project.project_id).run_id)
    assert run.state == "finished"
    return run


def answers_to(service: Service, run: RunRecord, row: int) -> list[np.ndarray]:
    """What the original's and the run's file answer to a test row, asked here."""
    project = service.project(run.project_id)
    folder = samples_folder(service.settings, project.model.upload_id, project.dataset_id, project.options)
    inputs = model_inputs(project.fit, [load_parsed(folder).x_test[row : row + 1]])
    ids = [service.baseline(run.project_id).run_id, run.run_id]
    files = [next(one.path for one in service.artifacts(run_id) if one.name == "model.tflite") for run_id in ids]
    return [predict(file.read_bytes(), inputs)[0][0] for file in files]


def test_the_worker_answers_what_both_files_answer(service: Service, quantized: RunRecord) -> None:
    job = service.tries.ask(quantized.run_id, AskedSample(row=4))
    tried = job.wait()
    before, after = answers_to(service, quantized, 4)
    assert {int(score.name): score.before for score in tried.outputs[0].scores} == pytest.approx(
        dict(enumerate(before))
    )
    assert {int(score.name): score.after for score in tried.outputs[0].scores} == pytest.approx(dict(enumerate(after)))
    assert tried.truth == str(easy_images(90, 1)[1][4])
    assert tried.image.startswith("data:image/webp;base64,")
    assert min(tried.before_ms, tried.after_ms) > 0
    assert service.tries.ask(quantized.run_id, AskedSample(row=4)) is job
    service.tries.forget(job)
    assert service.tries.ask(quantized.run_id, AskedSample(row=4)) is not job


def test_an_uploaded_sample_is_answered_as_the_same_row(service: Service, quantized: RunRecord) -> None:
    content = array_file(easy_images(90, 1)[0][4])
    mine = service.tries.ask(quantized.run_id, AskedSample(file_name="mine.npy", content=content)).wait()
    row = service.tries.ask(quantized.run_id, AskedSample(row=4)).wait()
    assert (mine.outputs, mine.truth, mine.row) == (row.outputs, "", None)
    alone = service.tries.ask(service.baseline(quantized.project_id).run_id, AskedSample(row=4)).wait()
    assert alone.before_ms is None
    assert [score.before for score in alone.outputs[0].scores] == [None] * 3


def test_a_row_of_a_table_is_answered_as_the_same_test_row(service: Service, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n".join(line.partition(",")[2] for line in TABLE.splitlines()))
    layers = keras2().layers
    model = keras2().Sequential([layers.Dense(4, input_shape=(5,)), layers.Dense(2, "softmax")])
    model.save(tmp_path / "t.h5")
    prepared = service.prepare(tmp_path / "t.h5", tmp_path / "t.csv", DatasetOptions(), FitOverrides())
    project = service.project_of("Rows", prepared)
    baseline = service.wait(service.baseline(project.project_id).run_id)
    by_row = service.tries.ask(baseline.run_id, AskedSample(row=1)).wait()
    line = line_of_cells(service.tries.cells(project, 1))
    by_line = service.tries.ask(baseline.run_id, AskedSample(line=line)).wait()
    assert line.count(",") >= 2
    assert (by_line.outputs, by_line.values) == (by_row.outputs, by_row.values)
    assert by_row.truth in ("a", "b")
    assert "town=Bern" in by_line.values
    far = service.tries.ask(baseline.run_id, AskedSample(line="Ulm,99999,true")).wait()
    assert far.note.startswith("Its values go from 0 to 1e+05")
    with pytest.raises(UserError, match="'town' must hold one of the categories"):
        service.tries.ask(baseline.run_id, AskedSample(line="Rome,30,true")).wait()


def test_what_cannot_be_tried_is_a_sentence(service: Service, quantized: RunRecord) -> None:
    for asked, words in (
        (AskedSample(row=90), "rows 0 to 89, but 90"),
        (AskedSample(line="1,2"), "no rows of a table"),
        (AskedSample(file_name="x.png", content=b"nothing"), "cannot be decoded"),
    ):
        with pytest.raises(UserError, match=words):
            service.tries.ask(quantized.run_id, asked).wait()
