"""What is known of an uploaded model: plain data that crosses from the worker to the pages."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

UploadedFormat = Literal["h5", "keras2", "keras3", "h5_keras3", "saved_model"]
"""h5: HDF5 of Keras 1/2; keras2: `.keras` zip of Keras 2.13-2.15; keras3: `.keras` of Keras 3; h5_keras3: HDF5 of
Keras 3; saved_model: a zip of TensorFlow's SavedModel folder."""


class LayerInfo(BaseModel):
    """One layer of the clean tf_keras model."""

    model_config = ConfigDict(frozen=True)

    name: str
    class_name: str
    output_shape: tuple[int | None, ...] | None
    """Batch axis included (None); None for a layer with several outputs."""
    parameters: int
    weight_bytes: int
    """Bytes of the layer's weights as float32 (or whatever dtype the file holds)."""
    activation: str | None = None


class ModelInfo(BaseModel):
    """An uploaded model after it was opened, rebuilt as one clean tf_keras model and compared."""

    model_config = ConfigDict(frozen=True)

    file_name: str
    file_bytes: int
    sha256: str
    uploaded_format: UploadedFormat
    saved_by: str
    """For people: "Keras 3.10.0", "Keras 2.6.0", "Keras (version not recorded)"."""
    layers: tuple[LayerInfo, ...]
    parameters: int
    trainable_parameters: int
    input_shapes: tuple[tuple[int | None, ...], ...]
    """One per input, batch axis included (None)."""
    input_dtypes: tuple[str, ...]
    input_names: tuple[str, ...]
    """Names of the input layers, in the same order."""
    output_shapes: tuple[tuple[int | None, ...], ...]
    output_names: tuple[str, ...]
    """Names of the layers that give the outputs, in the same order; a layer that gives two appears with a number."""
    output_activations: tuple[str, ...]
    """Activation of each output's layer: "softmax", "sigmoid", "linear", ... ("unknown" if it cannot be read)."""
    saved_loss: str | None = None
    """Name of the loss the file was compiled with ("sparse_categorical_crossentropy"), if it says so."""
    saved_loss_from_logits: bool | None = None
    probe_max_difference: float
    """Largest absolute difference between the outputs of the uploaded and of the rebuilt model on a random
    probe batch; 0.0 where the file opened in tf_keras as it is."""
    rebuilt: bool
    """True where the model had to be rebuilt in tf_keras (Keras 3 files)."""
    notes: tuple[str, ...] = ()
    """What was changed on the way in, in sentences."""

    @property
    def output_activation(self) -> str:
        """Activation of the first output."""
        return self.output_activations[0]
