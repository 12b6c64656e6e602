"""A few of the spoilt files of `make fuzz`, through a real service and its worker."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest

from bench.fuzz import Fuzzer
from bench.mutations import BLIND, of_archive, of_array, of_end, of_table, of_yaml
from intake.errors import BadDataset
from intake.zip_guard import open_zip
from runs.service import EXAMPLE_DATASET, Service

COUNT = 45
"""Three of each file."""


def test_spoilt_files_are_opened_or_refused_with_a_sentence(service: Service, tmp_path: Path) -> None:
    fuzzer = Fuzzer(tmp_path, 7, service)
    for number in range(COUNT):
        fuzzer.one(number)
    assert fuzzer.bad == []
    ends = {end for _, end in fuzzer.counts}
    assert {"opened", "refused"} <= ends
    assert sum(fuzzer.counts.values()) == COUNT


def test_a_file_beside_the_home_is_noticed(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fuzzer = Fuzzer(tmp_path, 7, service)
    opened = Fuzzer._opened

    def writing(*arguments: object) -> str:
        (tmp_path / "written").write_bytes(b"")
        return opened(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Fuzzer, "_opened", writing)
    fuzzer.one(0)
    assert "written outside" in fuzzer.bad[0]


@pytest.mark.parametrize(
    "mutation", [*BLIND, of_archive, of_array, of_end, of_table, of_yaml], ids=lambda mutation: mutation.__name__
)
def test_the_same_chance_spoils_alike(mutation: object) -> None:
    originals: dict[object, bytes] = {
        of_archive: EXAMPLE_DATASET.read_bytes(),
        of_array: b"\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n",
        of_yaml: b"steps: [{technique: pruning, params: {final_sparsity: 0.5}}]\n",
    }
    content = originals.get(mutation, b"a,b,c\n1,2,3\n4,5,6\n" * 30)
    one, two = (mutation(content, random.Random(3)) for _ in range(2))  # type: ignore[operator]
    assert one == two
    assert one != content


@pytest.mark.parametrize("name", [b"\0.png", b".\0png"])
def test_a_member_without_a_name_is_a_sentence(tmp_path: Path, name: bytes) -> None:
    """`zipfile` ends names at a zero byte, and looks at the last letter of what is left."""
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.png", b"content")
    path.write_bytes(path.read_bytes().replace(b"x.png", name))
    with pytest.raises(BadDataset, match="has no name"):
        open_zip(path, "a zip", 10)
