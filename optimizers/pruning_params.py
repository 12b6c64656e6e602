"""What can be set of pruning: how many weights become zero, which of them together, and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from optimizers.declaration import Condition, parameter
from optimizers.layer_facts import KernelFacts
from optimizers.technique import TechniqueParams

_SCHEDULED = Condition(
    "structure", ("weights", "blocks"), "with the structures weights and blocks; m_by_n has no schedule"
)
_POLYNOMIAL = Condition(
    "schedule", ("PolynomialDecay",), "only with the PolynomialDecay schedule, which m_by_n does not have", _SCHEDULED
)
_CONSTANT = Condition(
    "schedule", ("ConstantSparsity",), "only with the ConstantSparsity schedule, which m_by_n does not have", _SCHEDULED
)
_BLOCKS = Condition("structure", ("blocks",), "only with the structure blocks")
_M_BY_N = Condition("structure", ("m_by_n",), "only with the structure m_by_n")
_NOT_BLOCKS = Condition("structure", ("weights", "m_by_n"), "with the structures weights and m_by_n")


class PruningParams(TechniqueParams):
    """How many weights become zero, which, and when."""

    structure: Literal["weights", "blocks", "m_by_n"] = parameter(
        "weights",
        "Structure",
        "weights: the smallest, one by one; blocks: whole blocks of dense, recurrent and embedding kernels, others one by "
        "one; m_by_n: m of every n weights along the input channels, as sparse hardware wants them.",
    )
    schedule: Literal["PolynomialDecay", "ConstantSparsity"] = parameter(
        "PolynomialDecay",
        "Schedule",
        "PolynomialDecay raises the sparsity step by step; ConstantSparsity prunes at once.",
        only_if=_SCHEDULED,
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
    layer_sparsity: dict[str, Annotated[float, Field(gt=0, lt=1)]] = parameter(
        {}, "Sparsity by layer", "Targets of single layers, in place of the common one; small kernels are pruned, too.",
        step=0.05,
    )  # fmt: skip
    block_height: int = parameter(4, "Block height", "Inputs of a block.", unit="inputs", ge=1, le=256, only_if=_BLOCKS)
    block_width: int = parameter(4, "Block width", "Outputs of a block.", unit="outputs", ge=1, le=256, only_if=_BLOCKS)
    block_pooling_type: Literal["AVG", "MAX"] = parameter(
        "AVG", "Block pooling", "What a block counts: the mean of its magnitudes (AVG) or the largest (MAX).",
        only_if=_BLOCKS,
    )  # fmt: skip
    sparsity_m: int = parameter(
        2, "m: zeros", "Weights of each group that become zero; higher is smaller.", ge=1, le=15, only_if=_M_BY_N
    )
    sparsity_n: int = parameter(
        4, "n: group", "Weights of a group, which follow each other along the input channels.", ge=2, le=16,
        only_if=_M_BY_N,
    )  # fmt: skip
    policy: Literal["none", "xnnpack"] = parameter(
        "none",
        "Latency policy",
        "xnnpack prunes only 1x1 convolutions, which XNNPACK's sparse inference makes quicker; it refuses models that "
        "do not qualify.",
        only_if=_NOT_BLOCKS,
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
        ge=1, le=100_000, only_if=_SCHEDULED, advanced=True,
    )  # fmt: skip

    smallest_kernel: int = parameter(
        256, "Smallest kernel", "Kernels with fewer weights stay dense: they weigh nothing and cost the most accuracy.",
        unit="weights", ge=2, le=10_000_000, advanced=True,
    )  # fmt: skip
    sparse_encoding: bool = parameter(
        False, "Sparse encoding", "Stores zeros in no bytes in the raw .tflite, for files that do not travel "
        "compressed; not those of dense layers in int8, which LiteRT cannot run so.", advanced=True,
    )  # fmt: skip

    @property
    def is_polynomial(self) -> bool:
        """True where the sparsity rises step by step."""
        return self.structure != "m_by_n" and self.schedule == "PolynomialDecay"

    @property
    def asked_sparsity(self) -> float:
        """The share of zeros that must be reached where a layer has no target of its own, between 0 and 1."""
        if self.structure == "m_by_n":
            return self.sparsity_m / self.sparsity_n
        return self.final_sparsity if self.schedule == "PolynomialDecay" else self.target_sparsity

    @property
    def block(self) -> tuple[int, int]:
        """Inputs and outputs of a block."""
        return self.block_height, self.block_width

    def sparsity_of(self, layer: str) -> float:
        """The share of zeros that must be reached in a layer, between 0 and 1."""
        return self.layer_sparsity.get(layer, self.asked_sparsity)

    def takes_blocks(self, layer: str, shape: tuple[int, ...]) -> bool:
        """True where a kernel is pruned in blocks: two axes, and blocks enough for the last one not to become zero."""
        if self.structure != "blocks" or len(shape) != 2:
            return False
        block = min(self.block_height, shape[0]) * min(self.block_width, shape[1])
        return (1 - self.sparsity_of(layer)) * shape[0] * shape[1] >= block / 2

    def takes_groups(self, kernel: KernelFacts) -> bool:
        """True where a kernel can be pruned in groups: input channels for a full one, and LiteRT stores them last."""
        return len(kernel.shape) <= 4 and kernel.inputs >= self.sparsity_n


def contradictions(params: PruningParams) -> list[str]:
    """Return which values contradict each other, in sentences."""
    found = []
    if params.is_polynomial:
        if params.begin >= params.end:
            found.append(
                f"`begin` must be before `end`, got begin={params.begin:g} and end={params.end:g}. Lower `begin`, or raise "
                "`end`."
            )
        if params.initial_sparsity > params.final_sparsity:
            found.append(
                "`initial_sparsity` must not be above `final_sparsity`, got "
                f"{params.initial_sparsity:g} and {params.final_sparsity:g}. Lower the first, or raise the second."
            )
    if params.structure == "m_by_n":
        if params.sparsity_m >= params.sparsity_n:
            found.append(
                "`sparsity_m` must be below `sparsity_n`, or nothing would be left, got "
                f"{params.sparsity_m} and {params.sparsity_n}. Lower the first, or raise the second."
            )
        if params.layer_sparsity:
            found.append(
                f"`layer_sparsity` cannot go with structure m_by_n, which leaves {params.sparsity_n - params.sparsity_m} "
                f"of {params.sparsity_n} weights in every layer, got {', '.join(params.layer_sparsity)}. "
                "Choose the structure weights or blocks, or leave it out."
            )
    if params.structure == "blocks" and params.policy == "xnnpack":
        found.append(
            "Structure blocks is for dense, recurrent and embedding kernels, and policy xnnpack prunes only 1x1 convolutions. "
            "Choose policy none, or the structure weights or m_by_n."
        )
    both = sorted(set(params.layer_sparsity) & set(params.leave_as_is))
    if both:
        found.append(
            f"`layer_sparsity` gives targets to layers that `leave_as_is` leaves as they are: {', '.join(both)}. "
            "Take them out of one of the two."
        )
    return found
