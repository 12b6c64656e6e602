"""Files in: every format is read, split and described; whatever is wrong is a sentence."""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from intake import image_folders, zip_guard
from intake.dataset_info import DatasetOptions
from intake.datasets import Dataset, load_parsed, parse_dataset
from intake.errors import BadDataset, UserError
from intake.split import split_indices, stratified_draw

RANDOM = np.random.default_rng(0)


def write_npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def write_text(folder: Path, text: str, name: str = "table.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def picture(mode: str = "RGB", size: tuple[int, int] = (12, 10), shade: int = 100, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.new(mode, size, shade if mode in ("L", "I;16") else (shade, 0, 0)).save(content, kind)
    return content.getvalue()


def write_zip(folder: Path, members: dict[str, bytes]) -> Path:
    path = folder / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def class_folders(prefix: str = "", count: int = 6, **kind: Any) -> dict[str, bytes]:
    return {f"{prefix}{name}/{i}.png": picture(shade=i, **kind) for name in ("dog", "cat") for i in range(count)}


def read(path: Path, **options: Any) -> Dataset:
    target = path.parent / "parsed" / "here"
    info = parse_dataset(path, DatasetOptions(**options), target)
    dataset = load_parsed(target)
    assert dataset.info == info
    return dataset


def problems(path: Path, **options: Any) -> str:
    with pytest.raises(BadDataset) as raised:
        parse_dataset(path, DatasetOptions(**options), path.parent / "parsed" / "refused")
    assert not (path.parent / "parsed" / "refused").exists()
    assert not list(path.parent.glob("parsed/.parsing_*"))
    return str(raised.value)


def labels(count: int, classes: int = 3) -> np.ndarray:
    return np.arange(count) % classes


# --- npz --------------------------------------------------------------------------------------------------------


def test_npz_keeps_the_parts_of_the_file(tmp_path: Path) -> None:
    x = RANDOM.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    path = write_npz(
        tmp_path, x_train=x[:40], y_train=labels(40), x_test=x[40:], y_test=labels(20), x_val=x[:9], y_val=labels(9)
    )
    data = read(path)
    assert (data.info.train_samples, data.info.validation_samples, data.info.test_samples) == (40, 9, 20)
    assert np.array_equal(data.x_train, x[:40])
    assert data.x_train.dtype == np.uint8
    assert isinstance(data.x_train, np.memmap)
    assert data.info.class_names == ("0", "1", "2")
    assert data.info.class_counts["test"] == (7, 7, 6)
    assert "as in the file" in data.info.split
    assert len(data.info.preview_images) == 10
    assert {label for label, _ in data.info.preview_images} == {"0", "1", "2"}
    with Image.open(path.parent / "parsed" / "here" / data.info.preview_images[0][1]) as image:
        assert min(image.size) >= 64


@pytest.mark.parametrize(
    ("x", "y"),
    [("X", "Y"), ("images", "labels"), ("data", "target"), ("X_Train", "Y_Train"), ("train_images", "train_labels")],
)
def test_npz_knows_other_names(tmp_path: Path, x: str, y: str) -> None:
    data = read(write_npz(tmp_path, **{x: np.zeros((50, 4)), y: labels(50)}))
    assert data.info.train_samples + data.info.validation_samples + data.info.test_samples == 50
    assert data.info.label_kind == "class"


@pytest.mark.parametrize(
    ("y", "kind", "names"),
    [
        (labels(40) + 1, "class", ("1", "2", "3")),
        (labels(40).reshape(-1, 1), "class", ("0", "1", "2")),
        (labels(40).astype(float), "class", ("0", "1", "2")),
        (np.eye(4)[labels(40, 4)], "class", ("0", "1", "2", "3")),
        (np.asarray(["b", "a"])[labels(40, 2)], "class", ("a", "b")),
        (np.asarray(["10", "2"])[labels(40, 2)], "class", ("2", "10")),
        (np.asarray([b"x", b"y"])[labels(40, 2)], "class", ("x", "y")),
        (labels(40, 2) == 1, "class", ("False", "True")),
        (np.repeat([[1, 1, 0], [0, 0, 1]], 20, axis=0), "multilabel", ("0", "1", "2")),
        (np.linspace(0, 1, 40), "value", ()),
        (np.arange(40) * 7, "value", ()),
        (RANDOM.normal(size=(40, 2)), "value", ()),
    ],
)
def test_labels_are_understood(tmp_path: Path, y: np.ndarray, kind: str, names: tuple[str, ...]) -> None:
    data = read(write_npz(tmp_path, x=np.zeros((40, 3)), y=y))
    assert (data.info.label_kind, data.info.class_names) == (kind, names)
    assert data.y_train is not None
    assert data.y_train.dtype == (np.int64 if kind == "class" else np.float32)


def test_text_labels_keep_their_meaning(tmp_path: Path) -> None:
    words = np.asarray(["10", "9", "2"])[labels(60)]
    data = read(write_npz(tmp_path, x=np.arange(60)[:, None], y=words))
    assert data.y_train is not None
    for x, y in zip(data.x_train, data.y_train, strict=True):
        assert data.info.class_names[y] == words[x[0]]


def test_class_names_of_the_file_are_used(tmp_path: Path) -> None:
    names = np.asarray(["ant", "bee", "cow"])
    data = read(write_npz(tmp_path, x=np.zeros((30, 2)), y=labels(30), class_names=names))
    assert data.info.class_names == ("ant", "bee", "cow")


def test_samples_alone_are_for_reconstruction(tmp_path: Path) -> None:
    data = read(write_npz(tmp_path, x=np.zeros((30, 5))))
    assert data.info.label_kind == "none"
    assert data.y_train is None
    assert data.info.preview_rows


def test_labels_can_be_read_as_numbers(tmp_path: Path) -> None:
    data = read(write_npz(tmp_path, x=np.zeros((30, 5)), y=labels(30)), label_kind="value")
    assert data.info.label_shape == (1,)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": np.zeros(3)}, ["x_train", "arrays are: a", "numpy.savez"]),
        ({"x": np.zeros((20, 2)), "X": np.zeros((20, 2))}, ["mean the same"]),
        ({"x": np.zeros((20, 2)), "y": labels(19)}, ["20 samples and 19 labels"]),
        ({"x": np.zeros((20, 2)), "y": np.zeros(20, int)}, ["at least two classes"]),
        ({"x": np.zeros((5, 2)), "y": labels(5)}, ["at least 10 samples", "has 5"]),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0, int)}, ["shape is (0, 2)"]),
        ({"x": np.asarray(["a"] * 20), "y": labels(20)}, ["must hold numbers"]),
        ({"x": np.zeros((20, 2)), "y": np.zeros((20, 2, 2))}, ["(20, 2, 2)"]),
        ({"x": np.zeros((20, 2)), "y": np.full(20, np.nan)}, ["20 of its 20 values are NaN"]),
        ({"x": np.full((20, 2), 1e300), "y": labels(20)}, ["infinite", "index [0, 0]"]),
        ({"x_train": np.zeros((20, 2)), "y_train": labels(20), "x_test": np.zeros((5, 2))}, ["x_test but no y_test"]),
        (
            {"x_train": np.zeros((20, 2)), "y_train": labels(20), "x_test": np.zeros((5, 3)), "y_test": labels(5)},
            ["same shape in every part", "(2,)", "(3,)"],
        ),
    ],
)
def test_npz_problems_are_sentences(tmp_path: Path, arrays: dict[str, np.ndarray], words: list[str]) -> None:
    text = problems(write_npz(tmp_path, **arrays))
    for word in words:
        assert word in text


