"""Translate the settings of one Keras 3 layer into the words of Keras 2."""

from __future__ import annotations

import inspect
from typing import Any

from intake import keras_env
from intake.custom_objects import custom_objects, is_custom
from intake.errors import UnsupportedModel
from intake.keras3_activations import ONLY_IN_KERAS3, SAME_IN_KERAS2, Keras3Activation

_RENAMED_KEYS = {"LeakyReLU": {"negative_slope": "alpha"}}
_ACCEPTED_BESIDE_SIGNATURE = {"zero_output_for_mask"}
_LAYER_KEYS = ("layer", "forward_layer", "backward_layer", "cell", "cells")


def is_without_twin(layer: Any) -> bool:
    """Whether Keras 2 has no class of the same name as a built-in Keras 3 layer's."""
    return _is_from_keras3(type(layer)) and not hasattr(keras_env.keras2().layers, type(layer).__name__)


def keras2_class(layer: Any) -> Any:
    """Return the Keras 2 class of the same name as a Keras 3 layer's.

    Raises:
        UnsupportedModel: Keras 2 has no such class.
    """
    name = type(layer).__name__
    if not _is_from_keras3(type(layer)):
        return _custom_twin(layer)
    twin = getattr(keras_env.keras2().layers, name, None)
    if twin is None:
        raise UnsupportedModel(
            f"Layer '{layer.name}' has the class '{name}', which exists only in Keras 3; the compression techniques "
            "work on Keras 2 layers. Replace it by a layer that both have and save the model again."
        )
    return twin


def _custom_twin(layer: Any) -> Any:
    name = type(layer).__name__
    twin = custom_objects("keras2").get(name)
    if not inspect.isclass(twin):
        raise UnsupportedModel(
            f"Layer '{layer.name}' has the custom class '{name}' of Keras 3; the compression techniques work on Keras 2 "
            f"layers, so it needs a tf_keras class that is also called '{name}' and computes the same. An administrator "
            "can add the module that defines that class to TARE_CUSTOM_OBJECT_MODULES."
        )
    return twin


def _class_of_name(name: str) -> Any:
    """The layer of Keras 2, or of a trusted module, that has this name."""
    return getattr(keras_env.keras2().layers, name, None) or custom_objects("keras2")[name]


def _is_from_keras3(layer_class: type) -> bool:
    return layer_class.__module__.split(".")[0] == "keras"


def keras2_config(layer_name: str, class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Translate a Keras 3 layer's `get_config()` to the arguments of the Keras 2 class of that name.

    Settings that Keras 2 does not have are left out; the comparison of outputs later shows whether one mattered.

    Raises:
        UnsupportedModel: a setting means something else in Keras 2 (an activation, a quantized dtype).
    """
    twin = _class_of_name(class_name)
    renamed = _RENAMED_KEYS.get(class_name, {})
    accepted = _accepted_keys(twin)
    translated: dict[str, Any] = {}
    for key, value in config.items():
        new_key = renamed.get(key, key)
        if new_key in accepted:
            translated[new_key] = _translated_value(layer_name, new_key, value)
    return {key: value for key, value in translated.items() if value is not _LEFT_OUT}


_LEFT_OUT = object()


def _accepted_keys(layer_class: type) -> set[str]:
    """Names of all arguments, following **kwargs up the base classes."""
    keys = set(_ACCEPTED_BESIDE_SIGNATURE) if hasattr(layer_class, "get_initial_state") else set()
    for base in layer_class.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        keys.update(parameter.name for parameter in parameters)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return keys - {"self", "args", "kwargs"}


def _translated_value(layer_name: str, key: str, value: Any) -> Any:
    if key == "dtype":
        return _dtype(layer_name, value)
    if key in ("activation", "recurrent_activation"):
        return _activation(layer_name, key, value)
    if key in _LAYER_KEYS:
        return [_layer(layer_name, item) for item in value] if isinstance(value, list) else _layer(layer_name, value)
    if isinstance(value, dict) and "class_name" in value:
        return _setting(value)
    return value


def _dtype(layer_name: str, value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("config", {}).get("name", value.get("class_name"))
    if str(value).startswith(("int", "uint", "bool")) and "_from_" not in str(value):
        return str(value)
    if "_from_" in str(value):
        raise UnsupportedModel(
            f"Layer '{layer_name}' is already quantized ({value}). Upload the model as it was before quantization."
        )
    return "float32"


def _activation(layer_name: str, key: str, value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("config"), dict):
        return _layer(layer_name, value)
    if isinstance(value, dict) and is_custom(value.get("config")):
        return value["config"]
    if value is None or value in SAME_IN_KERAS2:
        return "swish" if value == "silu" else value
    if value in ONLY_IN_KERAS3:
        return Keras3Activation(value)
    if is_custom(value):
        return value
    raise UnsupportedModel(
        f"Layer '{layer_name}' uses {key}='{value}', which Keras 2 does not have or computes differently. Use another "
        f"activation, for example one of {', '.join(sorted(SAME_IN_KERAS2))}, and save the model again."
    )


def _layer(layer_name: str, value: Any) -> Any:
    """Build the Keras 2 layer or cell inside a wrapper."""
    if not isinstance(value, dict):
        return value
    class_name, config = value["class_name"], value["config"]
    if not hasattr(keras_env.keras2().layers, class_name) and not is_custom(class_name):
        raise UnsupportedModel(
            f"Layer '{layer_name}' contains a '{class_name}', which Keras 2 has not got at this place. Replace it by a "
            "layer that both Keras 2 and Keras 3 have and save the model again."
        )
    translated = keras2_config(config.get("name", layer_name), class_name, config)
    return _class_of_name(class_name)(**translated)


def _setting(value: dict[str, Any]) -> Any:
    """Translate an initializer, regularizer or constraint; a foreign initializer is left out (weights are copied)."""
    keras = keras_env.keras2()
    name, config = value["class_name"], value.get("config")
    for module in (keras.initializers, keras.regularizers, keras.constraints):
        twin = getattr(module, name, None)
        if twin is not None and isinstance(config, dict):
            accepted = inspect.signature(twin).parameters
            plain = {item: setting for item, setting in config.items() if not isinstance(setting, dict)}
            return {"class_name": name, "config": {item: plain[item] for item in plain if item in accepted}}
    return _LEFT_OUT
