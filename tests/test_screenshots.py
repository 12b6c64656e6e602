"""The pictures of the docs are those that `make screenshots` takes, and small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bench.screenshots import AT_WORK, DOCS, EMPTY, FULL, KEPT, shrink

SHOTS = (*EMPTY, *FULL, *AT_WORK)


def test_every_kept_picture_is_taken_and_every_stored_one_is_kept() -> None:
    names = [shot.name for shot in SHOTS]
    assert len(set(names)) == len(names)
    assert set(KEPT) <= {f"{name}-{theme}" for name in names for theme in ("light", "dark")}
    assert {path.stem for path in DOCS.glob("*.png")} == set(KEPT)
    assert sum(path.stat().st_size for path in DOCS.glob("*.png")) < 4_000_000


def test_pictures_get_smaller_and_stay_alike(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (120, 3))[random.integers(0, 120, (80, 90))]
    path = tmp_path / "picture.png"
    Image.fromarray(picture.astype(np.uint8)).save(path)
    before = path.stat().st_size
    shrink(path)
    assert path.stat().st_size < before
    with Image.open(path) as small:
        assert np.abs(np.asarray(small.convert("RGB")).astype(int) - picture).max() <= 12
