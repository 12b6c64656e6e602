"""What a technique will do to each layer, known before a second is spent."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from measure.facts import WeightOf

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


def acts(layer: object, reason: str, weights: tuple[WeightOf, ...] = ()) -> Treatment:
    """The technique changes this layer."""
    return _treatment(layer, "acts", reason, weights=weights)


def left(layer: object, reason: str, fix: str = "") -> Treatment:
    """The technique passes this layer by."""
    return _treatment(layer, "left", reason, fix)


def impossible(layer: object, reason: str, fix: str = "") -> Treatment:
    """The technique cannot act on this layer."""
    return _treatment(layer, "impossible", reason, fix)


def _treatment(
    layer: object, verdict: Verdict, reason: str, fix: str = "", weights: tuple[WeightOf, ...] = ()
) -> Treatment:
    name = str(getattr(layer, "name"))  # noqa: B009 (a Keras layer, which is typed nowhere)
    return Treatment(
        layer=name, class_name=type(layer).__name__, verdict=verdict, reason=reason, fix=fix, weights=weights
    )
