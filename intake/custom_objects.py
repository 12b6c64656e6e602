"""Custom layers, models and functions that an administrator trusts: the modules that hold them, by setting.

A model file holds no code, so a class that is not built in Keras needs its module. Only the modules that the setting
TARE_CUSTOM_OBJECT_MODULES names are ever imported; a file cannot name one. They are imported when a file first needs
one of their classes, in the worker.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Literal

from intake import keras_env
from intake.errors import UnsupportedModel
from intake.model_classes import ACTIVATIONS, CODE_CLASSES, HIDDEN_LAYERS, LAYER_CLASSES, SETTING_CLASSES

ASK_THE_ADMINISTRATOR = "an administrator can allow the module that defines it with TARE_CUSTOM_OBJECT_MODULES"
_FOREIGN = ("keras", "tf_keras", "tensorflow", "numpy", "builtins", "typing")
_KINDS = ("layers.Layer", "initializers.Initializer", "regularizers.Regularizer", "constraints.Constraint")
_allowed: tuple[str, ...] = ()


def allow_modules(names: Sequence[str]) -> None:
    """Trust these importable modules; replaces those that were trusted before. Imports nothing yet."""
    global _allowed
    _allowed = tuple(name.strip() for name in names if name.strip())


def custom_objects(library: Literal["keras2", "keras3"]) -> dict[str, Any]:
    """Return the trusted classes of one Keras, and all trusted functions, by name and by registered name.

    Names of built-in classes and activations are left out: a file that says Dense gets the Dense of Keras.

    Raises:
        UnsupportedModel: a trusted module cannot be imported.
    """
    return _found(_allowed, library)


def is_custom(name: object) -> bool:
    """Tell whether a name in a model file is a class or function of a trusted module."""
    if not _allowed or not isinstance(name, str):
        return False
    return name in custom_objects("keras2") or name in custom_objects("keras3")


def register_custom_objects() -> None:
    """Make the trusted classes and functions known to both Kerases, which look for them by name; hidden layers, too."""
    for keras in (keras_env.keras2(), keras_env.keras3()):
        hidden = {name: getattr(keras_env.part_of(keras, module), name) for name, module in HIDDEN_LAYERS.items()}
        keras.utils.get_custom_objects().update(hidden)
    if not _allowed:
        return
    keras_env.keras2().utils.get_custom_objects().update(custom_objects("keras2"))
    keras_env.keras3().utils.get_custom_objects().update(custom_objects("keras3"))
    # tf_keras 2.21 looks for an activation that was saved as a function among its own only, also while it copies a layer.
    activations = keras_env.part_of(keras_env.keras2(), "src.activations")
    for name, item in custom_objects("keras2").items():
        if inspect.isfunction(item) and not hasattr(activations, name):
            setattr(activations, name, item)


def by_trusted_name(node: dict[str, Any], keras3: bool) -> dict[str, Any] | str:
    """Let a configured object of a trusted module be looked up by its name alone.

    Keras would else import whatever module the file names. Keras 2 finds registered functions only by their plain name.
    """
    name = node.get("class_name")
    if name == "function" and is_custom(node.get("config")):
        function = str(node["config"])
        return {**node, "module": None, "registered_name": function} if keras3 else function
    if is_custom(name):
        renamed = {**node}
        if "module" in node or "registered_name" in node:
            renamed |= {"module": None, "registered_name": name}
        return renamed
    return node


@cache
def _found(modules: tuple[str, ...], library: str) -> dict[str, Any]:
    keras = keras_env.keras2() if library == "keras2" else keras_env.keras3()
    bases = tuple(getattr(getattr(keras, part), name) for part, name in (kind.split(".") for kind in _KINDS))
    found: dict[str, Any] = {}
    for module in map(_imported, modules):
        for name, item in _public(module):
            if not (inspect.isfunction(item) or (inspect.isclass(item) and issubclass(item, bases))):
                continue
            for key in (name, keras.saving.get_registered_name(item)):
                if key not in LAYER_CLASSES | SETTING_CLASSES | ACTIVATIONS | CODE_CLASSES:
                    found.setdefault(key, item)
    return found


def _imported(name: str) -> Any:
    keras_env.prepare_environment()
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UnsupportedModel(
            f"The module '{name}', which the setting TARE_CUSTOM_OBJECT_MODULES names, cannot be imported "
            f"({type(error).__name__}: {error}). Ask the administrator to install it or to correct the setting."
        ) from error


def _public(module: Any) -> Iterator[tuple[str, Any]]:
    """Names of a module, without what it imported from Keras, TensorFlow or NumPy."""
    for name, item in vars(module).items():
        if not name.startswith("_") and (getattr(item, "__module__", None) or "").split(".")[0] not in _FOREIGN:
            yield name, item