def test_nan_is_counted_and_located(tmp_path: Path) -> None:
    x = np.zeros((20, 4))
    x[7, 2] = x[9, 0] = np.nan
    text = problems(write_npz(tmp_path, x=x, y=labels(20)))
    assert "2 of its 80 values" in text
    assert "index [7, 2]" in text


def test_several_problems_come_at_once(tmp_path: Path) -> None:
    x = np.full((20, 2), np.inf)
    text = problems(write_npz(tmp_path, x_train=x, y_train=labels(20), x_test=x, y_test=labels(7)))
    assert len(text.splitlines()) == 3


def test_objects_are_never_opened(tmp_path: Path) -> None:
    ragged = np.asarray([np.zeros(2), np.zeros(3)] * 10, dtype=object)
    text = problems(write_npz(tmp_path, x=ragged, y=labels(20)))
    assert "pickled Python objects" in text
    assert "numpy.asarray" in text


def test_a_header_that_lies_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10)})
    path = write_zip(tmp_path, {"x.npy": content.getvalue() + bytes(100)}).rename(tmp_path / "lie.npz")
    assert "cannot be read" in problems(path)


# --- any file ---------------------------------------------------------------------------------------------------


def test_wrong_ending(tmp_path: Path) -> None:
    text = problems(write_text(tmp_path, "a", "data.xlsx"))
    assert ".npz, .csv, .tsv, .parquet or .zip" in text
    assert "'.xlsx'" in text


