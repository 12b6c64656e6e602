"""Small models, each with something in it that plain TFMOT or the converter stumbles over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from intake.keras_env import keras2


def _normalization_out_of_order() -> Any:
    layers = keras2().layers
    inputs = keras2().Input((8, 8, 2))
    x = layers.BatchNormalization()(inputs)
    x = layers.Conv2D(8, 3, activation="relu", use_bias=False, name="first")(x)
    x = layers.BatchNormalization()(x)
    x = layers.SeparableConv2D(8, 3, activation="elu", name="conv2d")(x)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.Flatten()(x)
    x = layers.BatchNormalization()(x)
    x = layers.Dense(24, activity_regularizer="l2")(x)
    return keras2().Model(inputs, layers.Dense(3, activation="softmax")(x))


def _frozen_base() -> Any:
    layers = keras2().layers
    inputs = keras2().Input((8, 8, 2))
    x = layers.Conv2D(16, 3, trainable=False)(inputs)
    x = layers.DepthwiseConv2D(3, activation="relu6", trainable=False)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras2().Model(inputs, layers.Dense(32, trainable=False)(x))


def _padded_sequences() -> Any:
    layers = keras2().layers
    inputs = keras2().Input((6,), dtype="int32")
    x = layers.Embedding(40, 8, mask_zero=True)(inputs)
    x = layers.Dense(8, activation="relu")(x)
    return keras2().Model(inputs, layers.Dense(2, activation="softmax")(layers.GRU(8)(x)))


def _plain_lstm() -> Any:
    layers = keras2().layers
    inputs = keras2().Input((5, 4))
    x = layers.TimeDistributed(layers.Dense(16))(inputs)
    return keras2().Model(inputs, layers.Dense(2)(layers.Bidirectional(layers.LSTM(12))(x)))


def _encoder_and_decoder() -> Any:
    """An LSTM that begins with what another ended with: LiteRT cannot reset its state."""
    layers = keras2().layers
    source, target = keras2().Input((5, 4), name="source"), keras2().Input((3, 4), name="target")
    _, *state = layers.LSTM(8, return_state=True)(source)
    x = layers.LSTM(8, return_sequences=True)(target, initial_state=state)
    return keras2().Model([source, target], layers.Dense(3)(x))


def _answer_and_state() -> Any:
    """An LSTM whose state nobody takes up: the model gives it out beside its answer."""
    layers = keras2().layers
    inputs = keras2().Input((5, 4))
    answer, state, _ = layers.LSTM(12, return_state=True, name="memory")(inputs)
    return keras2().Model(inputs, [layers.Dense(2, name="head")(answer), state])


def _attention_with_two_inputs_and_outputs() -> Any:
    layers = keras2().layers
    query, value = keras2().Input((4, 8), name="zebra"), keras2().Input((6, 8), name="ant")
    x = layers.MultiHeadAttention(2, 8, name="attend")(query, value)
    x = layers.LayerNormalization()(layers.Add()([x, query]))
    first = layers.Dense(3, activation="softmax", name="zone")(layers.Flatten()(x))
    second = layers.Dense(1, name="amount")(layers.GlobalAveragePooling1D()(x))
    return keras2().Model([query, value], [first, second])


def _number_and_category() -> Any:
    layers = keras2().layers
    number, category = keras2().Input((1,), name="age"), keras2().Input((1,), dtype="int32", name="job")
    x = layers.Concatenate()([number, layers.Flatten()(layers.Embedding(12, 4)(category))])
    x = layers.Dense(16, activation="relu")(x)
    return keras2().Model([number, category], [layers.Dense(1, activation="sigmoid")(x), layers.Dense(1)(x)])


def _one_dimensional() -> Any:
    layers = keras2().layers
    inputs = keras2().Input((16, 3))
    x = layers.SeparableConv1D(8, 3, activation="selu")(inputs)
    x = layers.Conv1D(8, 3, padding="causal", dilation_rate=2)(x)
    x = layers.Conv1DTranspose(4, 3)(x)
    x = layers.LocallyConnected1D(4, 3)(x)
    return keras2().Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


AWKWARD: dict[str, Callable[[], Any]] = {
    "normalization out of order": _normalization_out_of_order,
    "frozen base": _frozen_base,
    "padded sequences": _padded_sequences,
    "plain LSTM": _plain_lstm,
    "encoder and decoder": _encoder_and_decoder,
    "answer and state": _answer_and_state,
    "attention, two inputs and outputs": _attention_with_two_inputs_and_outputs,
    "number and category": _number_and_category,
    "one dimensional": _one_dimensional,
}
