"""Magnitude pruning: the smallest weights become zero, a growing share of them while the model fine-tunes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from intake.errors import InvalidParams
from intake.keras_env import keras2, tensorflow, tfmot
from measure.facts import Fact, WeightOf, located, not_located
from measure.weights import WeightTensor
from optimizers.declaration import Condition, Params, parameter
from optimizers.fine_tuning import FineTuning, TrainingPlan
from optimizers.technique import Technique, clone_with_weights, require_weights

_POLYNOMIAL = Condition("schedule", ("PolynomialDecay",), "only with the PolynomialDecay schedule")
_CONSTANT = Condition("schedule", ("ConstantSparsity",), "only with the ConstantSparsity schedule")


class PruningParams(Params):
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
    """TFMOT's `prune_low_magnitude` on every layer whose kernel it can prune."""

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

    def wrap(self, model: Any, params: PruningParams, plan: TrainingPlan, representative: np.ndarray) -> Any:
        """Wrap exactly the layers that hold a prunable kernel."""
        weights = self.weights_of(model, params)
        require_weights(self.title, weights)
        names = {weight.layer for weight in weights}
        sparsity = tfmot().sparsity.keras
        schedule = _schedule(params, schedule_steps(params, plan))

        def wrap_layer(layer: Any) -> Any:
            return sparsity.prune_low_magnitude(layer, pruning_schedule=schedule) if layer.name in names else layer

        return clone_with_weights(model, wrap_layer)

    def callbacks(self) -> list[Any]:
        """UpdatePruningStep, without which the wrapped model cannot train."""
        return [tfmot().sparsity.keras.UpdatePruningStep()]

    def live_metrics(self, model: Any) -> dict[str, float]:
        """Share of zeros over all pruned kernels."""
        masks = [mask for layer in model.layers for _, mask, _ in getattr(layer, "pruning_vars", [])]
        size = sum(int(mask.shape.num_elements()) for mask in masks)
        kept = sum(float(tensorflow().reduce_sum(mask)) for mask in masks)
        return {"sparsity": 1 - kept / size} if size else {}

    def strip(self, model: Any) -> Any:
        """Take the wrappers off; the zeros stay."""
        return tfmot().sparsity.keras.strip_pruning(model)

    def weights_of(self, model: Any, params: PruningParams) -> list[WeightOf]:
        """Every kernel that TFMOT's registry prunes; small ones only where the model has no larger."""
        found = [
            WeightOf(layer=layer.name, weight=_weight_name(weight), size=int(np.prod(weight.shape)))
            for layer in model.layers
            for weight in _prunable(layer)
        ]
        large = {weight.layer for weight in found if weight.size >= params.smallest_kernel}
        return [weight for weight in found if weight.layer in large or (not large and weight.size > 1)]

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


def _prunable(layer: Any) -> list[Any]:
    from tensorflow_model_optimization.python.core.sparsity.keras import prune_registry

    registry = prune_registry.PruneRegistry
    if isinstance(layer, keras2().Model) or not registry.supports(layer):
        return []
    registry.make_prunable(layer)
    return list(layer.get_prunable_weights())


def _weight_name(weight: Any) -> str:
    return str(weight.name).split(":")[0].split("/")[-1]