@pytest.mark.parametrize("name", ["a.npz", "a.csv", "a.parquet", "a.zip"])
def test_empty_and_foreign_content(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    assert "empty (0 bytes)" in problems(path)
    path.write_bytes(b"\x00\x01\x02 no such file at all")
    assert name in problems(path)


def test_truncated_files(tmp_path: Path) -> None:
    npz = write_npz(tmp_path, x=np.zeros((40, 30)), y=labels(40))
    npz.write_bytes(npz.read_bytes()[: npz.stat().st_size // 2])
    assert "cut short" in problems(npz)
    parquet = tmp_path / "t.parquet"
    pd.DataFrame({"a": range(30), "y": range(30)}).to_parquet(parquet)
    parquet.write_bytes(parquet.read_bytes()[:-20])
    assert "cut short" in problems(parquet)


def test_an_older_parsed_folder_is_replaced(tmp_path: Path) -> None:
    read(write_npz(tmp_path, x=np.zeros((30, 5))))
    data = read(write_npz(tmp_path, x=np.ones((40, 6))))
    assert data.info.sample_shape == (6,)
    assert [path.name for path in (tmp_path / "parsed").iterdir()] == ["here"]


def test_archives_are_checked_before_they_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = class_folders()
    assert "outside of the archive" in problems(write_zip(tmp_path, {**members, "../../cat/x.png": b"x"}))
    assert "outside of the archive" in problems(write_zip(tmp_path, {**members, "/cat/x.png": b"x"}))
    with zipfile.ZipFile(write_zip(tmp_path, members), "a") as archive:
        link = zipfile.ZipInfo("cat/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "is a link" in problems(tmp_path / "images.zip")
    monkeypatch.setattr(image_folders, "MEMBER_LIMIT", 3)
    assert "at most 3 members" in problems(write_zip(tmp_path, members))
    monkeypatch.undo()
    monkeypatch.setattr(zip_guard, "EXPANDED_LIMIT_BYTES", 100)
    assert "must unpack to at most" in problems(write_zip(tmp_path, members))


# --- tables -----------------------------------------------------------------------------------------------------


def table(rows: int = 40) -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "id": range(1, rows + 1),
            "age": random.integers(18, 80, rows),
            "town": [("Rome", "Bonn", "Oslo")[i % 3] for i in range(rows)],
            "name": [f"person {i}" for i in range(rows)],
            "Exited": labels(rows, 2),
            "income": random.normal(1000, 100, rows),
        }
    )


def test_csv_guesses_the_label_and_says_so(tmp_path: Path) -> None:
    data = read(write_text(tmp_path, table(80).to_csv(index=False)))
    assert data.info.options.label_column == "Exited"
    assert any("'Exited' was taken because of its name" in note for note in data.info.notes)
    assert any("'name' was left out" in note for note in data.info.notes)
    assert any("'id' was left out" in note for note in data.info.notes)
    assert data.info.feature_names == ("age", "town=Bonn", "town=Oslo", "town=Rome", "income")
    assert data.info.columns == ("id", "age", "town", "name", "Exited", "income")
    assert data.info.preview_rows[0]["town"] == "Rome"
    assert len(data.info.preview_rows) == 8
    assert data.x_train.dtype == np.float32
    assert data.info.test_samples == 16


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("one_hot", ("age", "town=Bonn", "town=Oslo", "town=Rome")),
        ("one_hot_drop_first", ("age", "town=Oslo", "town=Rome")),
        ("ordinal", ("age", "town")),
    ],
)
def test_text_columns_are_encoded(tmp_path: Path, encoding: str, names: tuple[str, ...]) -> None:
    path = write_text(tmp_path, table().to_csv(index=False))
    data = read(path, feature_columns=("age", "town"), categorical_encoding=encoding)
    assert data.info.feature_names == names
    assert data.x_train.shape[1] == len(names)
    assert set(np.unique(data.x_train[:, 1])) == ({0, 1, 2} if encoding == "ordinal" else {0, 1})


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    frame = table()
    frame.to_parquet(tmp_path / "t.parquet")
    parquet = read(tmp_path / "t.parquet")
    text = read(write_text(tmp_path, frame.to_csv(index=False)))
    assert np.allclose(parquet.x_train, text.x_train)
    assert parquet.info.feature_names == text.info.feature_names


