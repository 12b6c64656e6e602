"""Where the wrappers that TFMOT puts around layers fit, and what they need to pass on."""

from __future__ import annotations

from typing import Any

from intake.keras_env import tensorflow


def fits_a_wrapper(layer: Any) -> bool:
    """True where each call of a built layer takes one tensor (or one list of them).

    A wrapper hands on its first argument only; what else a call takes (the value of an attention, the initial state
    of a recurrent layer) would get lost.
    """
    return all(_takes_one_argument(node) for node in layer.inbound_nodes)


def _takes_one_argument(node: Any) -> bool:
    more = (node.call_args[1:], {key: value for key, value in node.call_kwargs.items() if key != "mask"})
    return not any(_is_tensor(value) for value in tensorflow().nest.flatten(more))


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "_keras_history")


def passing_masks(wrapper: Any) -> Any:
    """Let a wrapper treat masks as the layer inside it does; without this they end there, or the call fails."""
    layer = wrapper.layer
    wrapper.supports_masking = layer.supports_masking
    wrapper._call_spec.expects_mask_arg = layer._expects_mask_arg
    wrapper.compute_mask = layer.compute_mask
    return wrapper
