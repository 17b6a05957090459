"""Defensive distillation (Papernot et al. 2016, arXiv:1511.04508), section IV.

A student learns the probabilities that a teacher of the same architecture, trained at
the same temperature, gives the images; it is served at temperature 1, that is, as it
is. Its logits are then about `temperature` times as large, and its cross-entropy has no
gradient that float32 could hold: no robustness, as attacks on the logits show.
"""

from typing import Any
from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.defenses.defense import Defense
from tf_advdefense.defenses.forward import updating_pass
from tf_advdefense.defenses.losses import mean


class Hyper(NamedTuple):
    """Papernot et al. 2016 (arXiv:1511.04508), section IV.

    Attributes:
      temperature: divides the teacher's and the student's logits.
    """

    temperature: float = 100.0


def soft_labels(
    model: Any, batch: dict[str, tf.Tensor], hyper: Hyper, *, teacher: Any
) -> dict[str, tf.Tensor]:
    """The batch with `soft_label`: the teacher's probabilities, float32 [n, classes].

    Deviation: of the very images of the batch, flipped and cropped as they may be; the
    paper labels the training set once.

    Args:
      model: not used.
      batch: {"image": float32 [n, h, w, c] in [0, 1], ...}.
      teacher: `keras.Model` to logits, run in inference mode.
    """
    logits = inference(teacher)(batch["image"])
    return {**batch, "soft_label": tf.nn.softmax(logits / hyper.temperature)}


def distillation_loss(
    model: Any, batch: dict[str, tf.Tensor], hyper: Hyper
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean cross-entropy of the soft labels and the logits divided by `temperature`.

    As the paper has it: without hard labels, and without the factor of Hinton et al.
    2015 (arXiv:1503.02531) for the gradient's size.
    """
    logits = updating_pass(model, batch["image"])
    loss = tf.nn.softmax_cross_entropy_with_logits(
        batch["soft_label"], logits / hyper.temperature
    )
    return mean(loss, batch.get("weight")), logits


distillation = Defense(
    name="distillation",
    hyper=Hyper(),
    loss=distillation_loss,
    craft=soft_labels,
    parts=("teacher",),
)
