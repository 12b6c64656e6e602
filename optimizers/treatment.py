"""What a technique will do to each layer, known before a second is spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from measure.facts import WeightOf
from optimizers.layer_facts import LayerFacts

Verdict = Literal["acts", "left", "impossible"]


class Treatment(BaseModel):
    """One layer under one technique.

    acts: the technique changes the layer's weights or its arithmetic. left: it passes the layer by, and nothing is
    lost by it. impossible: it should act, but cannot.
    """

    model_config = ConfigDict(frozen=True)

    layer: str
    class_name: str
    verdict: Verdict
    reason: str
    """A sentence: what happens to the layer, or why nothing does."""
    fix: str = ""
    """What would let the technique act, where there is something; else empty."""
    weights: tuple[WeightOf, ...] = ()
    """The kernels acted on; empty unless the verdict is "acts"."""


def acts(layer: LayerFacts, reason: str, weights: tuple[WeightOf, ...] = ()) -> Treatment:
    """The technique changes this layer."""
    return Treatment(layer=layer.name, class_name=layer.class_name, verdict="acts", reason=reason, weights=weights)


def left(layer: LayerFacts, reason: str, fix: str = "") -> Treatment:
    """The technique passes this layer by."""
    return Treatment(layer=layer.name, class_name=layer.class_name, verdict="left", reason=reason, fix=fix)


def impossible(layer: LayerFacts, reason: str, fix: str = "") -> Treatment:
    """The technique cannot act on this layer."""
    return Treatment(layer=layer.name, class_name=layer.class_name, verdict="impossible", reason=reason, fix=fix)


def counts(treatments: Sequence[Treatment]) -> dict[Verdict, int]:
    """Return verdict -> number of layers: all three verdicts, also those that no layer has."""
    found: dict[Verdict, int] = {"acts": 0, "left": 0, "impossible": 0}
    for treatment in treatments:
        found[treatment.verdict] += 1
    return found


def counted(treatments: Sequence[Treatment]) -> str:
    """Return the counts for people: "acts on 5 layers, leaves 3 as they are, 0 not possible"."""
    found = counts(treatments)
    return (
        f"acts on {found['acts']:,} layers, leaves {found['left']:,} as they are, {found['impossible']:,} not possible"
    )
