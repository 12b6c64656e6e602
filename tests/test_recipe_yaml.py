"""Recipe files that were made to hurt: the dashboard itself reads them, so they must be sentences, and soon."""

from __future__ import annotations

import time

import pytest

from intake.errors import InvalidParams
from optimizers.recipe import Recipe
from optimizers.recipe_yaml import MOST_CHARACTERS, MOST_VALUES, values_of_yaml

LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(12))
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n + 1}: &a{n + 1} {{<<: [{', '.join([f'*a{n}'] * 10)}]}}\n" for n in range(12)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, "with its aliases"),
        (MERGES, "with its aliases"),
        ("steps: &a [*a]", "with its aliases"),
        ("steps: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("steps: " + "{a: " * 5000 + "1" + "}" * 5000, "nested too deeply"),
        ("x" * (MOST_CHARACTERS + 1), "characters"),
        ("[" + "1, " * MOST_VALUES + "1]", "holds more than"),
        ("steps: !!python/object/apply:os.system ['touch canary']", "could not determine a constructor"),
        ("steps: !!python/name:os.system", "could not determine a constructor"),
        ("a: 2001-99-99", "month must be"),
        ("a: " + "1" * 5000, "4300 digits"),
        ("? [a]\n: b", "unhashable"),
        ("a: \x07", "special characters"),
        ("--- 1\n--- 2", "single document"),
        ("steps: [{technique: pruning, params: {final_sparsity: .nan}}]", "final_sparsity"),
        ("steps: [{technique: os.system}]", "os.system"),
        ("just words", "dictionary"),
    ],
)
def test_what_hurts_is_a_sentence(text: str, words: str) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidParams) as raised:
        Recipe.from_yaml(text)
    assert time.monotonic() - started < 20
    assert words in str(raised.value)


def test_aliases_are_allowed_in_measure() -> None:
    text = "steps: [{technique: pruning, fine_tuning: &f {epochs: 3}}, {technique: clustering, fine_tuning: *f}]"
    assert [step.fine_tuning for step in Recipe.from_yaml(text).steps if step.fine_tuning is not None][1]["epochs"] == 3
    assert values_of_yaml("") is None