def test_parquet_of_lists_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"a": [[1, 2]] * 20, "y": labels(20)}).to_parquet(tmp_path / "t.parquet")
    assert "hold lists" in problems(tmp_path / "t.parquet")


def test_parquet_with_text_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": ["person"] * 20, "y": labels(20)}).to_parquet(path, compression=None)
    path.write_bytes(path.read_bytes().replace(b"person", b"pers\xffn"))
    assert "cannot be read" in problems(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_delimiter_and_encoding_are_found(tmp_path: Path, delimiter: str, encoding: str) -> None:
    frame = table()[["age", "town", "income", "Exited"]].replace("Rome", "Köln")
    data = read(write_text(tmp_path, frame.to_csv(index=False, sep=delimiter), encoding=encoding))
    assert "town=Köln" in data.info.feature_names


def test_decimal_commas(tmp_path: Path) -> None:
    frame = table()[["income", "Exited"]]
    data = read(write_text(tmp_path, frame.to_csv(index=False, sep=";", decimal=",")))
    assert data.info.feature_names == ("income",)
    assert 500 < data.info.value_min < data.info.value_max < 1500


def test_a_table_without_header(tmp_path: Path) -> None:
    text = "\n".join(f"{i * 0.5},{i * i},{i % 2}" for i in range(30))
    data = read(write_text(tmp_path, text))
    assert data.info.feature_names == ("column_1", "column_2")
    assert any("no header" in note for note in data.info.notes)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = write_text(tmp_path, table().to_csv(index=False))
    text = problems(path, label_column="price", feature_columns=("age", "wage"))
    assert "no column 'price', 'wage'" in text
    assert "id, age, town, name, Exited, income" in text
    assert "cannot be a feature" in problems(path, label_column="age", feature_columns=("age", "town"))


def test_empty_cells(tmp_path: Path) -> None:
    frame = table()
    frame.loc[[1, 4], "age"] = np.nan
    frame.loc[4, "town"] = None
    frame.loc[9, "income"] = np.inf
    path = write_text(tmp_path, frame.to_csv(index=False))
    text = problems(path)
    assert "3 of its 40 rows" in text
    assert "age (2), town (1), income (1)" in text
    assert "Empty cells" in text
    data = read(path, missing_values="drop_rows")
    assert data.info.train_samples + data.info.validation_samples + data.info.test_samples == 37
    assert any("3 of 40 rows were left out" in note for note in data.info.notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n1,2,3\n", "same number of cells"),
        ("a,b\n", "0 rows"),
        ("only\n1\n2\n", "1 columns"),
        ("   \n", "it is empty"),
        ("a,y\n" + "1e60,0\n2,1\n" * 10, "fit into float32"),
        ("a,y\n" + ",1\n" * 20, "no feature column|at least one feature"),
    ],
)
def test_csv_problems_are_sentences(tmp_path: Path, text: str, words: str) -> None:
    found = problems(write_text(tmp_path, text))
    assert any(word in found for word in words.split("|"))


