"""Operations between layers (`x / 127.5`, `ops.abs(x)`) of Keras 3 models that were saved as HDF5.

Keras 3 writes them there under the name of their class alone and cannot open its own file again: it looks for a layer of
that name. A `.keras` file names the module as well; here it is put in.
"""

from __future__ import annotations

import importlib
from typing import Any

from intake.model_classes import KERAS3_OPERATION_MODULES, KERAS3_OPERATIONS

_SOME_MODULE = "keras.src.ops.numpy"
"""Stands for all of them while the file is only judged; which one it is, is looked up in Keras itself."""
_DOTS = "__ellipsis__"
_ONLY_OF_LAYERS = ("trainable", "dtype")


def with_modules_of_operations(config: Any) -> Any:
    """Return the configuration of a Keras 3 model with a module at each operation; the rest is unchanged."""
    if isinstance(config, list):
        return [with_modules_of_operations(item) for item in config]
    if not isinstance(config, dict):
        return config
    changed = {key: with_modules_of_operations(value) for key, value in config.items()}
    if _is_operation(config):
        changed |= {"module": _SOME_MODULE, "registered_name": None}
        if config["class_name"] == "GetItem":
            changed["inbound_nodes"] = [_without_dots(call) for call in changed["inbound_nodes"]]
    return changed


def _is_operation(node: dict[str, Any]) -> bool:
    """`Add` is a layer and an operation; the settings of every layer say whether it trains."""
    settings = node.get("config")
    if "module" in node or "inbound_nodes" not in node or not isinstance(settings, dict):
        return False
    return node.get("class_name") in KERAS3_OPERATIONS and not any(key in settings for key in _ONLY_OF_LAYERS)


def _without_dots(call: Any) -> Any:
    """`x[..., 0]` as `x[:, :, :, 0]`: Keras 3 reads the dots of an HDF5 file, and then cannot go on with them."""
    args = call.get("args") if isinstance(call, dict) else None
    if not isinstance(args, list) or len(args) != 2 or not isinstance(args[0], dict):
        return call
    key = args[1] if isinstance(args[1], list) else [args[1]]
    shape = args[0].get("config", {}).get("shape")
    dots = [place for place, item in enumerate(key) if isinstance(item, dict) and item.get("class_name") == _DOTS]
    if len(dots) != 1 or not isinstance(shape, list):
        return call
    count = len(shape) - sum(item is not None for item in key) + 1
    everything = [{"class_name": "__slice__", "config": {"start": None, "stop": None, "step": None}}] * count
    return {**call, "args": [args[0], [*key[: dots[0]], *everything, *key[dots[0] + 1 :]]]}


def with_own_module(node: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of one operation with the module of Keras 3 that defines its class. Loads Keras."""
    if node.get("module") != _SOME_MODULE or not isinstance(node.get("class_name"), str):
        return node
    for name in KERAS3_OPERATION_MODULES:
        module = f"keras.src.ops.{name}"
        found = getattr(importlib.import_module(module), node["class_name"], None)
        if getattr(found, "__module__", None) == module:
            return {**node, "module": module}
    return node
