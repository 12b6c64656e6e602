"""Datasets that were made to hurt: each is opened harmlessly or refused with a sentence, soon and in little memory."""

from __future__ import annotations

import io
import json
import pickle
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from intake.dataset_info import DatasetInfo, DatasetOptions
from intake.errors import BadDataset
from intake.one_sample import sample_of_file
from intake.zip_members import has_more_members
from tests.hostile_archives import overlapping, special, with_declared_size, with_members, zeros_zip, zipped

SOON_S = 60
LITTLE_MB = 1000
"""Of a process that has numpy, pandas, pyarrow and Pillow: about 200 MB before it opens anything, and 6 times the size of
the largest file here."""
ROOT = Path(__file__).parents[1]
Build = Callable[[Path], Path]


def picture(kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (9, 9), (200, 10, 10)).save(content, kind, **options)
    return content.getvalue()


def written(name: str, content: Callable[[], bytes]) -> Build:
    def build(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content())
        return path

    return build


def images(**odd: bytes) -> bytes:
    """Two classes of good images, and some odd members, "__" for the slash."""
    good = {f"{name}/{number}.png": picture() for name in ("cat", "dog") for number in range(8)}
    return zipped({**good, **{name.replace("__", "/"): content for name, content in odd.items()}})


def npy(array: np.ndarray[Any, Any], **header: Any) -> bytes:
    """An array file whose header says something else."""
    told = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape, **header}
    content = io.BytesIO()
    np.lib.format.write_array_header_2_0(content, told)
    return content.getvalue() + array.tobytes()


def arrays(x: bytes) -> bytes:
    return zipped({"x.npy": x, "y.npy": npy(np.arange(20) % 2)})


NUMBERS = np.arange(60, dtype=np.float32).reshape(20, 3)


