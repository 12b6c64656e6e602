"""Read a SavedModel as plain data and judge it: which operations its graph has, and what Keras wrote about it.

Nothing is loaded or run here. `tf.saved_model.load` would run initializers and attach every function of the file; Tare
never calls it on an upload. What is used later is the part of the graph behind one signature, after each operation of
that part was found on a list of those that only compute.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intake import keras_env
from intake.errors import UnsupportedModel
from intake.model_config_scan import config_problems
from intake.model_scan import ScannedModel
from intake.saved_model_files import GRAPH_FILE, KERAS_FILE, folder_of, graph_members, read_member
from intake.saved_model_ops import ABOUT_TEXT, CALLS, COMPUTING, VARIABLES, acts_outside

_NOT_FOR_USERS = ("__saved_model_init_op", "__saved_model_train_op")
_KERAS_KINDS = ("_tf_keras_sequential", "_tf_keras_network", "_tf_keras_model")
_MAX_NAMES = 5


@dataclass(frozen=True)
class ScannedSavedModel(ScannedModel):
    """What a zipped SavedModel says of itself. `config` is the configuration of its Keras model, where it is usable."""

    graph: Any = None
    """The MetaGraphDef message."""
    signature: str = ""
    """Key of the signature that may be run; empty: none may."""
    folder: str = ""
    """Folder inside the zip: empty, or ending in a slash."""
    reasons: tuple[str, ...] = ()
    """Why the Keras configuration or the signatures cannot be used, in sentences."""
    build_shape: tuple[Any, ...] | None = field(default=None, kw_only=True)
    """Shape of the input, batch axis included, where the Keras configuration does not tell."""


def scan_saved_model(path: Path, names: list[str], sha256: str) -> ScannedSavedModel:
    """Read and judge a zip whose members were checked and of which one is a saved_model.pb.

    Raises:
        UnsupportedModel: the graph reaches files, network, Python or the console, or nothing in it can be used.
    """
    message = _parsed_graph(path)
    problems = _outside_problems(message, path.name)
    if problems:
        raise UnsupportedModel(problems)
    root = _keras_root(path, message)
    config, keras_reasons = _usable_config(root, path.name)
    signature, reasons = _usable_signature(message)
    if not config and not signature:
        raise UnsupportedModel([*keras_reasons, *reasons])
    version = root.get("keras_version")
    tensorflow_version = message.meta_info_def.tensorflow_version or "(version not recorded)"
    shape = root.get("build_input_shape")
    return ScannedSavedModel(
        path=path,
        uploaded_format="saved_model",
        saved_by=f"Keras {version}" if isinstance(version, str) else f"TensorFlow {tensorflow_version}",
        config=config,
        metadata={},
        file_bytes=path.stat().st_size,
        sha256=sha256,
        graph=message,
        signature=signature,
        folder=folder_of(graph_members(names)[0]),
        reasons=(*keras_reasons, *reasons),
        build_shape=tuple(shape) if isinstance(shape, list) else None,
    )


def _parsed_graph(path: Path) -> Any:
    messages = keras_env.part_of(keras_env.tensorflow(), "core.protobuf.saved_model_pb2")
    saved = messages.SavedModel.FromString(read_member(path, GRAPH_FILE))
    if not saved.meta_graphs:
        raise UnsupportedModel(f"{path.name} holds a SavedModel without a graph. Save the model again.")
    serving = [graph for graph in saved.meta_graphs if "serve" in graph.meta_info_def.tags]
    return (serving or list(saved.meta_graphs))[0]


# ---------------------------------------------------------------- what the graph reaches


def function_library(message: Any) -> dict[str, Any]:
    """Return the functions of a MetaGraphDef by name."""
    return {function.signature.name: function for function in message.graph_def.library.function}


def nodes_behind(nodes: Iterable[Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the nodes of a graph that these depend on, themselves included, by name."""
    by_name = {node.name: node for node in nodes}
    found: dict[str, Any] = {}
    waiting = [_node_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in found:
            found[name] = by_name[name]
            waiting.extend(_node_name(item) for item in by_name[name].input)
    return found


def _node_name(text: str) -> str:
    return text.lstrip("^").split(":")[0]


def functions_behind(library: dict[str, Any], nodes: Iterable[Any], named: Iterable[str] = ()) -> set[str]:
    """Return the names of the functions that these nodes (or `named` functions) call, directly or not."""
    found: set[str] = set()
    waiting = [name for node in nodes for name in _called(node, library)] + [name for name in named if name in library]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(inner for node in library[name].node_def for inner in _called(node, library))
    return found


def _called(node: Any, library: dict[str, Any]) -> Iterator[str]:
    if node.op in library:
        yield node.op
    for attribute in node.attr.values():
        for function in (attribute.func, *attribute.list.func):
            if function.name in library:
                yield function.name


def _operations(nodes: Iterable[Any], library: dict[str, Any], functions: Iterable[str]) -> set[str]:
    ops = {node.op for node in nodes}.union(*({node.op for node in library[name].node_def} for name in functions))
    return ops - library.keys()


def _outside_problems(message: Any, file_name: str) -> list[str]:
    """Judge everything but the functions that only save and restore."""
    library = function_library(message)
    signatures = message.signature_def.values()
    nodes = nodes_behind(
        message.graph_def.node, (item.name for signature in signatures for item in signature.outputs.values())
    ).values()
    saver = message.saver_def
    saving = nodes_behind(message.graph_def.node, (saver.save_tensor_name, saver.restore_op_name)).values()
    objects = message.object_graph_def
    savers = {
        objects.nodes[number].function.concrete_functions[0]
        for item in objects.nodes
        for saveable in item.saveable_objects.values()
        for number in (saveable.save_function, saveable.restore_function)
        if 0 < number < len(objects.nodes) and objects.nodes[number].function.concrete_functions
    }
    saver_only = functions_behind(library, saving, savers) - functions_behind(library, nodes)
    functions = functions_behind(library, nodes, set(objects.concrete_functions) - saver_only)
    outside = sorted(op for op in _operations(nodes, library, functions) if acts_outside(op))
    if not outside:
        return []
    return [
        f"{file_name} calls {_listed(outside)}, which reaches files, the network, Python code or the console outside of "
        "the model, so it is not opened. Save only the part of the model that computes: arrays in, arrays out."
    ]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


# ---------------------------------------------------------------- which signature may be used


def _usable_signature(message: Any) -> tuple[str, list[str]]:
    """Return the key of the signature to use (empty: none) and what is wrong with the others."""
    keys = sorted(
        (key for key in message.signature_def if key not in _NOT_FOR_USERS), key=lambda key: key != "serving_default"
    )
    if not keys:
        return "", [
            "The SavedModel has no signature, so it does not say what goes in and what comes out. Save it with "
            "model.export(folder), or name one in tf.saved_model.save(module, folder, signatures=module.predict)."
        ]
    reasons: list[str] = []
    for key in keys:
        problem = _signature_problem(message, key)
        if problem is None:
            return key, reasons
        reasons.append(problem)
    return "", reasons


def _signature_problem(message: Any, key: str) -> str | None:
    signature, library = message.signature_def[key], function_library(message)
    problem = _arguments_problem(signature, key)
    if problem:
        return problem
    nodes = nodes_behind(message.graph_def.node, (item.name for item in signature.outputs.values())).values()
    ops = _operations(nodes, library, functions_behind(library, nodes))
    foreign = sorted(ops - COMPUTING - VARIABLES - CALLS)
    if not foreign:
        return None
    if set(foreign) <= ABOUT_TEXT:
        return (
            f"The signature '{key}' works on text, tables or encoded files ({_listed(foreign)}), which TensorFlow Lite "
            "alone does not run. Export the part of the model behind that step: numbers in, numbers out."
        )
    return (
        f"The signature '{key}' uses the operations {_listed(foreign)}, which are not on the list of operations that "
        "only compute. Replace them by built-in ones and save the model again."
    )


def _arguments_problem(signature: Any, key: str) -> str | None:
    tf = keras_env.tensorflow()
    if not signature.inputs or not signature.outputs:
        return f"The signature '{key}' has no inputs or no outputs, so there is nothing to compress."
    for name, item in sorted(signature.inputs.items()):
        dtype = tf.dtypes.as_dtype(item.dtype)
        if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
            return (
                f"The input '{name}' of the signature '{key}' is {dtype.name}, and arrays of numbers are needed. Export "
                "the part of the model that takes numbers."
            )
        if item.tensor_shape.unknown_rank or not item.tensor_shape.dim:
            return (
                f"The input '{name}' of the signature '{key}' does not say how many axes it has, or has none. Save the "
                "model with a tf.TensorSpec([None, ...]) for each input, the batch axis first."
            )
    return None


# ---------------------------------------------------------------- what Keras wrote


def _keras_root(path: Path, message: Any) -> dict[str, Any]:
    """Return what Keras 2 recorded of the saved model itself; empty where it was not saved by Keras 2."""
    text = None
    metadata = read_member(path, KERAS_FILE)
    if metadata is not None:
        messages = keras_env.part_of(keras_env.keras2(), "protobuf.saved_metadata_pb2")
        roots = [node for node in messages.SavedMetadata.FromString(metadata).nodes if node.node_path == "root"]
        text = roots[0].metadata if roots and roots[0].identifier in _KERAS_KINDS else None
    elif message.object_graph_def.nodes:  # TensorFlow 2.0 to 2.4 kept it in the graph itself
        user_object = message.object_graph_def.nodes[0].user_object
        text = user_object.metadata if user_object.identifier in _KERAS_KINDS else None
    try:
        root = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return _without_tuples(root) if isinstance(root, dict) else {}


def _without_tuples(node: Any) -> Any:
    """Tuples and shapes of the metadata become lists, as they are in the configuration of an HDF5 file."""
    if isinstance(node, list):
        return [_without_tuples(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("class_name") in ("__tuple__", "TensorShape") and isinstance(node.get("items"), list):
        return _without_tuples(node["items"])
    return {key: _without_tuples(value) for key, value in node.items()}


def _usable_config(root: dict[str, Any], file_name: str) -> tuple[dict[str, Any], list[str]]:
    """Return class and settings of a Sequential or functional model of built-in layers; else empty, and why."""
    settings = root.get("config")
    if not isinstance(settings, dict) or not isinstance(settings.get("layers"), list):
        return {}, []
    class_name = "Sequential" if root.get("class_name") == "Sequential" else "Functional"
    config = {"class_name": class_name, "config": settings}
    problems = config_problems(config, file_name)
    return ({}, problems) if problems else (config, [])
