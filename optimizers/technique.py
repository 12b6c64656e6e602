"""What a technique promises. The contract tests in tests/test_techniques.py hold every entry of the registry to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from intake.errors import DoesNotFit, InvalidParams
from intake.keras_env import keras2
from measure.export import Conversion
from measure.facts import Fact, WeightOf
from measure.plain_tools import NeedsTare
from measure.weights import WeightTensor
from optimizers.declaration import OF_LAYERS, Params, parameter, specs
from optimizers.fine_tuning import FineTuning, TrainingPlan
from optimizers.kept import Kept, KernelKey, Won
from optimizers.kernels import kernels_of
from optimizers.layer_facts import KernelFacts, LayerFacts
from optimizers.plain_training import ScriptStep
from optimizers.treatment import Treatment, left


class TechniqueParams(Params):
    """Base of every technique's parameters."""

    leave_as_is: tuple[str, ...] = parameter((), "Leave as is", "Layers that this technique does not touch.")


@dataclass(frozen=True)
class Wrapped:
    """A model ready to fine-tune under a technique."""

    model: Any
    callbacks: list[Any] = field(default_factory=list)
    """Keras callbacks that it needs while it trains. After their `on_epoch_end` the variables of the model must be such
    that the training could end there: the best epoch is restored from them."""
    live_metrics: Callable[[], dict[str, float]] = dict
    """Figures worth a live curve ("sparsity"); called about twice a second."""
    settled_step: int = 0
    """Optimizer step from which on an epoch's figures are those of the finished technique: the end of a schedule. What
    picks the best epoch must not look at earlier ones."""


