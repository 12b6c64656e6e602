"""Magnitude pruning: the smallest weights become zero, a growing share of them while the model fine-tunes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from intake.errors import InvalidParams
from intake.keras_env import keras2, tensorflow, tfmot
from measure.facts import Fact, WeightOf, located, not_located
from measure.weights import WeightTensor
from optimizers.declaration import Condition, parameter
from optimizers.fine_tuning import FineTuning, TrainingPlan
from optimizers.kept import Kept, Won
from optimizers.kernels import kernels_of
from optimizers.layer_facts import LayerFacts
from optimizers.technique import Technique, TechniqueParams, Wrapped
from optimizers.treatment import Treatment, acts, left

_POLYNOMIAL = Condition("schedule", ("PolynomialDecay",), "only with the PolynomialDecay schedule")
_CONSTANT = Condition("schedule", ("ConstantSparsity",), "only with the ConstantSparsity schedule")


class PruningParams(TechniqueParams):
    """How many weights become zero, and when."""

    schedule: Literal["PolynomialDecay", "ConstantSparsity"] = parameter(
        "PolynomialDecay",
        "Schedule",
        "PolynomialDecay raises the sparsity step by step; ConstantSparsity prunes at once.",
    )
    initial_sparsity: float = parameter(
        0.50,
        "Initial sparsity",
        "Share of weights at zero when pruning begins.",
        ge=0,
        lt=1,
        step=0.05,
        only_if=_POLYNOMIAL,
    )
    final_sparsity: float = parameter(
        0.80, "Final sparsity", "Share of weights at zero when pruning ends; higher is smaller.",
        gt=0, lt=1, step=0.05, only_if=_POLYNOMIAL,
    )  # fmt: skip
    target_sparsity: float = parameter(
        0.80,
        "Target sparsity",
        "Share of weights at zero; higher is smaller.",
        gt=0,
        lt=1,
        step=0.05,
        only_if=_CONSTANT,
    )
    begin: float = parameter(0.0, "Begin", "Pruning begins after this share of the fine-tuning.", ge=0, lt=1, step=0.05)
    end: float = parameter(
        0.75, "End", "The final sparsity is reached after this share of the fine-tuning; the rest recovers accuracy.",
        gt=0, le=1, step=0.05, only_if=_POLYNOMIAL,
    )  # fmt: skip
    power: float = parameter(
        3.0, "Power", "Exponent of the decay; higher prunes more of it early.", gt=0, le=10, step=0.5,
        only_if=_POLYNOMIAL, advanced=True,
    )  # fmt: skip
    frequency: int = parameter(
        100, "Frequency", "Steps between two prunings; shortened where the fine-tuning is short.", unit="steps",
        ge=1, le=100_000, advanced=True,
    )  # fmt: skip

    smallest_kernel: int = parameter(
        256, "Smallest kernel", "Kernels with fewer weights stay dense: they weigh nothing and cost the most accuracy.",
        unit="weights", ge=2, le=10_000_000, advanced=True,
    )  # fmt: skip

    @property
    def asked_sparsity(self) -> float:
        """The share of zeros that must be reached, between 0 and 1."""
        return self.final_sparsity if self.schedule == "PolynomialDecay" else self.target_sparsity


@dataclass(frozen=True)
class ScheduleSteps:
    """The schedule in optimizer steps, which TFMOT counts from 1."""

    begin_step: int
    end_step: int
    frequency: int


def schedule_steps(params: PruningParams, plan: TrainingPlan) -> ScheduleSteps:
    """Turn shares of the fine-tuning into steps at which the target really is reached.

    TFMOT updates its masks only where (step - begin_step) is a multiple of `frequency`, so a schedule that is
    shorter than `frequency`, or no multiple of it, silently stops short (tensorflow/model-optimization #973, #975).
    """
    total = plan.total_steps
    if params.schedule == "ConstantSparsity":
        begin = min(total, max(1, round(params.begin * total)))
        return ScheduleSteps(begin, total, min(params.frequency, max(1, total - begin)))
    end = max(1, round(params.end * total))
    begin = min(round(params.begin * total), end - 1)
    frequency = min(params.frequency, max(1, (end - begin) // 4))
    return ScheduleSteps(end - (end - begin) // frequency * frequency, end, frequency)


class Pruning(Technique):
    """TFMOT's magnitude pruning on every kernel but depthwise ones.

    TFMOT's schedules decide when and how much. The masks are applied between the training steps rather than by TFMOT's
    wrapper around each layer, which comes to the same, but the wrapper refuses what TFMOT has no rule for
    (Bidirectional, TimeDistributed, ConvLSTM, custom layers; tensorflow/model-optimization #374, #1098), loses the
    mask of padded sequences and cannot take a second input.
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
        """Refuse a schedule that ends before it begins, or that would un-prune."""
        problems = []
        if params.schedule == "PolynomialDecay":
            if params.begin >= params.end:
                problems.append(f"`begin` must be before `end`, got begin={params.begin:g} and end={params.end:g}.")
            if params.initial_sparsity > params.final_sparsity:
                problems.append(
                    "`initial_sparsity` must not be above `final_sparsity`, got "
                    f"{params.initial_sparsity:g} and {params.final_sparsity:g}."
                )
        if problems:
            raise InvalidParams(problems)

    def conflicts(self, params: PruningParams, others: Sequence[tuple[str, Any]]) -> list[str]:
        """Pruning again must prune more."""
        earlier = [other.asked_sparsity for _, other in others if isinstance(other, PruningParams)]
        if not earlier or params.asked_sparsity > max(earlier):
            return []
        return [
            "Pruning again must reach a higher sparsity than before, got "
            f"{max(earlier):g} and then {params.asked_sparsity:g}. Raise the second, or leave it out."
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
        chosen = {(weight.layer, weight.weight) for weight in weights}
        kernels = [
            kernel.variable
            for layer in model.layers
            for kernel in kernels_of(layer)
            if (layer.name, kernel.name) in chosen
        ]
        steps = schedule_steps(params, plan)
        masks = Masks(kernels, _schedule(params, steps))
        settled = steps.end_step if params.schedule == "PolynomialDecay" else steps.begin_step
        return Wrapped(model, [masks.callback()], lambda: {"sparsity": masks.sparsity()}, settled)

    def treatment(self, layer: LayerFacts, params: PruningParams) -> Treatment:
        """Every kernel but depthwise and small ones."""
        if not layer.kernels:
            return left(layer, "It has weights, but no kernel." if layer.parameters else "It has no weights.")
        kernels = [kernel for kernel in layer.kernels if not kernel.is_depthwise and kernel.size > 1]
        if not kernels:
            return left(layer, "Depthwise kernels are few weights and lose the most accuracy, so they stay dense.")
        largest = max(kernel.size for kernel in kernels)
        if largest < params.smallest_kernel:
            return left(
                layer,
                f"Its kernel has {largest:,} weights, fewer than the smallest that is pruned "
                f"({params.smallest_kernel:,}).",
                f"Lower `smallest_kernel` to {largest:,}.",
            )
        weights = tuple(WeightOf(layer=layer.name, weight=kernel.name, size=kernel.size) for kernel in kernels)
        return acts(layer, f"{params.asked_sparsity:.0%} of its kernel become zero.", weights)

    def treatments(self, layers: Sequence[LayerFacts], params: PruningParams) -> tuple[Treatment, ...]:
        """As of the base; small kernels are pruned where the model has no larger."""
        found = super().treatments(layers, params)
        if any(treatment.verdict == "acts" for treatment in found):
            return found
        return super().treatments(layers, params.model_copy(update={"smallest_kernel": 2}))

    def simulate(self, values: np.ndarray, params: PruningParams) -> np.ndarray:
        """The smallest magnitudes become zero."""
        return values * largest_kept(values, params.asked_sparsity)

    def verify(self, params: PruningParams, weights: list[WeightOf], tensors: list[WeightTensor]) -> list[Fact]:
        """The share of zeros of each pruned kernel, to within the one weight that rounding can cost."""
        asked = params.asked_sparsity
        facts = []
        for weight, tensor in located(tensors, weights):
            text = f"at least {asked:.1%} zeros"
            if tensor is None:
                facts.append(not_located("sparsity", weight, text))
                continue
            met = tensor.zero_share >= asked - 1 / tensor.size
            measured = f"{tensor.zero_share:.2%} zeros"
            facts.append(Fact(claim="sparsity", layer=weight.layer, asked=text, measured=measured, met=met))
        return facts


def _schedule(params: PruningParams, steps: ScheduleSteps) -> Any:
    sparsity = tfmot().sparsity.keras
    if params.schedule == "ConstantSparsity":
        return sparsity.ConstantSparsity(params.target_sparsity, steps.begin_step, -1, steps.frequency)
    return sparsity.PolynomialDecay(
        initial_sparsity=params.initial_sparsity,
        final_sparsity=params.final_sparsity,
        begin_step=steps.begin_step,
        end_step=steps.end_step,
        power=params.power,
        frequency=steps.frequency,
    )


class Masks:
    """Which weights of some kernels are kept, updated at the steps of a TFMOT schedule."""

    def __init__(self, kernels: list[Any], schedule: Any) -> None:
        tf = tensorflow()
        self._step, self._schedule, self._kernels = 0, schedule, kernels
        self._masks = [tf.Variable(tf.ones_like(kernel), trainable=False) for kernel in kernels]

        def apply() -> None:
            for kernel, mask in zip(kernels, self._masks, strict=True):
                kernel.assign(kernel * mask)

        self._apply = tf.function(apply)

    def next_step(self) -> None:
        """Go on to the next optimizer step, prune where it is time, and keep at zero what was pruned."""
        self._step += 1
        is_time, sparsity = self._schedule(tensorflow().constant(self._step, "int64"))
        if bool(is_time):
            for kernel, mask in zip(self._kernels, self._masks, strict=True):
                mask.assign(largest_kept(kernel.numpy(), float(sparsity)))
        self._apply()

    def sparsity(self) -> float:
        """Share of zeros over all the kernels, 0 to 1."""
        size = sum(int(mask.shape.num_elements()) for mask in self._masks)
        kept = sum(float(tensorflow().reduce_sum(mask)) for mask in self._masks)
        return 1 - kept / size

    def callback(self) -> Any:
        """Return the Keras callback that does this while a model trains."""
        masks = self

        class MaskKernels(keras2().callbacks.Callback):  # type: ignore[misc]
            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                masks.next_step()

            def on_test_begin(self, logs: Any = None) -> None:
                masks._apply()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                masks._apply()

        return MaskKernels()


def largest_kept(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """Return a mask of 0 and 1 with round(sparsity * size) zeros, where the magnitudes are smallest.

    TFMOT compares with a threshold instead and keeps all weights that equal it, so kernels with many equal weights
    (clustered or quantized before) stay denser than asked.
    """
    mask = np.ones(weights.size, weights.dtype)
    count = min(round(sparsity * weights.size), weights.size - 1)
    mask[np.argsort(np.abs(weights.reshape(-1)), kind="stable")[:count]] = 0
    return mask.reshape(weights.shape)
