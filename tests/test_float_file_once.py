"""The float32 file of a project is converted once, however many runs quantize it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import measure.export
from optimizers.recipe import Recipe
from tests.runs_here import project_here, run_here

FORMATS: tuple[dict[str, Any], ...] = (
    {"mode": "float16"},
    {"mode": "dynamic_range"},
    {"mode": "int8"},
    {"mode": "weight_only", "weight_bits": 4},
    {"mode": "int8_weights_int16_activations"},
)


@pytest.mark.slow
def test_only_the_first_run_of_a_project_converts(
    empty_home: Path, easy_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted, by_converter = [], measure.export._by_converter

    def counting(model: Any, conversion: Any, representative: Any) -> bytes:
        converted.append(conversion.number_format)
        return by_converter(model, conversion, representative)

    monkeypatch.setattr("measure.export._by_converter", counting)
    settings, project = project_here(tmp_path / "home", empty_home, easy_files)
    for recipe in (Recipe(), *(Recipe.single("post_training_quantization", params) for params in FORMATS)):
        run = run_here(settings, project, recipe, monkeypatch)
        assert run.state == "finished", run.error
        assert run.error == ""
    assert converted == ["float32"]
