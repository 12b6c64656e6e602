"""Translate the configuration of a Keras 1 model (2015-2017) into the words of Keras 2, as plain data.

Keras 1 called things differently (`nb_filter`, `border_mode`, `dim_ordering`, ...). The words do not overlap with
those of Keras 2, so layers are recognised by them and every other configuration passes unchanged. The meanings follow
Keras 1.2.2 and the conversion in Keras 2.0 (keras/legacy/interfaces.py). Weights need no translation here: Keras 2
mends them while it loads a file whose weights do not name a Keras version.
"""

from __future__ import annotations

from typing import Any

from intake.model_classes import words

_INITIALIZERS = {
    "normal": "random_normal",
    "one": "ones",
    "uniform": "random_uniform",
    "zero": "zeros",
}
_KNOWN_INITIALIZERS = words(
    """
    glorot_normal glorot_uniform he_normal he_uniform identity lecun_uniform ones orthogonal random_normal
    random_uniform zeros
    """
)
_RENAMED_CLASSES = {
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "TimeDistributedDense": "Dense",
}
_RENAMED_KEYS = {
    "U_constraint": "recurrent_constraint",
    "U_regularizer": "recurrent_regularizer",
    "W_constraint": "kernel_constraint",
    "W_regularizer": "kernel_regularizer",
    "atrous_rate": "dilation_rate",
    "b_constraint": "bias_constraint",
    "b_regularizer": "bias_regularizer",
    "bias": "use_bias",
    "border_mode": "padding",
    "dropout_U": "recurrent_dropout",
    "dropout_W": "dropout",
    "filter_length": "kernel_size",
    "init": "kernel_initializer",
    "inner_activation": "recurrent_activation",
    "inner_init": "recurrent_initializer",
    "input_dtype": "dtype",
    "nb_filter": "filters",
    "pool_length": "pool_size",
    "stride": "strides",
    "subsample": "strides",
    "subsample_length": "strides",
}
_PER_CLASS_KEYS: dict[str, dict[str, str]] = {
    "Dense": {"output_dim": "units"},
    "Dropout": {"p": "rate"},
    "Embedding": {
        "init": "embeddings_initializer",
        "W_regularizer": "embeddings_regularizer",
        "W_constraint": "embeddings_constraint",
    },
    "GRU": {"output_dim": "units"},
    "GaussianDropout": {"p": "rate"},
    "GaussianNoise": {"sigma": "stddev"},
    "LSTM": {"output_dim": "units"},
    "PReLU": {"init": "alpha_initializer"},
    "SeparableConv2D": {"init": "depthwise_initializer"},
    "SimpleRNN": {"output_dim": "units"},
    "SpatialDropout1D": {"p": "rate"},
    "SpatialDropout2D": {"p": "rate"},
    "SpatialDropout3D": {"p": "rate"},
    "UpSampling1D": {"length": "size"},
}
_DROPPED_KEYS = words(
    """
    beta_init consume_less custom_name forget_bias_init gamma_init input_dim kernel_dim1 kernel_dim2 kernel_dim3
    nb_col nb_row
    """
)
_IMAGE_LAYERS = words(
    """
    AveragePooling2D AveragePooling3D Conv2D Conv2DTranspose Conv3D ConvLSTM2D Cropping2D Cropping3D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling2D GlobalMaxPooling3D LocallyConnected2D
    MaxPooling2D MaxPooling3D SeparableConv2D SpatialDropout2D SpatialDropout3D UpSampling2D UpSampling3D
    ZeroPadding2D ZeroPadding3D
    """
)
_MERGES = {"ave": "Average", "concat": "Concatenate", "max": "Maximum", "mul": "Multiply", "sum": "Add"}
_TELLTALE_KEYS = words(
    """
    b_regularizer border_mode consume_less dim_ordering filter_length init inner_init nb_filter output_dim
    pool_length subsample
    """
)


def is_keras1(config: object) -> bool:
    """Whether some layer of this configuration is described in the words of Keras 1."""
    if isinstance(config, list):
        return any(is_keras1(item) for item in config)
    if not isinstance(config, dict):
        return False
    class_name, settings = config.get("class_name"), config.get("config")
    if class_name and isinstance(settings, dict):
        telltale = frozenset(("p", "mode")) if class_name in ("Dropout", "Merge") else _TELLTALE_KEYS
        if class_name != "Embedding" and telltale & settings.keys():
            return True
    return any(is_keras1(value) for value in config.values() if isinstance(value, dict | list))


def in_words_of_keras2(config: Any) -> Any:
    """Return the configuration in the words of Keras 2; whatever is not of Keras 1 is returned unchanged.

    A layer without an equal in Keras 2 (MaxoutDense, Highway, SReLU, Merge with a function, ...) keeps its class, by
    which the scan then refuses it. A Sequential model that starts with a Merge of branches becomes a functional one.
    """
    if not is_keras1(config):
        return config
    return _Translator("channels_first" if _uses_theano_order(config) else "channels_last").model(config)