class Technique:
    """One compression method: its declaration, what it does to a model, what it claims of the exported file.

    Subclass, set the class variables, override what differs. `params` handed to the methods is always an
    instance of the subclass's own `Params`.
    """

    name: ClassVar[str]
    """Word of recipes and of the command line: "pruning"."""
    title: ClassVar[str]
    summary: ClassVar[str]
    """One sentence on the form."""
    use_when: ClassVar[str]
    avoid_when: ClassVar[str]
    shrinks: ClassVar[str]
    """Which size goes down, and which does not."""
    source: ClassVar[str]
    """The paper, or the guide, that the method comes from."""
    Params: ClassVar[type[Params]]
    fine_tuning: ClassVar[FineTuning | None] = None
    """Default settings where the technique trains; None where it does not."""
    converts: ClassVar[bool] = False
    """True where it decides the number format of the exported file."""
    wins: ClassVar[Won | None] = None
    """What its training leaves in the kernels for later steps to keep."""
    keeps: ClassVar[frozenset[Won]] = frozenset({"zeros", "values"})
    """What of earlier steps survives its training; the others must come after it, or not at all."""

    def check(self, params: Any) -> None:
        """Raise InvalidParams where declared values contradict each other. Each alone was checked before."""

    def advice(self, params: Any, settings: FineTuning | None) -> list[str]:
        """Return which of the values rarely go well, in sentences that say what to do instead."""
        return []

    def wrap(
        self,
        model: Any,
        params: Any,
        weights: Sequence[WeightOf],
        plan: TrainingPlan,
        representative: Sequence[np.ndarray],
        kept: Kept,
    ) -> Wrapped:
        """Return the model to fine-tune.

        Args:
            model: a fresh functional tf_keras model that this call may change.
            params: the technique's own.
            weights: what `weights_of` says of this model; at least one.
            plan: optimizer steps that follow.
            representative: for each input an array (n, *input_shape) of preprocessed training samples.
            kept: what earlier steps won. It is enforced on `kernel_variables` after each optimizer step; a technique
                needs it only where it decides by it.
        """
        return Wrapped(model)

    def kernel_variables(self, wrapped: Any) -> dict[KernelKey, Any]:
        """Return the kernels of a model that `wrap` returned, by the names of the layers they were in before."""
        return {(layer.name, kernel.name): kernel.variable for layer in wrapped.layers for kernel in kernels_of(layer)}

    def strip(self, model: Any) -> Any:
        """Return the trained model without wrappers, ready for conversion."""
        return model

    def plain(self, trained: Any, clean: Any) -> Any:
        """Return a model of the uploaded architecture with the optimized weights.

        Args:
            trained: what `strip` returned.
            clean: a fresh model of the uploaded architecture, which this call may change.
        """
        return trained

    def conversion(self, params: Any, before: Conversion) -> Conversion:
        """Return how the file must be exported.

        Args:
            params: the technique's own.
            before: what earlier steps of the recipe asked for; float32 without any.
        """
        return before

    def conflicts(self, params: Any, others: Sequence[tuple[str, Any]]) -> list[str]:
        """Return what cannot go together with the other steps of a recipe, in sentences.

        Args:
            params: the technique's own.
            others: (title, parameters) of the steps before it.
        """
        return []

    def obstacle(self, layer: Any) -> str:
        """Return why the technique cannot act on this layer of a built tf_keras model as it usually does; "" if not."""
        return ""

    def treatment(self, layer: LayerFacts, params: Any) -> Treatment:
        """Return what happens to one layer, apart from what the user asked to leave. Needs no TensorFlow."""
        raise NotImplementedError

    def treatments(self, layers: Sequence[LayerFacts], params: Any) -> tuple[Treatment, ...]:
        """Return what happens to each layer of a model, in its order. Needs no TensorFlow.

        Raises:
            InvalidParams: a parameter names a layer that the model does not have.
        """
        known = [layer.name for layer in layers]
        problems = [
            f"`{spec.name}` names layers that this model does not have: {', '.join(unknown)}. "
            f"It has: {', '.join(known)}."
            for spec in specs(type(params))
            if spec.kind in OF_LAYERS and (unknown := sorted(set(getattr(params, spec.name)) - set(known)))
        ]
        if problems:
            raise InvalidParams(problems)
        return tuple(
            left(layer, "You chose to leave it as it is.")
            if layer.name in params.leave_as_is
            else self.treatment(layer, params)
            for layer in layers
        )

    def simulate(self, values: np.ndarray, params: Any, layer: LayerFacts, kernel: KernelFacts) -> np.ndarray:
        """Return what the technique makes of a kernel, without training: the same shape, in the dtype that is stored.

        Sizes are estimated with it before a run. Needs no TensorFlow.

        Args:
            values: float32 (output channels, values of each), some of the kernel's values.
            params: the technique's own.
            layer: that the kernel is of.
            kernel: the whole one.
        """
        return values

    def imitate(self, values: np.ndarray, params: Any, layer: LayerFacts, kernel: KernelFacts) -> np.ndarray | None:
        """Return what a kernel counts as under the technique, without training; None where that is not known.

        What a layer costs is judged with it. Needs no TensorFlow.

        Args:
            values: float32 (output channels, values of each), the whole kernel; it is left as it is.
            params: the technique's own.
            layer: that the kernel is of.
            kernel: the same.

        Returns:
            float32, the same shape: integers with their scale taken back.
        """
        return None

    def not_imitated(self, params: Any) -> str:
        """Return what the technique does beside what `imitate` shows, in a sentence; "" where that is nothing."""
        return ""

    def spare(self, params: Any, layer: str) -> TechniqueParams:
        """Return the parameters with one layer treated as gently as can be: left as it is, without settings of its own."""
        own = {
            spec.name: {name: value for name, value in getattr(params, spec.name).items() if name != layer}
            for spec in specs(type(params))
            if spec.kind in OF_LAYERS and spec.kind != "layers"
        }
        left_now = tuple(dict.fromkeys((*params.leave_as_is, layer)))
        return type(params).checked({**params.model_dump(), **own, "leave_as_is": left_now})

    def added_bytes(self, channels: int, params: Any, kernel: KernelFacts) -> int:
        """Return by how many bytes the file grows beside a kernel of so many output channels: scales, names, bias."""
        return 0

    def weights_of(self, layers: Sequence[LayerFacts], params: Any) -> list[WeightOf]:
        """Return the weights that the technique will act on."""
        return [weight for treatment in self.treatments(layers, params) for weight in treatment.weights]

    def verify(self, params: Any, weights: list[WeightOf], tensors: list[WeightTensor]) -> list[Fact]:
        """Return what was asked beside what the exported file shows, one fact for each weight acted on."""
        return []

    def script_lines(self, params: Any, step: ScriptStep) -> list[str]:
        """Return the Python lines that do with plain tf_keras and TFMOT what the technique does, without Tare.

        They turn `model`, a tf_keras model, into the next `model`, with the functions of `runs.handover.parts_training`.
        What `conversion` says is written by others.

        Args:
            params: the technique's own.
            step: where it stands in the recipe, and on which layers it acts.

        Raises:
            NeedsTare: plain TFMOT cannot do it; the message says why.
        """
        raise NeedsTare(f"{self.title} is not written for plain TFMOT.")


def clone_with_weights(model: Any, wrap_layer: Any = None) -> Any:
    """Return a copy that shares nothing with `model`.

    Pruning zeroes, and `cluster_weights` corrupts, the very layers they are handed, so every job starts from a copy.

    Args:
        model: functional or Sequential tf_keras model.
        wrap_layer: layer -> layer, applied to each layer of the copy; None leaves them.
    """
    models = keras2().models
    copy = models.clone_model(model, clone_function=_without_activity_regularizer)
    copy.set_weights(model.get_weights())
    return copy if wrap_layer is None else models.clone_model(copy, clone_function=wrap_layer)


def _without_activity_regularizer(layer: Any) -> Any:
    """A penalty on activations is bound to the graph that a layer was first called in; no wrapper survives that."""
    config = layer.get_config()
    if config.get("activity_regularizer") is not None:
        config["activity_regularizer"] = None
    return type(layer).from_config(config)


def require_weights(title: str, treatments: Sequence[Treatment]) -> None:
    """Raise DoesNotFit where a technique finds nothing to act on, with what stands in its way."""
    if any(treatment.weights for treatment in treatments):
        return
    obstacles = [
        f"{title} cannot act on this model, because of {treatment.layer}: {treatment.reason} {treatment.fix}".strip()
        for treatment in treatments
        if treatment.verdict == "impossible"
    ]
    raise DoesNotFit(
        obstacles
        or (
            f"{title} found no layer in this model that it can act on. It acts on dense, convolutional, embedding "
            "and recurrent kernels; choose post-training quantization instead."
        )
    )
