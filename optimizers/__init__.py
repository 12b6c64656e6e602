"""Techniques: each takes a tf_keras model and makes a smaller one; one file, one declaration each.

In this project "technique" is a compression method and "optimizer" is the Keras training optimizer,
although this folder keeps its given name. Adding a technique: write its file, add it to TECHNIQUES.
Importing this room loads no TensorFlow.
"""

from __future__ import annotations

from typing import Any

from intake.errors import InvalidParams
from optimizers.clustering import Clustering
from optimizers.layer_facts import LayerFacts, layer_facts
from optimizers.post_training_quantization import PostTrainingQuantization
from optimizers.pruning import Pruning
from optimizers.quantization_aware_training import QuantizationAwareTraining
from optimizers.technique import Technique

TECHNIQUES: tuple[Technique, ...] = (
    Pruning(),
    Clustering(),
    QuantizationAwareTraining(),
    PostTrainingQuantization(),
)


def technique(name: str) -> Technique:
    """Return the technique of that name; raises InvalidParams that lists the known names."""
    for entry in TECHNIQUES:
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in TECHNIQUES)
    raise InvalidParams(f"There is no technique named {name!r}. Choose one of: {known}.")


def facts_of(model: Any) -> tuple[LayerFacts, ...]:
    """Read what every technique needs to know of a clean tf_keras model; from then on no TensorFlow is needed."""
    return layer_facts(
        model, lambda layer: {entry.name: found for entry in TECHNIQUES if (found := entry.obstacle(layer))}
    )
