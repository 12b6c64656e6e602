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
    return changed


def _is_operation(node: dict[str, Any]) -> bool:
    """`Add` is a layer and an operation; the settings of every layer say whether it trains."""
    settings = node.get("config")
    if "module" in node or "inbound_nodes" not in node or not isinstance(settings, dict):
        return False
    return node.get("class_name") in KERAS3_OPERATIONS and not any(key in settings for key in _ONLY_OF_LAYERS)


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