class Touch:
    """Pickled, it makes a file when somebody loads it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.path, "w"))


def objects(folder: Path) -> Path:
    header = npy(np.zeros(0), descr="|O", shape=(20,))
    path = folder / "objects.npz"
    path.write_bytes(arrays(header + pickle.dumps(Touch(str(folder / "canary")))))
    return path


def png_bomb() -> bytes:
    """50,000 x 50,000 pixels that are all there: 312 MB of black in 300 kB."""
    packed, line = zlib.compressobj(1), bytes(50_000 // 8 + 1) * 1000
    data = b"".join(packed.compress(line) for _ in range(50)) + packed.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def many_frames() -> bytes:
    content = io.BytesIO()
    frames = [Image.new("L", (9, 9), number % 256) for number in range(10_000)]
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    return content.getvalue()


def table(cells: str, rows: int = 20) -> bytes:
    return ("a,b,kind\n" + "".join(f"{number},{cells},{'xy'[number % 2]}\n" for number in range(rows))).encode()


def parquet(folder: Path, frame: pd.DataFrame, name: str = "table.parquet") -> Path:
    frame.to_parquet(folder / name)
    return folder / name


def varint(number: int) -> bytes:
    """How Thrift writes a number."""
    number, written = number << 1, b""
    while number > 127:
        number, written = number >> 7, written + bytes([number & 127 | 128])
    return written + bytes([number])


def lying_parquet(rows: int) -> Build:
    """A table of 12,345 rows that says it has others, everywhere it says so."""

    def build(folder: Path) -> Path:
        path = parquet(folder, pd.DataFrame({"a": np.arange(12_345) % 7, "y": np.arange(12_345) % 2}))
        content = path.read_bytes()
        (length,) = struct.unpack("<L", content[-8:-4])
        footer = content[-8 - length : -8]
        assert varint(12_345) in footer
        footer = footer.replace(varint(12_345), varint(rows))
        path.write_bytes(content[: -8 - length] + footer + struct.pack("<L", len(footer)) + b"PAR1")
        return path

    return build


REFUSED: dict[str, tuple[Build, str]] = {
    "zip of a million members": (lambda f: with_members(f / "a.zip", 10**6), "at most 200,000 members"),
    "zip that hides a million members": (lambda f: with_members(f / "a.zip", 10**6, 1), "at most 200,000 members"),
    "npz of a million members": (lambda f: with_members(f / "a.npz", 10**6, suffix=".npy"), "at most 64 members"),
    "zip that expands to 15 GB": (
        lambda f: overlapping(f / "a.zip", [f"{n % 2}/{n}.png" for n in range(60)], picture() + bytes(2**28)),
        "at most 8 GiB",
    ),
    "image of a gigabyte of zeros": (lambda f: zeros_zip(f / "a.zip", "cat/1.png", 2**30, picture()), "above the limit"),
    "image that says it is small": (
        lambda f: with_declared_size(zeros_zip(f / "a.zip", "cat/1.png", 2**28, picture()), "cat/1.png", 60),
        "cannot be decoded",
    ),
    "images that are the same bytes": (
        lambda f: overlapping(f / "a.zip", [f"{n % 2}/{n}.png" for n in range(20)], picture() + bytes(2**28)),
        "19 cannot be decoded",
    ),
    "zip in a zip": (written("a.zip", lambda: images(cat__more=zipped({"x.png": picture()}))), "not an image"),
    "zip of a zip of zips": (
        written("a.zip", lambda: zipped({"a.zip": zipped({"b.zip": zipped({"cat/1.png": picture()})})})),
        "holds none",
    ),
    "name with ..": (written("a.zip", lambda: images(**{"..__..__cat__1.png": b"x"})), "outside of the archive"),
    "absolute name": (written("a.zip", lambda: images(**{"__etc__cat__1.png": b"x"})), "outside of the archive"),
    "name of Windows": (written("a.zip", lambda: images(**{"C:\\cat\\1.png": b"x"})), "outside of the archive"),
    "link": (written("a.zip", lambda: special("cat/1.png", stat.S_IFLNK, b"/etc/passwd")), "is a link"),
    "device": (written("a.zip", lambda: special("cat/1.png", stat.S_IFCHR)), "cannot be decoded"),
    "pipe": (written("a.zip", lambda: special("cat/1.png", stat.S_IFIFO)), "cannot be decoded"),
    "image of 2.5 billion pixels": (written("a.zip", lambda: images(cat__bomb=png_bomb())), "pixels"),
    "SVG named .png": (
        written("a.zip", lambda: images(**{"cat__x.png": b'<svg onload="alert(1)" xmlns="http://www.w3.org/2000/svg"/>'})),
        "not an image",
    ),
    "HTML named .png": (written("a.zip", lambda: images(**{"cat__x.png": b"<html><script>1</script>"})), "not an image"),
    "program named .png": (
        written("a.zip", lambda: images(**{"cat__x.png": Path(sys.executable).read_bytes()[:9000]})),
        "not an image",
    ),
    "PostScript named .png": (
        written("a.zip", lambda: images(**{"cat__x.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n"})),
        "not an image",
    ),
    "array of objects": (objects, "pickled Python objects"),
    "array of a trillion": (written("a.npz", lambda: arrays(npy(NUMBERS, shape=(10**12, 3)))), "cannot be read"),
    "array longer than its data": (written("a.npz", lambda: arrays(npy(NUMBERS, shape=(21, 3)))), "cannot be read"),
    "array of wider numbers": (written("a.npz", lambda: arrays(npy(NUMBERS, descr="<f8"))), "cannot be read"),
    "array of a negative length": (written("a.npz", lambda: arrays(npy(NUMBERS, shape=(-20, 3)))), "cannot be read"),
    "array of records": (written("a.npz", lambda: arrays(npy(np.zeros(20, "i4,f4")))), "must hold numbers"),
    "array of a header of a megabyte": (
        written("a.npz", lambda: arrays(b"\x93NUMPY\2\0" + struct.pack("<L", 2**20) + b" " * 2**20)),
        "cannot be read",
    ),
    "header that is a program": (
        written("a.npz", lambda: arrays(b"\x93NUMPY\1\0" + struct.pack("<H", 40) + b"__import__('os').system('x')".ljust(40))),
        "cannot be read",
    ),
    "npz with a zip inside": (written("a.npz", lambda: zipped({"x.npy": arrays(npy(NUMBERS))})), "cannot be read"),
    "table of 100,000 columns": (
        written("a.csv", lambda: (",".join(f"c{n}" for n in range(10**5)) + "\n" + "1," * (10**5 - 1) + "1\n").encode()),
        "at most 20,000 columns, but it has 100,000",
    ),
    "line of 100 MB of commas": (written("a.csv", lambda: b"," * 10**8), "at most 20,000 columns"),
    "line of 100 MB": (written("a.csv", lambda: b"x" * 10**8), "at least two columns"),
    "zeros in the text": (written("a.csv", lambda: b"a,b\n1,\0\n" * 20), "binary data"),
    "quote that is never closed": (written("a.csv", lambda: b'a,b\n1,"2\n' + b"3,4\n" * 10**5), "a.csv"),
    "table of a million empty lines": (written("a.csv", lambda: b"\n" * 10**6), "is empty"),
    "Parquet of too many rows": (lying_parquet(2**62), "table.parquet"),
    "Parquet of 100,000 columns": (
        lambda f: parquet(f, pd.DataFrame(np.zeros((1, 20_001), np.int8), columns=[f"c{n}" for n in range(20_001)])),
        "at most 20,000 columns",
    ),
}  # fmt: skip

OPENED: dict[str, Build] = {
    "JPEG named .png": written("a.zip", lambda: images(**{"cat__x.png": picture("JPEG")})),
    "GIF of 10,000 frames": written("a.zip", lambda: images(**{"cat__x.gif": many_frames()})),
    "array of columns first": written("a.npz", lambda: arrays(npy(NUMBERS, fortran_order=True))),
    "array shorter than its data": written("a.npz", lambda: arrays(npy(NUMBERS) + b"more")),
    "formulas": written("a.csv", lambda: table("=HYPERLINK(1)")),
    "mixed encodings": written("a.csv", lambda: table("é") + "40,ü,x\n".encode("latin-1")),
    "Parquet that keeps quiet about rows": lying_parquet(12_340),
    "Parquet that boasts of rows": lying_parquet(12_999),
}

OPENS_APART = """
import json, re, sys, time
from pathlib import Path
import pyarrow.parquet
from intake.dataset_info import DatasetOptions
from intake.datasets import parse_dataset
from intake.errors import UserError
started = time.monotonic()
try:
    parse_dataset(Path(sys.argv[1]), DatasetOptions(), Path(sys.argv[2]))
    answer = "opened"
