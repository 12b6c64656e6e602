"""What was asked of a technique, and what the exported file shows."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from measure.weights import WeightTensor, of_layer


class Fact(BaseModel):
    """One verified claim, read from the exported file."""

    model_config = ConfigDict(frozen=True)

    claim: str
    """ "sparsity", "distinct weights", "dtype"."""
    layer: str
    asked: str
    measured: str
    met: bool | None
    """None where the file does not tell."""

    @property
    def verdict(self) -> str:
        """For people."""
        return {True: "met", False: "MISSED", None: "could not be checked"}[self.met]


class WeightOf(BaseModel):
    """A weight that a technique acted on: the Keras layer, and the number of elements of the weight."""

    model_config = ConfigDict(frozen=True)

    layer: str
    weight: str
    """ "kernel", "recurrent_kernel", ..."""
    size: int
    shape: tuple[int, ...] = ()
    """In the Keras model; empty where nobody knows it."""
    is_per_channel: bool = False
    """True where each output channel was treated by itself."""
    is_rescaled: bool = False
    """True where the converter multiplies each output channel by a factor of its own: it folds the
    BatchNormalization that follows into the kernel."""
    has_rescaled_inputs: bool = False
    """The same for each input channel, where a BatchNormalization comes before."""
    bits: int = 8
    """Bits of each weight, 2 to 8; counts only where a technique decides the number format of the file."""
    dtype: str = ""
    """What it is to be stored in, where the technique decides that kernel by kernel; else empty."""


def located(tensors: list[WeightTensor], weights: list[WeightOf]) -> list[tuple[WeightOf, WeightTensor | None]]:
    """Pair each weight with its tensor in the file; None where the file does not tell which it is."""
    left = list(tensors)
    layers = {weight.layer for weight in weights}
    pairs = []
    for weight in weights:
        tensor = of_layer(left, weight.layer, weight.size, weight.shape, layers - {weight.layer})
        if tensor is not None:
            left = [other for other in left if other is not tensor]
        pairs.append((weight, tensor))
    return pairs


def not_located(claim: str, weight: WeightOf, asked: str) -> Fact:
    """The fact for a weight that the converter cut up or renamed (recurrent kernels): counted neither way."""
    return Fact(claim=claim, layer=weight.layer, asked=asked, measured="not found under its name in the file", met=None)
