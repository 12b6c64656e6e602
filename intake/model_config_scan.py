"""Judge the configuration of a model (the JSON that describes its layers) without building anything from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from intake.custom_objects import ASK_THE_ADMINISTRATOR, is_custom
from intake.model_classes import (
    ACTIVATIONS,
    CODE_CLASSES,
    FOR_TEXT,
    HIDDEN_LAYERS,
    KERAS3_OPERATIONS,
    LAYER_CLASSES,
    ONLY_IN_KERAS1,
    RANDOM_FUNCTIONS,
    SETTING_CLASSES,
    TENSORFLOW_FUNCTIONS,
    TENSORFLOW_NAMESPACES,
    WITH_TABLES,
)
from intake.saved_model_ops import COMPUTING

_KERAS_MODULE = re.compile(r"(keras|tf_keras|tensorflow\.keras|tensorflow\.python\.keras)(\.[A-Za-z0-9_]+)*\Z")
_OPERATION_MODULE = re.compile(r"keras\.src\.ops(\.[a-z_]+)+\Z")
_CODE = (
    "Python code is stored in it (a Lambda layer), which would run when the file is opened, so it is refused. "
    "Replace it by built-in layers (Rescaling, Reshape, Activation, ...) and save the model again."
)
_MAX_DEPTH = 200
_MAX_NAMES = 5


@dataclass(frozen=True)
class _Finding:
    """One thing that is wrong with one layer; equal `reason`s are told in one sentence."""

    reason: str
    layer: str


def config_problems(config: object, file_name: str) -> list[str]:
    """List what keeps the model of this configuration from being opened, in sentences; empty if nothing does.

    Args:
        config: the parsed `model_config` or `config.json`.
        file_name: how to call the file in the sentences.
    """
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        return [_not_a_model(file_name)]
    root_class = config["class_name"]
    built_in = root_class in LAYER_CLASSES | CODE_CLASSES and _module_is_keras(config.get("module"))
    if not built_in and not is_custom(root_class):
        return [
            f"{file_name} holds a model of the class '{root_class}', which is not built in Keras, and its code is not "
            "in the file. Rebuild it as a Sequential or functional model of built-in layers and save it again, or: "
            f"{ASK_THE_ADMINISTRATOR}."
        ]
    if not isinstance(config.get("config"), dict | list):
        return [_not_a_model(file_name)]
    return _sentences(_findings(config, "", 0))


def _not_a_model(file_name: str) -> str:
    return (
        f"{file_name} does not describe a Sequential or functional Keras model: its configuration lacks the list of "
        "layers. Save the whole model with model.save('model.keras') and upload that file."
    )


def _sentences(findings: Iterator[_Finding]) -> list[str]:
    layers_of: dict[str, list[str]] = {}
    for finding in findings:
        names = layers_of.setdefault(finding.reason, [])
        if finding.layer not in names:
            names.append(finding.layer)
    return [f"{_name_layers(names)}: {reason}" for reason, names in layers_of.items()]


def _name_layers(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_MAX_NAMES])
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"Layer{'s' if len(names) > 1 else ''} {shown}{more}"


def _findings(node: object, layer: str, depth: int) -> Iterator[_Finding]:
    if depth > _MAX_DEPTH:
        yield _Finding(f"its configuration is nested more than {_MAX_DEPTH} levels deep.", layer)
        return
    if isinstance(node, list):
        for item in node:
            yield from _findings(item, layer, depth + 1)
    elif isinstance(node, dict):
        layer = _layer_name(node, layer)
        yield from _own_findings(node, layer)
        if str(node.get("class_name")).removeprefix(">") in CODE_CLASSES:
            return  # refused as a whole
        for key, value in node.items():
            if key != "compile_config":  # never used: it is taken out before the file is opened
                yield from _findings(value, layer, depth + 1)


def _layer_name(node: dict[str, Any], parent: str) -> str:
    if "class_name" not in node or node["class_name"] in SETTING_CLASSES:
        return parent
    settings = node.get("config")
    name = settings.get("name") if isinstance(settings, dict) else None
    name = name or node.get("name")
    return name if isinstance(name, str) else parent or str(node["class_name"])


def _own_findings(node: dict[str, Any], layer: str) -> Iterator[_Finding]:
    reasons = []
    if "class_name" in node:
        reasons.append(_class_reason(node))
    reasons.append(_code_reason(node))
    reasons.extend(_activation_reason(node.get(key)) for key in ("activation", "recurrent_activation"))
    if isinstance(node.get("vocabulary"), str):
        reasons.append(
            "its vocabulary is the path of another file. Put the list itself into the layer and save the model again."
        )
    for reason in reasons:
        if reason:
            yield _Finding(reason, layer)


def _class_reason(node: dict[str, Any]) -> str | None:
    name, module = node["class_name"], node.get("module")
    if not isinstance(name, str):
        return "its class name is not a text, so the file is damaged. Save the model again."
    name = name.removeprefix(">")  # how TensorFlow 2.1 wrote some built-in classes
    if name in CODE_CLASSES:
        return _CODE
    if name == "function":
        return _function_reason(node)
    if name in FOR_TEXT and _module_is_keras(module):
        return (
            f"it turns text into numbers ({name}), for which TensorFlow Lite has no operation. Save the part of the model "
            "after it, which takes the numbers, as its own model, and keep the text step in front of it."
        )
    if name in WITH_TABLES and _module_is_keras(module):
        return (
            f"it looks numbers up in a table ({name}), for which TensorFlow Lite has no operation. Save the part of the model "
            "after it, which takes the positions in the table, as its own model."
        )
    if name == "TensorFlowOpLayer" and module is None:
        return _graph_operation_reason(node.get("config"))
    if name in ONLY_IN_KERAS1 and module is None:
        return _keras1_reason(node)
    if name in ("TFOpLambda", "SlicingOpLambda"):
        return _tensorflow_reason(node.get("config"))
    if isinstance(module, str) and _OPERATION_MODULE.match(module):
        return None if name in KERAS3_OPERATIONS else f"the operation '{name}' of Keras 3 is not supported. {_REPLACE}"
    if name in SETTING_CLASSES and module in ("builtins", "tensorflow", None):
        return None
    if name in LAYER_CLASSES | SETTING_CLASSES and _module_is_keras(module):
        return None
    is_hidden = name in HIDDEN_LAYERS and _module_is_keras(module) and node.get("registered_name") in (None, name)
    if is_hidden or is_custom(name):
        return None
    origin = f" (module '{module}')" if isinstance(module, str) and not _KERAS_MODULE.match(module) else ""
    return f"the class '{name}'{origin} is not built in Keras, and its code is not in the file. {_REPLACE_OR_ALLOW}"


def _graph_operation_reason(settings: object) -> str | None:
    """TensorFlow 2.0-2.3 wrote the graph node of every TensorFlow call between layers."""
    node = graph_node(settings.get("node_def")) if isinstance(settings, dict) else None
    operation = node.get("op") if isinstance(node, dict) else _operation_in_bytes(node)
    if isinstance(operation, str) and operation in COMPUTING:
        return None
    return (
        f"it calls the TensorFlow operation '{str(operation)[:60]}', which is not on the list of operations that only "
        f"compute. {_REPLACE}"
    )


def graph_node(node: object) -> object:
    """Return the graph node of a TensorFlowOpLayer as a dictionary where it was written as JSON."""
    if isinstance(node, str) and node.lstrip()[:1] == "{":
        try:
            return json.loads(node)
        except (ValueError, RecursionError):
            return None
    return node


def _operation_in_bytes(node: object) -> str | None:
    """TensorFlow 2.0 and 2.1 wrote the protocol buffer as text. Its second field is the operation, given once."""
    data = node.encode("utf-8") if isinstance(node, str) else b""
    place, found = 0, []
    while place < len(data):
        tag, length, shift, place = data[place], 0, 0, place + 1
        while place < len(data):
            length, shift, place = length | (data[place] & 0x7F) << shift, shift + 7, place + 1
            if data[place - 1] < 0x80:
                break
        if tag & 7 != 2 or tag >= 0x80 or place + length > len(data):
            return None  # every field of a node has a length
        if tag >> 3 == 2:
            found.append(data[place : place + length].decode("utf-8", errors="replace"))
        place += length
    return found[0] if len(found) == 1 else None


def _keras1_reason(node: dict[str, Any]) -> str:
    settings = node.get("config")
    if isinstance(settings, dict) and settings.get("mode_type", "raw") != "raw":
        return _CODE
    if node["class_name"] == "BatchNormalizationMode":
        mode = settings.get("mode") if isinstance(settings, dict) else None
        return (
            f"a BatchNormalization of Keras 1 in mode {mode} uses the statistics of each batch also when it predicts; "
            "no later Keras has it. Use mode 0 and train the model again."
        )
    return (
        f"the class '{node['class_name']}' is one of Keras 1 that no later Keras has. Rebuild the model with a layer "
        "that Keras 2 has, for example Dense or PReLU, and train it again."
    )


_REPLACE = "Replace it by built-in layers and save the model again."
_REPLACE_OR_ALLOW = f"Replace it by built-in layers and save the model again, or: {ASK_THE_ADMINISTRATOR}."


def _module_is_keras(module: object) -> bool:
    return module is None or (isinstance(module, str) and _KERAS_MODULE.match(module) is not None)


def _function_reason(node: dict[str, Any]) -> str | None:
    name = node.get("config")
    if isinstance(name, str) and (name in ACTIVATIONS or is_custom(name)):
        return None
    return f"it uses the function '{str(name)[:60]}', which is not built in Keras. {_REPLACE_OR_ALLOW}"


def _tensorflow_reason(settings: object) -> str | None:
    function = settings.get("function") if isinstance(settings, dict) else None
    if isinstance(function, str):
        name = function.removeprefix("compat.v1.")
        if name in TENSORFLOW_FUNCTIONS or name.startswith(TENSORFLOW_NAMESPACES):
            return None
        if name.startswith(RANDOM_FUNCTIONS):
            return (
                f"it calls the TensorFlow function '{function[:60]}', which gives something else at each call, also outside "
                "of training, so that no smaller model could be compared with this one. Take the mean instead, and save "
                "the model again."
            )
        if function.removeprefix("keras.activations.") in ACTIVATIONS:
            return None
    return (
        f"it calls the TensorFlow function '{str(function)[:60]}', which is not on the list of functions that only "
        f"compute. {_REPLACE}"
    )


def _code_reason(node: dict[str, Any]) -> str | None:
    """Marshalled code has the form "function": [bytes, defaults, closure], whatever the class is called."""
    if any(isinstance(value, list | dict) and _is_function_key(key) for key, value in node.items()):
        if node.get("class_name") in CODE_CLASSES:
            return None  # told already
        return _CODE
    return None


def _is_function_key(key: object) -> bool:
    return key in ("function", "residual_fn", "dropout_state_filter")


def _activation_reason(activation: object) -> str | None:
    if isinstance(activation, str) and activation not in ACTIVATIONS and not is_custom(activation):
        return (
            f"the activation '{activation[:60]}' is not built in Keras. Use a built-in one and save the model again, or: "
            f"{ASK_THE_ADMINISTRATOR}."
        )
    return None
