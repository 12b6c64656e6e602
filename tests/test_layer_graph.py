"""The layers of a run as a graph: edges that are stored, folding, what colours stand for, text that can be read."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from measure.layer_errors import SAME_DB, LayerError
from optimizers import facts_of
from optimizers.recipe import Recipe
from runs.layer_outcomes import LayerOutcome, layer_outcomes
from tests.awkward_models import AWKWARD
from tests.conftest import convolutional_model
from ui.layer_graph import (
    FAR_DB,
    MOST_LAYERS,
    colour_at,
    dot_of,
    legend_of,
    measures_of,
    shown_layers,
)
from ui.palette import luminance, text_colour


def outcome(name: str, *inputs: str, **given: object) -> LayerOutcome:
    values = {"class_name": "Dense", "parameters": 4, "treatments": (), "left_by_choice": False} | given
    return LayerOutcome.model_validate({"layer": name, "inputs": inputs, **values})


LAYERS = (
    outcome("a", "given", bytes_before=4000, bytes_after=1000, zero_share=0.5, distinct=16, dtype="int8"),
    outcome("act", "a", class_name="ReLU", parameters=0),
    outcome("b", "act", "a", bytes_before=4000, bytes_after=100, zero_share=0.0, distinct=200, dtype="float32",
            error=LayerError(sqnr_db=SAME_DB, cosine=1)),
    outcome("c", "b", error=LayerError(sqnr_db=20, cosine=0.9)),
)  # fmt: skip


def test_the_facts_know_what_each_layer_takes_from() -> None:
    facts = {fact.name: fact.inputs for fact in facts_of(convolutional_model())}
    assert [facts[name] for name in ("bn", "relu", "flat", "hidden", "head")] == [
        ("conv",), ("bn",), ("relu",), ("flat",), ("hidden",)
    ]  # fmt: skip
    assert len(facts["conv"]) == 1
    assert facts["conv"][0].startswith("input")
    several = facts_of(AWKWARD["attention, two inputs and outputs"]())
    assert max(len(fact.inputs) for fact in several) == 2


def test_a_run_stores_the_edges() -> None:
    facts = facts_of(convolutional_model())
    stored = layer_outcomes(Recipe.single("pruning", {}, {}), facts, [])
    assert {one.layer: one.inputs for one in stored} == {fact.name: fact.inputs for fact in facts}


def test_every_figure_that_some_layer_has_can_be_shown() -> None:
    measures = {measure.label: measure for measure in measures_of(LAYERS, {"c": 0.75, "a": 0.25})}
    assert list(measures) == [
        "Bytes now", "Bytes saved", "Zeros", "Distinct values", "Bits per weight", "SQNR", "Share of time"
    ]  # fmt: skip
    assert measures["Bytes saved"].values == {"a": 3000, "b": 3900}
    assert measures["Bits per weight"].values == {"a": 8, "b": 32}
    assert measures["Zeros"].text(0.5) == "50.0 %"
    assert [measure.label for measure in measures_of(LAYERS[3:])] == ["SQNR"]


def test_places_go_from_the_smallest_to_the_largest_and_back() -> None:
    for measure in measures_of(LAYERS):
        assert measure.place(measure.value_at(0.5)) == pytest.approx(0.5)
    measures = {measure.label: measure for measure in measures_of(LAYERS)}
    assert [measures["Bytes now"].place(value) for value in (100, 1000)] == [0, 1]
    assert measures["Zeros"].ends == pytest.approx((0, 1))  # 79.9 % and 80 % must not stand at both ends
    assert [measures["Bits per weight"].tick(place) for place in (0, 0.5, 1)] == ["2 bits", "8 bits", "32 bits"]
    sqnr = measures["SQNR"]
    assert sqnr.value_at(1) == FAR_DB  # what is the same must not push all others together
    assert sqnr.place(SAME_DB) == 1
    assert sqnr.tick(1) == "60.0 dB or more"
    assert sqnr.text(SAME_DB) == "same"


def test_the_graph_has_a_node_for_each_layer_and_an_edge_for_each_input() -> None:
    measure = measures_of(LAYERS)[0]
    dot = dot_of(LAYERS, measure)
    nodes = dict(re.findall(r'^(n\d+) \[label="([^"\\]+)', dot, re.MULTILINE))
    edges = {(nodes[one], nodes[other]) for one, other in re.findall(r"(n\d+) -> (n\d+)", dot)}
    assert set(nodes.values()) == {"given", "a", "act", "b", "c"}
    assert edges == {("given", "a"), ("a", "act"), ("act", "b"), ("a", "b"), ("b", "c")}
    assert dot.count("fillcolor") == 2  # c and act have no bytes
    assert "1.0 kB" in dot


def test_names_cannot_leave_their_label() -> None:
    nasty = outcome('x"] evil [label="y\\', bytes_after=1)
    dot = dot_of((nasty,), measures_of((nasty,))[0])
    assert '\\"] evil [label=\\"y\\\\' in dot


def test_large_models_are_folded_to_layers_with_weights() -> None:
    chain = [outcome("l0", "given")]
    for number in range(1, MOST_LAYERS + 1):
        chain.append(outcome(f"l{number}", f"l{number - 1}", parameters=0 if number % 2 else 4))
    shown = shown_layers(chain)
    assert [one.layer for one in shown] == [f"l{number}" for number in range(0, MOST_LAYERS + 1, 2)]
    assert shown[0].inputs == ("given",)
    assert [one.inputs for one in shown[1:]] == [(before.layer,) for before, _ in pairwise(shown)]
    assert shown_layers(chain[:10]) == chain[:10]


def test_branches_still_meet_in_a_folded_model() -> None:
    block = [
        outcome("conv", "given", bytes_after=8), outcome("bn", "conv"), outcome("relu", "bn", parameters=0),
        outcome("other", "relu", bytes_after=8), outcome("add", "relu", "other", parameters=0),
    ]  # fmt: skip
    rest = [outcome(f"r{number}", f"r{number - 1}" if number else "add") for number in range(MOST_LAYERS)]
    shown = {one.layer: one.inputs for one in shown_layers([*block, *rest])}
    assert shown == {"conv": ("given",), "other": ("conv",), "add": ("conv", "other")}


@pytest.mark.parametrize("place", [number / 20 for number in range(21)])
def test_text_stands_out_from_every_colour(place: float) -> None:
    fill = colour_at(place)
    light, dark = sorted((luminance(fill), luminance(text_colour(fill))), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_colours_get_lighter_along_the_scale() -> None:
    lightness = [luminance(colour_at(number / 10)) for number in range(11)]
    assert lightness == sorted(lightness)


def test_the_legend_names_both_ends_with_units() -> None:
    words = legend_of(measures_of(LAYERS)[0]).layout.xaxis.ticktext
    assert (words[0], words[-1]) == ("0.1 kB", "1.0 kB")
    alike = (outcome("a", bytes_after=2000), outcome("b", bytes_after=2000))
    assert legend_of(measures_of(alike)[0]).layout.xaxis.ticktext == ("2.0 kB",)
