"""Describe a clean tf_keras model as plain data."""

from __future__ import annotations

from typing import Any

from intake.model_info import LayerInfo, ModelInfo
from intake.model_scan import ScannedModel


def describe_model(scanned: ScannedModel, model: Any, largest: float, notes: tuple[str, ...]) -> ModelInfo:
    """Collect the facts of a clean tf_keras model.

    Args:
        scanned: the uploaded file.
        model: the clean model.
        largest: largest absolute difference of outputs found by the comparison.
        notes: what was changed on the way in.
    """
    trainable = sum(int(weight.shape.num_elements()) for weight in model.trainable_weights)
    return ModelInfo(
        file_name=scanned.path.name,
        file_bytes=scanned.file_bytes,
        sha256=scanned.sha256,
        uploaded_format=scanned.uploaded_format,
        saved_by=scanned.saved_by,
        layers=tuple(_layer_info(layer) for layer in model.layers),
        parameters=model.count_params(),
        trainable_parameters=trainable,
        input_shapes=tuple(_shape(tensor) for tensor in model.inputs),
        input_dtypes=tuple(tensor.dtype.name for tensor in model.inputs),
        input_names=tuple(tensor._keras_history.layer.name for tensor in model.inputs),
        output_shapes=tuple(_shape(tensor) for tensor in model.outputs),
        output_names=tuple(str(name) for name in model.output_names),
        output_activations=tuple(_output_activation(tensor) for tensor in model.outputs),
        saved_loss=scanned.saved_loss,
        saved_loss_from_logits=scanned.saved_loss_from_logits,
        probe_max_difference=largest,
        rebuilt=scanned.is_keras3,
        notes=notes,
    )


def _shape(tensor: Any) -> tuple[int | None, ...]:
    return tuple(None if size is None else int(size) for size in tensor.shape)


def _layer_info(layer: Any) -> LayerInfo:
    weights = layer.weights
    outputs = layer.output if not isinstance(layer.output, list | tuple | dict) else None
    return LayerInfo(
        name=layer.name,
        class_name=type(layer).__name__,
        output_shape=_shape(outputs) if outputs is not None else None,
        parameters=sum(int(weight.shape.num_elements()) for weight in weights),
        weight_bytes=sum(int(weight.shape.num_elements()) * weight.dtype.size for weight in weights),
        activation=_activation_name(layer),
    )


def _activation_name(layer: Any) -> str | None:
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", None)
    return str(name) if name else None


def _output_activation(output: Any) -> str:
    layer = output._keras_history.layer
    if type(layer).__name__ in ("Softmax", "ReLU", "LeakyReLU", "PReLU", "ELU", "ThresholdedReLU"):
        return type(layer).__name__.lower()
    wrapped = getattr(layer, "layer", None)
    return _activation_name(layer) or (_activation_name(wrapped) if wrapped is not None else None) or "unknown"