def _uses_theano_order(config: Any) -> bool:
    """Padding, cropping and upsampling do not state their order in Keras 1: it is that of the other layers."""
    if isinstance(config, list):
        return any(_uses_theano_order(item) for item in config)
    if isinstance(config, dict):
        return config.get("dim_ordering") == "th" or any(_uses_theano_order(value) for value in config.values())
    return False


class _Translator:
    """Translates one model; `data_format` is what layers use that do not say."""

    def __init__(self, data_format: str) -> None:
        self._data_format = data_format

    def model(self, node: dict[str, Any]) -> dict[str, Any]:
        """Translate a model or, where `node` is none, a layer."""
        settings = node.get("config")
        if node.get("class_name") == "Sequential" and isinstance(settings, list):
            return self._sequential(node, settings)
        if isinstance(settings, dict) and isinstance(settings.get("layers"), list) and node["class_name"] != "Merge":
            layers = [part for layer in settings["layers"] for part in self._functional_layer(layer)]
            return {**node, "config": {**settings, "layers": layers}}
        return self.layer(node)

    def _sequential(self, node: dict[str, Any], layers: list[Any]) -> dict[str, Any]:
        layers = [_with_class_name(layer) for layer in layers]
        first = layers[0] if layers else {}
        if first.get("class_name") == "Merge" and isinstance(first.get("config", {}).get("layers"), list):
            return self._from_branches(layers) or node
        return {**node, "config": [self.model(layer) for layer in layers]}

    def _from_branches(self, layers: list[dict[str, Any]]) -> dict[str, Any] | None:
        """A functional model of what Keras 1 wrote as Sequential([Merge([Sequential, ...]), ...])."""
        built: list[dict[str, Any]] = []
        inputs: list[list[Any]] = []
        branch_ends = []
        for number, branch in enumerate(layers[0]["config"]["layers"]):
            parts = branch["config"] if branch["class_name"] == "Sequential" else [branch]
            end = self._chain(built, inputs, [_with_class_name(part) for part in parts], f"branch_{number}")
            if end is None:
                return None
            branch_ends.append(end)
        merge = _with_class_name(layers[0])
        merge = {**merge, "inbound_nodes": [[[end, 0, 0] for end in branch_ends]]}
        parts = self._functional_layer(merge)
        built.extend(parts)
        end = parts[-1]["name"]
        for layer in layers[1:]:
            translated = self.model(layer)
            end = _append(built, translated, end)
        settings = {"name": "sequential", "layers": built, "input_layers": inputs, "output_layers": [[end, 0, 0]]}
        return {"class_name": "Functional", "config": settings}

    def _chain(
        self, built: list[dict[str, Any]], inputs: list[list[Any]], parts: list[dict[str, Any]], name: str
    ) -> str | None:
        """Append one branch to `built`, its input to `inputs`; return the name of its last layer."""
        if not parts or parts[0]["class_name"] in ("Merge", "Sequential", "Model"):
            return None
        first = self.model(parts[0])
        shape = first["config"].pop("batch_input_shape", None)
        if shape is None:
            return None
        end = name + "_input"
        dtype = "int32" if first["class_name"] == "Embedding" else first["config"].get("dtype", "float32")
        settings = {"name": end, "batch_input_shape": shape, "dtype": dtype, "sparse": False}
        built.append({"class_name": "InputLayer", "name": end, "config": settings, "inbound_nodes": []})
        inputs.append([end, 0, 0])
        if first["class_name"] != "InputLayer":
            end = _append(built, first, end)
        for part in parts[1:]:
            end = _append(built, self.model(part), end)
        return end

    def _functional_layer(self, node: dict[str, Any]) -> list[dict[str, Any]]:
        """One layer of a functional model; a Merge may become two."""
        if node.get("class_name") != "Merge":
            translated = self.model(node)
            return [translated]
        settings = node["config"]
        mode, name = settings.get("mode"), settings["name"]
        nodes = node.get("inbound_nodes", [])
        if settings.get("mode_type", "raw") != "raw" or mode not in (*_MERGES, "dot", "cos"):
            return [node]
        if mode not in ("dot", "cos"):
            merged = {"name": name, "trainable": True}
            if mode == "concat":
                merged["axis"] = settings.get("concat_axis", -1)
            return [{"class_name": _MERGES[mode], "name": name, "config": merged, "inbound_nodes": nodes}]
        product = name if mode == "dot" else f"{name}_dot"
        dot = {"name": product, "axes": settings.get("dot_axes", -1), "normalize": mode == "cos"}
        layers = [{"class_name": "Dot", "name": product, "config": dot, "inbound_nodes": nodes}]
        if mode == "cos":  # Keras 1 gives (n, 1, 1) for two vectors, Dot gives (n, 1)
            reshape = {"class_name": "Reshape", "name": name, "config": {"name": name, "target_shape": [1, -1]}}
            layers.append({**reshape, "inbound_nodes": [[[product, index, 0]] for index in range(len(nodes))]})
        return layers

    def layer(self, node: dict[str, Any]) -> dict[str, Any]:
        """Translate one layer, and the layer inside a wrapper."""
        settings, old_class = node.get("config"), node.get("class_name")
        if not isinstance(settings, dict) or not isinstance(old_class, str):
            return node
        class_name: str = _RENAMED_CLASSES.get(old_class, old_class)
        if class_name == "BatchNormalization" and settings.get("mode", 0) != 0:
            return {**node, "class_name": "BatchNormalizationMode"}
        renamed: dict[str, str] = {**_RENAMED_KEYS, **_PER_CLASS_KEYS.get(class_name, {})}
        translated: dict[str, Any] = {}
        for key, value in settings.items():
            new_key = renamed.get(str(key), str(key))
            if key == "layer" and isinstance(value, dict):
                translated[key] = self.layer(value)
            elif key == "dim_ordering":
                translated["data_format"] = "channels_first" if value == "th" else "channels_last"
            elif key not in _DROPPED_KEYS or (key == "input_dim" and class_name == "Embedding"):
                translated[new_key] = _translated_value(new_key, value)
        _add_implied(class_name, settings, translated, self._data_format)
        return {**node, "class_name": class_name, "config": translated}


