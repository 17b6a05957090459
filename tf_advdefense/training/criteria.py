"""A user's loss as the criterion of a defence.

criterion = criterion_of("categorical_crossentropy", trainable(model))
loss = criterion(targets, logits, weight=None)
"""

from typing import Any

import keras
import tensorflow as tf

from tf_advdefense.defenses.losses import Criterion
from tf_advdefense.defenses.losses import cross_entropy
from tf_advdefense.defenses.losses import mean
from tf_advdefense.models.trainable import Trainable

# Those that have `from_logits`, and by which activation they undo.
_OF_LOGITS = {
    "softmax": (
        keras.losses.CategoricalCrossentropy,
        keras.losses.SparseCategoricalCrossentropy,
        keras.losses.CategoricalFocalCrossentropy,
    ),
    "sigmoid": (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy),
}


def criterion_of(loss: Any, form: Trainable) -> Criterion:
    """The loss of targets and logits, as `compile` would have it of a model's outputs.

    A cross-entropy of probabilities is computed from the logits before them, which is
    the same without the rounding: Keras cuts probabilities off at 1e-7.

    Args:
      loss: whatever `keras.Model.compile` takes for one output.
      form: of the model.
    """
    if isinstance(loss, str) and loss.lower() in ("crossentropy", "ce"):
        if not form.is_binary:
            return cross_entropy
        loss = "binary_crossentropy"
    loss = _object(keras.losses.get(loss))
    values = form.outputs
    undone = _OF_LOGITS.get(form.activation or "", ())
    if isinstance(loss, undone) and not loss.get_config()["from_logits"]:
        loss = type(loss).from_config({**loss.get_config(), "from_logits": True})
        values = form.raw

    def criterion(targets, logits, weight=None):
        if form.is_binary and len(targets.shape) == 1:
            targets = tf.cast(targets[:, tf.newaxis], tf.float32)
        if isinstance(loss, keras.losses.Loss):
            return loss(targets, values(logits), sample_weight=weight)
        return mean(loss(targets, values(logits)), weight)

    return criterion


def _object(loss: Any) -> Any:
    """The loss object of a function that Keras has one of, else the function."""
    for known in (each for group in _OF_LOGITS.values() for each in group):
        if known().fn is loss:
            return known()
    return loss
