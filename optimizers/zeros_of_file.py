"""What the exported file shows of the zeros that pruning promised: how many, and where."""

from __future__ import annotations

import numpy as np

from measure.facts import Fact, WeightOf, located, not_located
from measure.weights import WeightTensor
from optimizers.pruning_params import PruningParams
from optimizers.sparse_patterns import most_kept_in_a_group, zeros_for, zeros_in_whole_blocks


def verify_zeros(params: PruningParams, weights: list[WeightOf], tensors: list[WeightTensor]) -> list[Fact]:
    """Return one fact for each pruned kernel."""
    facts = []
    for weight, tensor in located(tensors, weights):
        asked = _asked(params, weight)
        if tensor is None:
            facts.append(not_located("sparsity", weight, asked))
        else:
            measured, met = _measured(params, weight, tensor)
            facts.append(Fact(claim="sparsity", layer=weight.layer, asked=asked, measured=measured, met=met))
    return facts


def _asked(params: PruningParams, weight: WeightOf) -> str:
    if params.structure == "m_by_n":
        return f"at least {params.sparsity_m} zeros in every {params.sparsity_n} inputs"
    sparsity = params.sparsity_of(weight.layer)
    if params.takes_blocks(weight.layer, weight.shape):
        block = f"{params.block_height}x{params.block_width}"
        return f"{_percent(sparsity)} zeros in whole blocks of {block}, to the nearest block"
    if zeros_for(sparsity, weight.size) < sparsity * weight.size - 1e-6 * weight.size:
        return "zeros but for one weight"
    return f"at least {_percent(sparsity)} zeros"


def _percent(share: float) -> str:
    """The share as it was asked for, not rounded to something else: "80.0%", "99.95%"."""
    text = f"{share * 100:.8g}"
    return f"{text if '.' in text else text + '.0'}%"


def _measured(params: PruningParams, weight: WeightOf, tensor: WeightTensor) -> tuple[str, bool | None]:
    """Return what the file shows, and whether that is what was asked."""
    asked = params.sparsity_of(weight.layer)
    in_blocks = params.takes_blocks(weight.layer, weight.shape)
    if not in_blocks and params.structure != "m_by_n":
        zeros = int(tensor.zeros.sum())
        return f"{zeros / tensor.size:.2%} zeros", zeros >= zeros_for(asked, tensor.size)
    turned = _inputs_first(tensor.zeros, weight.shape)
    if not turned:
        return "stored in another shape, which leaves no telling what was together", None
    if in_blocks:
        share = max(zeros_in_whole_blocks(zeros, params.block) for zeros in turned)
        half_a_block = params.block_height * params.block_width / 2
        return f"{share:.2%} zeros in whole blocks", share >= asked - half_a_block / tensor.size
    count = params.sparsity_n - min(most_kept_in_a_group(zeros, params.sparsity_n) for zeros in turned)
    return f"at least {count} zeros in every {params.sparsity_n} inputs", count >= params.sparsity_m


def _inputs_first(zeros: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return what a tensor of the file is with the inputs as first axis; two where a square leaves that open.

    LiteRT stores the inputs last, but tables (Embedding) and the factors of a plain matrix product as Keras does.
    """
    if len(shape) != 2:
        return [np.moveaxis(zeros, -1, 0)]
    return [turned for turned in (zeros.T, zeros) if turned.shape == shape]
