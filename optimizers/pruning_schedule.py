"""When pruning happens, in optimizer steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from intake.keras_env import tfmot
from optimizers.fine_tuning import TrainingPlan
from optimizers.pruning_params import PruningParams


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
    Groups of m by n are chosen once, as TFMOT does it, but where pruning begins.
    """
    total = plan.total_steps
    if not params.is_polynomial:
        begin = min(total, max(1, round(params.begin * total)))
        if params.structure == "m_by_n":
            return ScheduleSteps(begin, begin, 1)
        return ScheduleSteps(begin, total, min(params.frequency, max(1, total - begin)))
    end = max(1, round(params.end * total))
    begin = min(round(params.begin * total), end - 1)
    frequency = min(params.frequency, max(1, (end - begin) // 4))
    return ScheduleSteps(end - (end - begin) // frequency * frequency, end, frequency)


def schedule_to(target: float, params: PruningParams, steps: ScheduleSteps) -> Any:
    """Return TFMOT's schedule that ends at a sparsity; where it is below the initial one, it starts there, too."""
    sparsity = tfmot().sparsity.keras
    if not params.is_polynomial:
        return sparsity.ConstantSparsity(target, steps.begin_step, steps.end_step, steps.frequency)
    return sparsity.PolynomialDecay(
        initial_sparsity=min(params.initial_sparsity, target),
        final_sparsity=target,
        begin_step=steps.begin_step,
        end_step=steps.end_step,
        power=params.power,
        frequency=steps.frequency,
    )
