"""No defence: cross-entropy on the clean images."""

from typing import Any
from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.defenses import losses
from tf_advdefense.defenses.defense import Defense
from tf_advdefense.defenses.forward import updating_pass


class Hyper(NamedTuple):
    """Plain training.

    Attributes:
      temperature: divides the logits in the loss; other than 1 for a teacher of
        `distillation`.
      label_smoothing: in [0, 1], see `losses.cross_entropy`; regularises a network
        trained for long.
    """

    temperature: float = 1.0
    label_smoothing: float = 0.0


def plain(
    model: Any,
    batch: dict[str, tf.Tensor],
    hyper: Hyper,
    *,
    criterion: losses.Criterion | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss of the clean images, a scalar, and their logits [n, classes].

    Args:
      model: `keras.Model` from images in [0, 1] to logits; run in training mode.
      batch: {"image": float32 [n, h, w, c], "label": int64 [n]}.
      criterion: another loss than the cross-entropy.
    """
    logits = updating_pass(model, batch["image"])
    criterion = losses.smoothed(criterion, hyper.label_smoothing)
    loss = criterion(
        losses.targets_of(batch),
        logits / hyper.temperature,
        weight=batch.get("weight"),
    )
    return loss, logits


none = Defense(name="none", hyper=Hyper(), loss=plain)