def test_a_number_column_can_be_predicted(tmp_path: Path) -> None:
    data = read(write_text(tmp_path, table().to_csv(index=False)), label_column="income")
    assert data.info.label_kind == "value"
    assert data.y_train is not None
    assert data.y_train.shape[1:] == (1,)


# --- images -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "set/", "a/b/"])
def test_class_folders(tmp_path: Path, prefix: str) -> None:
    junk = {"__MACOSX/dog/._0.png": b"x", f"{prefix}dog/.hidden": b"x", f"{prefix}dog/Thumbs.db": b"x"}
    data = read(write_zip(tmp_path, {**class_folders(prefix), **junk}))
    assert data.info.class_names == ("cat", "dog")
    assert data.info.sample_shape == (10, 12, 3)
    assert data.x_train.dtype == np.uint8
    assert data.info.test_samples == 2
    assert data.info.kind == "images"
    assert data.info.options.image_size == (10, 12)


@pytest.mark.parametrize("prefix", ["", "set/"])
@pytest.mark.parametrize("validation", ["val", "valid", "Validation"])
def test_part_folders(tmp_path: Path, prefix: str, validation: str) -> None:
    members = {
        **class_folders(f"{prefix}train/", 5),
        **class_folders(f"{prefix}{validation}/", 2),
        **class_folders(f"{prefix}test/", 3),
        f"{prefix}README.md": b"hello",
    }
    data = read(write_zip(tmp_path, members))
    assert (data.info.train_samples, data.info.validation_samples, data.info.test_samples) == (10, 4, 6)
    assert any("README.md" in note for note in data.info.notes)


def test_only_train_folder_gets_a_test_part(tmp_path: Path) -> None:
    data = read(write_zip(tmp_path, class_folders("train/", 10)))
    assert data.info.class_names == ("cat", "dog")
    assert data.info.test_samples == 4


def test_grey_images_keep_one_channel(tmp_path: Path) -> None:
    assert read(write_zip(tmp_path, class_folders(mode="L"))).info.sample_shape == (10, 12, 1)
    mixed = {**class_folders(mode="L"), "dog/colour.png": picture()}
    assert read(write_zip(tmp_path, mixed)).info.sample_shape == (10, 12, 3)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    members = {f"{name}/{i}.png": picture("I;16", shade=128 * 256) for name in "ab" for i in range(6)}
    assert read(write_zip(tmp_path, members)).info.value_max == 128


def test_image_sizes(tmp_path: Path) -> None:
    members = {**class_folders(), "dog/large.png": picture(size=(40, 40))}
    data = read(write_zip(tmp_path, members))
    assert data.info.sample_shape == (10, 12, 3)
    assert any("2 different sizes" in note for note in data.info.notes)
    assert read(write_zip(tmp_path, members), image_size=(9, 8)).info.sample_shape == (9, 8, 3)
    assert "at least 1 x 1" in problems(write_zip(tmp_path, members), image_size=(0, 5))


def test_members_that_do_not_decode_are_named(tmp_path: Path) -> None:
    whole = picture(size=(60, 60), kind="JPEG")
    members = {**class_folders(), "dog/words.txt": b"hello", "cat/cut.jpg": whole[: len(whole) // 2]}
    text = problems(write_zip(tmp_path, members))
    assert "dog/words.txt (not an image)" in text
    many = problems(write_zip(tmp_path, {**members, **{f"dog/{i}.jpg": b"no" for i in range(9)}}))
    assert "11 cannot be decoded" in many
    assert "and 6 more" in many
    # The header is whole, so this one shows only when its pixels are decoded.
    cut = picture(size=(60, 60))[:-30]
    assert "cat/cut.png" in problems(write_zip(tmp_path, {**class_folders(), "cat/cut.png": cut}))


def test_an_image_that_declares_too_many_pixels(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    content = picture()
    bomb = content[:16] + header + content[29:]
    assert "cat/bomb.png" in problems(write_zip(tmp_path, {**class_folders(), "cat/bomb.png": bomb}))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "holds none"),
        ({"notes.txt": b"x"}, "holds none"),
        ({"1.png": b"x", "cat/2.png": b"x"}, "inside a class folder"),
        ({"test/1.png": b"x", "test/2.png": b"x"}, "no images under train/"),
        ({f"test/{c}/{i}.png": b"x" for c in "ab" for i in range(20)}, "no images under train/"),
    ],
)
def test_image_zip_problems_are_sentences(tmp_path: Path, members: dict[str, bytes], words: str) -> None:
    text = problems(write_zip(tmp_path, members))
    assert words in text
    assert "one folder per class" in text