def _with_class_name(layer: dict[str, Any]) -> dict[str, Any]:
    """The oldest files wrote the class into the settings."""
    if "class_name" in layer:
        return layer
    settings = {**layer, "name": layer.get("custom_name") or layer.get("name")}
    return {"class_name": layer.get("name"), "config": settings}


def _append(built: list[dict[str, Any]], layer: dict[str, Any], after: str) -> str:
    name = layer["config"]["name"] if isinstance(layer["config"], dict) else f"sequential_{len(built)}"
    taken = {part["name"] for part in built}
    name = name if name not in taken else f"{name}_{len(built)}"
    settings = {**layer["config"], "name": name} if isinstance(layer["config"], dict) else layer["config"]
    built.append({**layer, "config": settings, "name": name, "inbound_nodes": [[[after, 0, 0]]]})
    return str(name)


def _add_implied(class_name: str, old: dict[str, Any], new: dict[str, Any], data_format: str) -> None:
    """What Keras 1 wrote in several settings, or left to its own defaults."""
    sizes = [old[key] for key in ("nb_row", "nb_col", "kernel_dim1", "kernel_dim2", "kernel_dim3") if key in old]
    if sizes:
        new["kernel_size"] = sizes
    if class_name in _IMAGE_LAYERS:
        new.setdefault("data_format", data_format)
    if class_name == "ZeroPadding1D":
        new["padding"] = _padding_pair(old.get("padding", 1), "left_pad", "right_pad")
    if class_name == "ZeroPadding2D":
        new["padding"] = _padding_2d(old.get("padding", (1, 1)))
    if class_name == "GRU":
        new["reset_after"] = False
    if class_name == "LSTM":
        new["unit_forget_bias"] = True
    if class_name in ("Bidirectional", "Conv1D", "Dense", "GRU", "LSTM", "LocallyConnected1D", "SimpleRNN"):
        new.pop("input_length", None)
    if class_name == "Embedding":  # its dtype was that of the indices
        new.pop("dropout", None)
        new.pop("dtype", None)
    if class_name == "Conv2DTranspose":
        new.pop("output_shape", None)
    if class_name == "BatchNormalization":
        new.pop("mode", None)
    if class_name == "InputLayer":
        new.pop("create_input_layer", None)


def _padding_pair(padding: Any, first: str, second: str) -> Any:
    if isinstance(padding, dict):
        return [padding.get(first, 0), padding.get(second, 0)]
    return padding


def _padding_2d(padding: Any) -> Any:
    """(rows, cols), (top, bottom, left, right) or a dictionary -> ((top, bottom), (left, right))."""
    if isinstance(padding, dict):
        return [_padding_pair(padding, "top_pad", "bottom_pad"), _padding_pair(padding, "left_pad", "right_pad")]
    if isinstance(padding, list | tuple) and len(padding) == 4:
        return [[padding[0], padding[1]], [padding[2], padding[3]]]
    return padding


def _translated_value(key: str, value: Any) -> Any:
    if key.endswith("_initializer"):
        name = _INITIALIZERS.get(value, value) if isinstance(value, str) else "none"
        return name if name in _KNOWN_INITIALIZERS else "glorot_uniform"
    if key.endswith("_regularizer"):
        return _regularizer(value)
    if key.endswith("_constraint"):
        return _constraint(value)
    return value


def _regularizer(value: Any) -> Any:
    """Keras 1 wrote {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.01}; activity regularizers likewise."""
    if not isinstance(value, dict) or "class_name" in value:
        return value
    penalties = {key: float(value[key]) for key in ("l1", "l2") if isinstance(value.get(key), int | float)}
    return {"class_name": "L1L2", "config": penalties} if any(penalties.values()) else None


def _constraint(value: Any) -> Any:
    if not isinstance(value, dict) or "class_name" in value:
        return value
    axis = {"axis": value["axis"]} if "axis" in value else {}
    name = value.get("name")
    if name == "MaxNorm":
        return {"class_name": "MaxNorm", "config": {"max_value": value.get("m", 2), **axis}}
    if name == "UnitNorm":
        return {"class_name": "UnitNorm", "config": axis}
    return {"class_name": "NonNeg", "config": {}} if name == "NonNeg" else None
