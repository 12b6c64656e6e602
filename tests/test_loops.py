"""Which recurrent layers are told to become a loop: those that the converter makes one of."""

from __future__ import annotations

from typing import Any

import pytest

from intake.keras_env import keras2
from measure.conversion import Conversion
from measure.export import convert
from measure.loops import becomes_a_loop
from measure.signature import has_loop


def taking(*outputs: str, both_ways: bool, **options: Any) -> Any:
    """A model that gives out what an LSTM puts out: "head" (a layer on its answer), "answer", "hidden", "cell"."""
    layers = keras2().layers
    inputs = keras2().Input((6, 4))
    lstm = layers.LSTM(8, return_state=True, name="inner" if both_ways else "memory", **options)
    answer, hidden, cell, *_ = (layers.Bidirectional(lstm, name="memory") if both_ways else lstm)(inputs)
    found = {"answer": answer, "hidden": hidden, "cell": cell}
    if "head" in outputs:
        found["head"] = layers.Dense(2)(answer)
    return keras2().Model(inputs, [found[name] for name in outputs])


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize(
    ("outputs", "loops"),
    [
        (("head",), False),
        (("answer",), False),
        (("head", "answer"), False),
        (("head", "hidden"), True),
        (("head", "cell"), True),
        (("answer", "cell"), True),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_state_that_is_an_output_makes_a_loop(outputs: tuple[str, ...], loops: bool, both_ways: bool) -> None:
    model = taking(*outputs, both_ways=both_ways)
    assert becomes_a_loop(model.get_layer("memory"), model.outputs) == loops
    assert has_loop(convert(model, Conversion())) == loops


def test_an_activation_that_is_not_the_usual_makes_a_loop() -> None:
    model = taking("head", both_ways=False, activation="relu")
    assert becomes_a_loop(model.get_layer("memory"), model.outputs)
    assert has_loop(convert(model, Conversion()))