# --- split ------------------------------------------------------------------------------------------------------


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=6), share=st.floats(0.05, 0.5), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_split_is_stratified_disjoint_and_fixed_by_its_seed(counts: list[int], share: float, seed: int) -> None:
    classes = np.repeat(np.arange(len(counts)), counts)
    kept, held = split_indices(len(classes), classes, share, seed)
    assert np.array_equal(np.sort(np.concatenate([kept, held])), np.arange(len(classes)))
    for value, count in enumerate(counts):
        inside = int((classes[held] == value).sum())
        assert inside == 0 if count == 1 else 1 <= inside < count
        assert abs(inside - share * count) <= 1
    again = split_indices(len(classes), classes, share, seed)
    assert np.array_equal(held, again[1])


@given(counts=st.lists(st.integers(1, 50), min_size=1, max_size=6), size=st.integers(1, 200), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_stratified_draw(counts: list[int], size: int, seed: int) -> None:
    classes = np.repeat(np.arange(len(counts)), counts)
    drawn = stratified_draw(len(classes), classes, size, seed)
    assert len(set(drawn.tolist())) == min(size, len(classes))
    if size >= len(counts):
        assert len(set(classes[drawn].tolist())) == len(counts)


def test_another_seed_splits_otherwise_and_the_parts_do_not_overlap(tmp_path: Path) -> None:
    path = write_npz(tmp_path, x=np.arange(200)[:, None], y=labels(200))
    tests = []
    for seed in (0, 0, 1):
        data = read(path, seed=seed)
        together = np.concatenate([data.x_train, data.x_val, data.x_test])[:, 0]
        assert sorted(together.tolist()) == list(range(200))
        tests.append(np.array(data.x_test))
        assert data.info.class_counts["test"] == (13, 13, 13)
    assert np.array_equal(tests[0], tests[1])
    assert not np.array_equal(tests[0], tests[2])


def test_no_validation_part(tmp_path: Path) -> None:
    data = read(write_npz(tmp_path, x=np.zeros((50, 3)), y=labels(50)), validation_share=0.0)
    assert data.info.validation_samples == 0
    assert data.x_val.shape == (0, 3)
    assert "no validation part" in data.info.split


def test_a_class_of_one_sample_stays_in_training(tmp_path: Path) -> None:
    y = labels(40, 2)
    y[7] = 5
    data = read(write_npz(tmp_path, x=np.zeros((40, 3)), y=y))
    assert data.info.class_counts["train"][2] == 1
    assert any("never tested: 5" in note for note in data.info.notes)


# --- damaged files ----------------------------------------------------------------------------------------------


def _samples(folder: Path) -> dict[str, bytes]:
    frame = table(20)
    frame.to_parquet(folder / "t.parquet")
    npz = write_npz(folder, x=np.zeros((12, 3)), y=labels(12))
    images = write_zip(folder, {**class_folders(count=3), "dog/j.jpg": picture(kind="JPEG")})
    return {
        ".npz": npz.read_bytes(),
        ".csv": frame.to_csv(index=False).encode(),
        ".parquet": (folder / "t.parquet").read_bytes(),
        ".zip": images.read_bytes(),
    }


@pytest.mark.parametrize("ending", [".npz", ".csv", ".parquet", ".zip"])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_files_raise_only_user_errors(tmp_path: Path, ending: str, data: st.DataObject) -> None:
    content = bytearray(_samples(tmp_path)[ending])
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    path = tmp_path / f"damaged{ending}"
    path.write_bytes(content)
    outcome: object = None
    with contextlib.suppress(UserError):
        outcome = parse_dataset(path, DatasetOptions(), tmp_path / "parsed" / "damaged")
    assert outcome is None or (tmp_path / "parsed" / "damaged" / "info.json").is_file()


# --- without labels, and for several inputs ------------------------------------------------------------------------


def test_images_of_one_folder_have_no_labels(tmp_path: Path) -> None:
    pictures = {f"pictures/{i}.png": picture(shade=i) for i in range(20)}
    data = read(write_zip(tmp_path, pictures))
    assert (data.info.label_kind, data.info.class_names, data.y_train) == ("none", (), None)
    assert "no labels" in " ".join(data.info.notes)
    parts = {f"{part}/{i}.png": picture(shade=i) for part in ("train", "test") for i in range(12)}
    in_parts = read(write_zip(tmp_path, parts))
    assert (in_parts.info.label_kind, in_parts.info.test_samples) == ("none", 12)


def test_labels_that_are_not_wanted_are_left_out(tmp_path: Path) -> None:
    table = "a,b,label\n" + "\n".join(f"{i},{i % 7},{i % 2}" for i in range(30))
    columns = read(write_text(tmp_path, table), label_kind="none")
    assert (columns.info.label_kind, columns.info.feature_names) == ("none", ("b", "label"))
    arrays = read(write_npz(tmp_path, x=RANDOM.normal(size=(40, 3)), y=labels(40)), label_kind="none")
    assert (arrays.info.label_kind, arrays.y_test) == ("none", None)
    assert "Not used: y." in arrays.info.notes
    folders = read(write_zip(tmp_path, class_folders()), label_kind="none")
    assert (folders.info.label_kind, folders.info.class_counts) == ("none", {})


@pytest.mark.parametrize("prefix", ["", "x_"])
def test_npz_holds_an_array_for_each_input(tmp_path: Path, prefix: str) -> None:
    ids, pictures = np.arange(40)[:, None], RANDOM.normal(size=(40, 6, 6, 1))
    names = ("user id", "pic") if not prefix else ()
    first, second = ("user_id", "pic") if not prefix else ("x_0", "x_1")
    path = write_npz(tmp_path, **{second: pictures, first: ids, "y": labels(40)})
    data = read(path, input_names=names)
    assert [array.name for array in data.info.sample_arrays] == list(names or ("x_0", "x_1"))
    assert [array.sample_shape for array in data.info.sample_arrays] == [(1,), (6, 6, 1)]
    for part in ("train", "validation", "test"):
        found = data.part(part)
        assert found.y is not None
        assert len(found.arrays[0]) == len(found.arrays[1]) == len(found.y)
        rows = found.arrays[0][:, 0]
        assert np.allclose(found.arrays[1], pictures[rows], atol=1e-6)
        assert np.array_equal(found.y, labels(40)[rows])


def test_npz_with_several_arrays_keeps_its_parts(tmp_path: Path) -> None:
    arrays = {f"{name}_{part}": RANDOM.normal(size=(20, 2)) for name in "ab" for part in ("train", "test")}
    data = read(write_npz(tmp_path, **arrays), input_names=("a", "b"))
    assert (data.info.test_samples, data.info.label_kind) == (20, "none")
    assert np.allclose(data.part("test").arrays[1], arrays["b_test"])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": (40, 2)}, "there is none for: b. Its arrays are: a."),
        ({"a": (40, 2), "b": (39, 2)}, "a and b must hold the same samples, but there are 40 and 39"),
        ({"a_train": (40, 2), "a_test": (40, 2), "b_train": (40, 2)}, "for the test part"),
    ],
)
def test_inputs_that_lack_their_array_are_named(tmp_path: Path, arrays: Any, words: str) -> None:
    path = write_npz(tmp_path, **{name: np.zeros(shape) for name, shape in arrays.items()})
    assert words in problems(path, input_names=("a", "b"))
