"""Packed files: each gives back the very same `.tflite`, and the compact file is read by one file alone."""

from __future__ import annotations

import gzip
import lzma
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from intake.keras_env import keras2
from measure import compact, compact_reader
from measure.compact import write_compact
from measure.compact_reader import read_compact
from measure.compact_regions import Region, regions_of
from measure.export import Conversion, convert
from measure.packed_files import PACKINGS, packed_files
from measure.weights import read_weights
from tests.conftest import EasyData

UNPACK = {
    "model.tflite.gz": gzip.decompress,
    "model.tflite.zst": lambda content: zstandard.ZstdDecompressor().decompress(content),
    "model.tflite.xz": lzma.decompress,
    "model.tarec": read_compact,
}
FORMATS = ["float32", "dynamic_range", "float16", "int8"]


def sparse(shape: tuple[int, ...], share: float, values: int, seed: int = 0) -> np.ndarray:
    """A kernel of which `share` are zeros and the others one of few values."""
    random = np.random.default_rng(seed)
    kernel = random.choice(random.normal(size=values), size=shape)
    kernel[random.random(shape) < share] = 0
    return kernel.astype(np.float32)


@pytest.fixture(scope="module")
def sparse_file() -> bytes:
    """A small network, pruned and clustered, in float32."""
    layers = keras2().layers
    inputs = keras2().Input((12, 12, 2))
    x = layers.Conv2D(8, 3, name="seen")(inputs)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    model = keras2().Model(inputs, layers.Dense(60, name="wide")(layers.Flatten()(x)))
    model.set_weights([sparse(weight.shape, 0.9, 12) for weight in model.get_weights()])
    return convert(model, Conversion())


@pytest.mark.parametrize("number_format", FORMATS)
def test_every_packing_gives_back_the_exported_file(
    number_format: Any, trained_model: Any, easy_data: EasyData
) -> None:
    tflite = convert(
        trained_model, Conversion(number_format=number_format, representative_samples=20), [easy_data.x[:20]]
    )
    packed = packed_files(tflite)
    assert set(packed) == set(UNPACK) == {entry.file_name for entry in PACKINGS}
    assert {name for name, content in packed.items() if UNPACK[name](content) != tflite} == set()


def test_pruned_and_clustered_weights_are_smallest_in_the_compact_file(sparse_file: bytes) -> None:
    packed = packed_files(sparse_file)
    floor = sum(tensor.entropy_bits for tensor in read_weights(sparse_file)) / 8
    assert min(packed, key=lambda name: len(packed[name])) == "model.tarec"
    assert len(packed["model.tarec"]) < 0.8 * len(packed["model.tflite.xz"])
    assert len(packed["model.tarec"]) < floor + 2500  # names, shapes and the list of values are the rest


def test_int4_weights_are_coded_one_by_one(sparse_file: bytes) -> None:
    from ai_edge_quantizer import quantizer, recipe

    tool = quantizer.Quantizer(bytearray(sparse_file))
    tool.load_quantization_recipe(recipe.dynamic_wi4_afp32())
    tflite = bytes(tool.quantize().quantized_model)
    assert 4 in {region.width for region in regions_of(tflite)}
    assert read_compact(write_compact(tflite)) == tflite


@settings(max_examples=40, deadline=None)
@given(
    data=st.binary(min_size=4, max_size=400),
    width=st.sampled_from([4, 8, 16, 32]),
    columns=st.integers(1, 30),
    step=st.integers(1, 30),
    repeats=st.integers(1, 12),
    seed=st.integers(0, 2**16),
)
def test_any_values_come_back(data: bytes, width: int, columns: int, step: int, repeats: int, seed: int) -> None:
    words = np.frombuffer(data[: len(data) // 4 * 4], np.uint32)[:20]
    content = np.random.default_rng(seed).choice(words, size=20 * repeats).tobytes()
    file = data + content + data[::-1]
    region = Region(len(data), len(content), width, columns, step)
    coding = compact._best(file, region)
    assert coding is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact, "regions_of", lambda tflite: [region])
        patch.setattr(compact, "_worth_it", lambda tflite, codings: codings)
        assert read_compact(write_compact(file)) == file


def test_the_reader_works_alone(sparse_file: bytes, tmp_path: Path) -> None:
    reader = Path(shutil.copy(compact_reader.__file__, tmp_path))
    (tmp_path / "model.tarec").write_bytes(write_compact(sparse_file))
    command = [sys.executable, "-I", "-S", reader.name, "model.tarec", "model.tflite"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.tflite").read_bytes() == sparse_file
    assert len(reader.read_text().splitlines()) < 150


@pytest.mark.parametrize("at", [0, 12, -40])
def test_a_damaged_file_is_refused(sparse_file: bytes, at: int) -> None:
    damaged = bytearray(write_compact(sparse_file))
    damaged[at] ^= 4
    with pytest.raises((ValueError, lzma.LZMAError, IndexError)):
        read_compact(bytes(damaged))


def test_tables_are_the_same_on_every_machine() -> None:
    """No entry lies so near to a half that another machine's exp or log could round it the other way."""
    stretch = [256 * math.log((index + 0.5) / (4095.5 - index)) for index in range(4096)]
    squash = [65536 / (1 + math.exp(-x / 256)) for x in range(-2047, 2048)]
    far = [abs(value % 1 - 0.5) for value in stretch + squash if value not in (0.0, 32768.0)]
    assert min(far) > 1e-7


def test_what_would_take_too_long_is_left_to_lzma(sparse_file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "MOST_DECISIONS", 0)
    plain = write_compact(sparse_file)
    assert read_compact(plain) == sparse_file
    monkeypatch.undo()
    assert len(write_compact(sparse_file)) < len(plain)


def test_zeros_of_the_exported_file_are_of_one_kind(trained_model: Any) -> None:
    model = keras2().models.clone_model(trained_model)
    model.set_weights([np.where(np.abs(weight) < 0.1, -0.0, weight) for weight in trained_model.get_weights()])
    tensors = read_weights(convert(model, Conversion()))
    assert sum(np.count_nonzero(tensor.values == 0) for tensor in tensors) > 0
    assert not any((np.signbit(tensor.values) & (tensor.values == 0)).any() for tensor in tensors)
