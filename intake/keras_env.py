"""The one place that decides which Keras TensorFlow uses, and hands the heavy libraries out.

TFMOT 0.8.1 works only on Keras 2 (tf_keras), so TF_USE_LEGACY_KERAS must be set before TensorFlow is
first imported. Keras 3 stays importable beside it as plain `keras`, to read the files that it saved.
Call these inside functions: importing this module loads nothing.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType


def prepare_environment() -> None:
    """Set the variables that TensorFlow reads once, at its first import. Safe to call again."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Only the CPU was tested; set the variable yourself to let TensorFlow see a GPU.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


def tensorflow() -> ModuleType:
    """Return TensorFlow, with `tf.keras` being Keras 2."""
    prepare_environment()
    import tensorflow as tf

    return tf


def keras2() -> ModuleType:
    """Return tf_keras: the Keras 2 in which every technique works.

    It also knows what a rebuilt model may hold: activations of Keras 3 inside recurrent layers, and the one public layer
    that tf_keras itself forgets when it loads a file.
    """
    prepare_environment()
    import tf_keras

    from intake.keras3_activations import Keras3Activation

    known = tf_keras.utils.get_custom_objects()
    known.update(Keras3Activation=Keras3Activation, SpectralNormalization=tf_keras.layers.SpectralNormalization)
    return tf_keras


def keras3() -> ModuleType:
    """Return Keras 3, only for reading and writing the files that it saved."""
    prepare_environment()
    import keras

    return keras


def tfmot() -> ModuleType:
    """Return the TensorFlow Model Optimization toolkit."""
    prepare_environment()
    import tensorflow_model_optimization as toolkit

    return toolkit


def part_of(library: ModuleType, name: str) -> ModuleType:
    """Return a module inside one of these libraries that the library itself does not hand out.

    Args:
        library: what `tensorflow` or `keras2` returned.
        name: the module below it, for example "core.protobuf.saved_model_pb2".
    """
    return importlib.import_module(f"{library.__name__}.{name}")


def lite_convert() -> ModuleType:
    """Return the module of TensorFlow's converter that quantizes a calibrated file; no public name leads to it."""
    prepare_environment()
    from tensorflow.lite.python import convert

    return convert
