"""Defensive distillation (Papernot et al. 2016, arXiv:1511.04508), section IV.

    batch = soft_labels(model, batch, teacher=teacher, temperature=100.0)
    loss, clean_logits = distillation_loss(model, batch, temperature=100.0)

A student learns the probabilities that a teacher of the same architecture, trained at
the same temperature, gives the images; it is served at temperature 1, that is, as it
is. Its logits are then about `temperature` times as large, and its cross-entropy has no
gradient that float32 could hold: no robustness, as attacks on the logits show.
"""

import tensorflow as tf

from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.defenses.forward import updating_pass


def soft_labels(model, batch, *, teacher, temperature=100.0):
    """The batch with `soft_label`: the teacher's probabilities, float32 [n, classes].

    Deviation: of the very images of the batch, flipped and cropped as they may be; the
    paper labels the training set once.

    Args:
      model: not used.
      batch: {"image", ...}.
      teacher: `keras.Model` to logits, run in inference mode.
      temperature: divides the logits.
    """
    logits = inference(teacher)(batch["image"])
    return {**batch, "soft_label": tf.nn.softmax(logits / temperature)}


def distillation_loss(model, batch, *, temperature=100.0):
    """Mean cross-entropy of the soft labels and the logits divided by `temperature`.

    As the paper has it: without hard labels, and without the factor of Hinton et al.
    2015 (arXiv:1503.02531) for the gradient's size.
    """
    logits = updating_pass(model, batch["image"])
    loss = tf.nn.softmax_cross_entropy_with_logits(
        batch["soft_label"], logits / temperature
    )
    return tf.reduce_mean(loss), logits