except UserError as error:
    answer = str(error)
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps([answer, peak, time.monotonic() - started]))
"""


def opened_apart(path: Path) -> str:
    """Open a file in a process of its own; what it took is checked."""
    parsed = path.parent / "parsed" / "here"
    ran = subprocess.run(
        [sys.executable, "-c", OPENS_APART, str(path), str(parsed)],
        cwd=ROOT, capture_output=True, text=True, timeout=SOON_S + 30, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    answer, peak_mb, seconds = json.loads(ran.stdout.splitlines()[-1])
    assert seconds < SOON_S, seconds
    assert peak_mb < LITTLE_MB, peak_mb
    return str(answer)


@pytest.mark.parametrize("name", REFUSED)
def test_what_hurts_is_refused_with_a_sentence(tmp_path: Path, name: str) -> None:
    build, words = REFUSED[name]
    (tmp_path / "in").mkdir()
    path = build(tmp_path / "in")
    before = set((tmp_path / "in").iterdir())
    answer = opened_apart(path)
    assert words in answer
    assert answer.rstrip().endswith(".")
    assert "Traceback" not in answer
    assert set((tmp_path / "in").iterdir()) <= {*before, tmp_path / "in" / "parsed"}, "something was written"
    assert not list((tmp_path / "in" / "parsed").glob("*")), "something is left"
    assert {entry.name for entry in tmp_path.iterdir()} == {"in"}


@pytest.mark.parametrize("name", OPENED)
def test_what_only_looks_bad_is_opened(tmp_path: Path, name: str) -> None:
    assert opened_apart(OPENED[name](tmp_path)) == "opened"
    assert (tmp_path / "parsed" / "here" / "info.json").is_file()


def test_members_are_counted_as_zipfile_does(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    for count in (1, 7, 66_000):  # the last one needs a directory of ZIP64
        with zipfile.ZipFile(path, "w") as archive:
            archive.comment = b"a comment at the end"
            for number in range(count):
                archive.writestr(f"{number}", b"")
        assert has_more_members(path, count - 1)
        assert not has_more_members(path, count)
    path.write_bytes(b"no zip at all" * 9)
    assert not has_more_members(path, 0)


ONE_SAMPLE = DatasetInfo(
    file_name="a.npz", file_bytes=1, sha256="0", kind="arrays", options=DatasetOptions(), train_samples=8,
    validation_samples=1, test_samples=1, sample_shape=(3,), dtype="float32", value_min=0, value_max=1,
    label_kind="none", label_shape=(), class_names=(), class_counts={}, columns=(), feature_names=(), split="",
    notes=(), preview_rows=(), preview_images=(),
)  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        npy(np.zeros(0), descr="|O", shape=(3,)) + pickle.dumps(3),
        npy(NUMBERS[0], shape=(10**12, 3)),
        npy(NUMBERS[0], descr="<f8"),
        npy(NUMBERS[0], shape=(-3,)),
        npy(np.zeros(3, "i4,f4")),
        b"\x93NUMPY\1\0" + struct.pack("<H", 40) + b"__import__('os').system('x')".ljust(40),
        b"\x93NUMPY\1\0" + struct.pack("<H", 40) + b"((((((((((((((((((((((((((((((((((((((((",
        b"\x93NUMPY\2\0" + struct.pack("<L", 2**20) + b"(" * 2**20,
        b"",
        zipped({"x.npy": b""}),
    ],
)
def test_a_sample_that_hurts_is_a_sentence(content: bytes) -> None:
    with pytest.raises(BadDataset, match=r"one\.npy must (hold|be)"):
        sample_of_file(content, "one.npy", ONE_SAMPLE)
