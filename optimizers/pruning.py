"""Magnitude pruning: the smallest weights become zero, a growing share of them while the model fine-tunes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from intake.errors import InvalidParams
from measure.conversion import Conversion
from measure.facts import Fact, WeightOf
from measure.plain_tools import NeedsTare
from measure.weights import WeightTensor
from optimizers.fine_tuning import FineTuning, TrainingPlan
from optimizers.kept import Kept, Won
from optimizers.kernels import Kernel, kernels_of
from optimizers.layer_facts import KernelFacts, LayerFacts, kernel_facts
from optimizers.masks import MaskedKernel, Masks
from optimizers.plain_training import ScriptStep, after_training_lines, require_plain_layers, training_lines
from optimizers.pruning_params import PruningParams, contradictions
from optimizers.pruning_schedule import schedule_steps, schedule_to
from optimizers.sparse_patterns import fewest_in_groups_kept, largest_blocks_kept, largest_kept
from optimizers.technique import Technique, Wrapped
from optimizers.treatment import Treatment, acts, impossible, left
from optimizers.zeros_of_file import verify_zeros


class Pruning(Technique):
    """TFMOT's magnitude pruning on every kernel but depthwise ones.

    TFMOT's schedules decide when and how much. The masks are applied between the training steps rather than by TFMOT's
    wrapper around each layer, which comes to the same, but the wrapper refuses what TFMOT has no rule for
    (Bidirectional, TimeDistributed, ConvLSTM, custom layers; tensorflow/model-optimization #374, #1098), loses the
    mask of padded sequences and cannot take a second input. It also fails on blocks in any model with a convolution,
    and on groups of m by n in any kernel but those of two and four axes.
    """

    name = "pruning"
    title = "Pruning"
    summary = "Sets the smallest weights to zero, more and more of them while the model fine-tunes."
    use_when = (
        "the file travels compressed (an app store, a firmware image, gzip over HTTP) and you have training data."
    )
    avoid_when = "the raw file must shrink and nothing compresses it, or there is no training data."
    shrinks = "the compressed file; the raw .tflite stays as large as it was: a zero takes as many bytes as any weight."
    source = "Zhu and Gupta 2017, To prune, or not to prune (arXiv 1710.01878)"
    Params = PruningParams
    fine_tuning = FineTuning()
    wins: ClassVar[Won | None] = "zeros"
    keeps: ClassVar[frozenset[Won]] = frozenset({"zeros"})

    def check(self, params: PruningParams) -> None:
        """Refuse what contradicts itself: a schedule that ends before it begins, structures that cannot go together."""
        problems = contradictions(params)
        if problems:
            raise InvalidParams(problems)

    def conflicts(self, params: PruningParams, others: Sequence[tuple[str, Any]]) -> list[str]:
        """Pruning again must prune more, somewhere."""
        earlier = [other for _, other in others if isinstance(other, PruningParams)]
        named = {name for one in (params, *earlier) for name in one.layer_sparsity}
        if not earlier or any(
            params.sparsity_of(name) > max(other.sparsity_of(name) for other in earlier) for name in (*named, "")
        ):
            return []
        return [
            "Pruning again must reach a higher sparsity than before, got "
            f"{max(other.asked_sparsity for other in earlier):g} and then {params.asked_sparsity:g}. "
            "Raise the second, or leave it out."
        ]

    def wrap(
        self,
        model: Any,
        params: PruningParams,
        weights: Sequence[WeightOf],
        plan: TrainingPlan,
        representative: Sequence[np.ndarray],
        kept: Kept,
    ) -> Wrapped:
        """Give the model the callback that keeps its smallest weights at zero."""
        steps = schedule_steps(params, plan)
        targets = {params.sparsity_of(weight.layer) for weight in weights}
        schedules = {target: schedule_to(target, params, steps) for target in targets}
        chosen = {(weight.layer, weight.weight) for weight in weights}
        kernels = [
            MaskedKernel(kernel.variable, schedules[params.sparsity_of(layer.name)], _mask_of(layer, kernel, params))
            for layer in model.layers
            for kernel in kernels_of(layer)
            if (layer.name, kernel.name) in chosen
        ]
        masks = Masks(kernels)
        settled = steps.end_step if params.is_polynomial else steps.begin_step
        return Wrapped(model, [masks.callback()], lambda: {"sparsity": masks.sparsity()}, settled)

    def treatment(self, layer: LayerFacts, params: PruningParams) -> Treatment:
        """Every kernel but depthwise and small ones, and but those that the structure or the policy does not take."""
        if not layer.kernels:
            return left(layer, "It has weights, but no kernel." if layer.parameters else "It has no weights.")
        kernels = [kernel for kernel in layer.kernels if not kernel.is_depthwise and kernel.size > 1]
        if not kernels:
            return left(layer, "Depthwise kernels are few weights and lose the most accuracy, so they stay dense.")
        if params.policy == "xnnpack" and not _is_pointwise(layer):
            return left(layer, "It is no 1x1 convolution: XNNPACK's sparse inference would not be quicker with zeros.")
        if params.structure == "m_by_n" and not any(map(params.takes_groups, kernels)):
            return _without_groups(layer, max(kernels, key=lambda kernel: kernel.inputs), params)
        largest = max(kernel.size for kernel in kernels)
        if largest < params.smallest_kernel and layer.name not in params.layer_sparsity:
            return left(
                layer,
                f"Its kernel has {largest:,} weights, fewer than the smallest that is pruned "
                f"({params.smallest_kernel:,}).",
                f"Lower `smallest_kernel` to {largest:,}.",
            )
        if params.structure == "m_by_n":
            kernels = [kernel for kernel in kernels if params.takes_groups(kernel)]
        weights = tuple(
            WeightOf(layer=layer.name, weight=kernel.name, size=kernel.size, shape=kernel.shape) for kernel in kernels
        )
        return acts(layer, _what_becomes_zero(layer, kernels, params), weights)

    def treatments(self, layers: Sequence[LayerFacts], params: PruningParams) -> tuple[Treatment, ...]:
        """As of the base; small kernels are pruned where the model has no larger; the policy suits it, or does not."""
        found = super().treatments(layers, params)
        if params.policy == "xnnpack" and any(layer.sparse_inference_obstacle for layer in layers):
            return tuple(_without_sparse_inference(*pair) for pair in zip(layers, found, strict=True))
        if any(treatment.verdict == "acts" for treatment in found):
            return found
        return super().treatments(layers, params.model_copy(update={"smallest_kernel": 2}))

    def conversion(self, params: PruningParams, before: Conversion) -> Conversion:
        """Zeros in no bytes, where that was asked for."""
        return replace(before, sparse=before.sparse or params.sparse_encoding)

    def simulate(self, values: np.ndarray, params: PruningParams, layer: LayerFacts, kernel: KernelFacts) -> np.ndarray:
        """The smallest magnitudes become zero, by themselves or together."""
        if params.structure == "m_by_n":
            inputs = min(kernel.inputs, values.shape[1])
            filled = np.pad(values, [(0, 0), (0, -values.shape[1] % inputs)])
            rows = filled.reshape(len(values), -1, inputs)
            mask = fewest_in_groups_kept(rows, params.sparsity_m, params.sparsity_n, 2)
            return values * mask.reshape(filled.shape)[:, : values.shape[1]]
        sparsity = params.sparsity_of(layer.name)
        if params.takes_blocks(layer.name, kernel.shape):
            return values * largest_blocks_kept(values.T, sparsity, params.block, params.block_pooling_type).T
        return values * largest_kept(values, sparsity)

    def imitate(self, values: np.ndarray, params: PruningParams, layer: LayerFacts, kernel: KernelFacts) -> np.ndarray:
        """The same: zeros are zeros."""
        return self.simulate(values, params, layer, kernel)

    def verify(self, params: PruningParams, weights: list[WeightOf], tensors: list[WeightTensor]) -> list[Fact]:
        """The share of zeros of each pruned kernel, and where they must be."""
        return verify_zeros(params, weights, tensors)

    def script_lines(self, params: PruningParams, step: ScriptStep) -> list[str]:
        """TFMOT's `prune_low_magnitude` around the same layers, with the schedule in steps."""
        if params.structure != "weights":
            raise NeedsTare(f"The structure {params.structure} is pruned by masks that TFMOT's wrapper has not.")
        require_plain_layers(step)
        weights = self.weights_of(step.layers, params)
        acted_on = list(dict.fromkeys(weight.layer for weight in weights))
        for layer in step.layers:
            if layer.name in acted_on and layer.class_name not in _WRAPPED_BY_TFMOT:
                raise NeedsTare(f"TFMOT's wrapper cannot prune the {layer.class_name} layer {layer.name}.")
        assert step.plan is not None
        steps, name = schedule_steps(params, step.plan), f"SPARSITY_{step.number}"
        when = f"begin_step={steps.begin_step}, end_step={steps.end_step}, frequency={steps.frequency}"
        schedule = f"ConstantSparsity(sparsity, {when})"
        if params.is_polynomial:
            schedule = (
                f"PolynomialDecay(min({params.initial_sparsity!r}, sparsity), sparsity, {when}, power={params.power!r})"
            )
        callbacks = "[tfmot.sparsity.keras.UpdatePruningStep()]"
        if "zeros" in step.kept:
            callbacks = f"[tfmot.sparsity.keras.UpdatePruningStep(), keep_zeros(wrapped, model, {name})]"
        return [
            f"{name} = { ({layer: params.sparsity_of(layer) for layer in acted_on})!r}",
            "",
            "def prune(layer):",
            f"    if layer.name not in {name}:",
            "        return layer",
            f"    layer.trainable, sparsity = True, {name}[layer.name]",
            f"    schedule = tfmot.sparsity.keras.{schedule}",
            "    return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)",
            "",
            "wrapped = clone(model, prune)",
            *training_lines(step, callbacks),
            "model = tfmot.sparsity.keras.strip_pruning(wrapped)",
            *after_training_lines(step),
        ]


_WRAPPED_BY_TFMOT = (
    "Dense", "Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose", "SeparableConv1D", "SeparableConv2D",
)  # fmt: skip


def _mask_of(layer: Any, kernel: Kernel, params: PruningParams) -> Callable[[np.ndarray, float], np.ndarray]:
    facts = kernel_facts(layer, kernel)
    axis = facts.input_axis
    if params.structure == "m_by_n" and axis is not None:
        return lambda weights, _: fewest_in_groups_kept(weights, params.sparsity_m, params.sparsity_n, axis)
    if params.takes_blocks(layer.name, facts.shape):
        pooling = params.block_pooling_type
        return lambda weights, sparsity: largest_blocks_kept(weights, sparsity, params.block, pooling)
    return largest_kept


def _is_pointwise(layer: LayerFacts) -> bool:
    return layer.class_name == "Conv2D" and layer.kernels[0].shape[:2] == (1, 1)


def _what_becomes_zero(layer: LayerFacts, kernels: Sequence[KernelFacts], params: PruningParams) -> str:
    if params.structure == "m_by_n":
        inputs = ", ".join(dict.fromkeys(f"{kernel.inputs:,}" for kernel in kernels))
        return (
            f"{params.sparsity_m} of every {params.sparsity_n} weights along its {inputs} input channels become zero."
        )
    share = f"{params.sparsity_of(layer.name):.0%} of its kernel become zero"
    if params.structure != "blocks":
        return f"{share}."
    block = f"{params.block_height}x{params.block_width}"
    if any(params.takes_blocks(layer.name, kernel.shape) for kernel in kernels):
        return f"{share}, in whole blocks of {block}."
    if any(len(kernel.shape) == 2 for kernel in kernels):
        return f"{share}, weight by weight: it is too few blocks of {block}."
    return f"{share}, weight by weight: blocks are for kernels of two axes."


def _without_groups(layer: LayerFacts, kernel: KernelFacts, params: PruningParams) -> Treatment:
    if 0 < kernel.inputs < params.sparsity_n and len(kernel.shape) <= 4:
        fix = f"Lower `sparsity_n` to {kernel.inputs}." if kernel.inputs > params.sparsity_m else ""
        few = f"{kernel.inputs} input channel{'s' if kernel.inputs > 1 else ''}"
        return left(layer, f"It has {few}, which make no full group of {params.sparsity_n}.", fix)
    return left(layer, "Its kernel has no input channels that LiteRT stores next to each other, so it has no groups.")


def _without_sparse_inference(layer: LayerFacts, found: Treatment) -> Treatment:
    if layer.sparse_inference_obstacle:
        return impossible(layer, layer.sparse_inference_obstacle, "Choose policy none, or change the model.")
    if found.verdict == "acts":
        return left(layer, "The model does not qualify for XNNPACK's sparse inference.", "Choose policy none.")
    return found
