"""Learning from the uploaded model's answers (Hinton, Vinyals and Dean 2015, arXiv 1503.02531).

Beside labels, targets hold both, along the last axis: the labels first, then the answers, one for each output unit
(`intake.agreement.with_answers`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from intake.fit import Fit, OutputKind
from intake.keras_env import keras2, tensorflow

Compare = Callable[[Any, Any], Any]
"""(targets, answers) -> the loss of each sample, not reduced."""


def output_kind(fit: Fit, loss: str) -> OutputKind:
    """Return how the only output of a project with labels is compared with the teacher's."""
    if loss in ("sparse_categorical_crossentropy", "categorical_crossentropy"):
        return "classes"
    return "yes_no" if loss == "binary_crossentropy" and fit.task != "reconstruction" else "numbers"


def labels_of(targets: Any, answers: Any) -> Any:
    """Return the labels in targets that hold both."""
    return targets[..., : -answers.shape[-1]]


def mixed(of_labels: Compare, of_teacher: Compare, alpha: float) -> Compare:
    """Return the loss whose share `alpha` (0 to 1) compares with the teacher's answers, the rest with the labels."""

    def mixed_loss(targets: Any, answers: Any) -> Any:
        teacher = targets[..., -answers.shape[-1] :]
        labels = of_labels(labels_of(targets, answers), answers)
        return (1 - alpha) * labels + alpha * of_teacher(teacher, answers)

    return mixed_loss


def teacher_loss(kind: OutputKind, temperature: float, logits: bool, teacher_logits: bool) -> Compare:
    """Return the loss towards a teacher's answers.

    At a temperature T both are softened by it and the loss is multiplied by T², so that its gradient keeps its size
    (section 2.1 of the paper). Numbers are compared as they are.

    Args:
        kind: of the output.
        temperature: above 0.
        logits: the model in training has no softmax or sigmoid yet.
        teacher_logits: the answers in the targets have none.
    """
    losses = keras2().losses
    if kind == "numbers":
        return lambda targets, answers: losses.mean_squared_error(targets, answers)
    compare = losses.categorical_crossentropy if kind == "classes" else losses.binary_crossentropy
    activation = tensorflow().nn.softmax if kind == "classes" else tensorflow().sigmoid

    def distillation(targets: Any, answers: Any) -> Any:
        soft = activation(_logits(kind, targets, teacher_logits) / temperature)
        return temperature**2 * compare(soft, _logits(kind, answers, logits) / temperature, from_logits=True)

    return distillation


LEAST_PROBABILITY = 1e-30
"""A confident softmax gives its other classes far less than Keras's epsilon of 1e-7, and in which order is what there is
to learn: cut off there, a temperature of 4 would make a sixth of every target uniform."""


def _logits(kind: OutputKind, answers: Any, already: bool) -> Any:
    """Logits of probabilities, up to a constant; kept off 0, which a quantized output can be exactly."""
    if already:
        return answers
    tf = tensorflow()
    if kind == "classes":
        return tf.math.log(tf.maximum(answers, LEAST_PROBABILITY))
    least = keras2().backend.epsilon()
    kept = tf.clip_by_value(answers, least, 1 - least)
    return tf.math.log(kept) - tf.math.log1p(-kept)
