"""Forward passes of a training step, and which of them BatchNorm learns from.

    logits = updating_pass(model, images)      # once in every training step
    logits = frozen_pass(model, images)        # in training mode, nothing is updated
    attack(crafting_model(model, "training"), images, labels)

In training mode BatchNorm normalises by the statistics of the batch. Only
`updating_pass` also moves its moving statistics, those of inference: crafting never
does, and of clean and adversarial images in one step the defence says which do.
"""

from typing import Any

import keras
import tensorflow as tf

from tf_advdefense.models.precision import in_float32

_KEPT = "_tf_advdefense_frozen"  # the entry of a model's `vars` that holds its pass


def updating_pass(model: Any, images: tf.Tensor) -> tf.Tensor:
    """Logits in training mode: the one pass that updates the moving statistics."""
    return model(images, training=True)


def frozen_pass(model: Any, images: tf.Tensor) -> tf.Tensor:
    """Logits in training mode, with no variable updated.

    Dropout is active, with the mask that the next `updating_pass` will draw.
    """
    with keras.StatelessScope():
        return model(images, training=True)


def both_passes(
    model: Any, clean: tf.Tensor, adversarial: tf.Tensor, statistics: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Logits of clean and of adversarial images, in training mode.

    Args:
      model: `keras.Model` to logits.
      clean, adversarial: float32 [n, h, w, c] and [m, h, w, c].
      statistics: "joint": one pass on the concatenation, so that both are normalised
        by, and update, common statistics (Kurakin et al. 2017, arXiv:1611.01236,
        section 3). "clean" or "adversarial": a pass each, normalised by its own
        statistics; the named one updates the moving statistics.
    """
    if statistics == "joint":
        logits = updating_pass(model, tf.concat([clean, adversarial], axis=0))
        size = tf.shape(clean)[0]
        return logits[:size], logits[size:]
    if statistics == "clean":
        return updating_pass(model, clean), frozen_pass(model, adversarial)
    return frozen_pass(model, clean), updating_pass(model, adversarial)


class FrozenPass:
    """`frozen_pass` of a model, as a function from images to logits."""

    def __init__(self, model: Any):
        self._model = model

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        with in_float32(self._model):  # as attacks run any model
            return frozen_pass(self._model, images)


def crafting_model(model: Any, craft_bn: str) -> Any:
    """What an attack inside a training step attacks.

    Args:
      model: `keras.Model`.
      craft_bn: "inference", BatchNorm by its moving statistics and no dropout, or
        "training", as `frozen_pass`.

    Returns:
      The model itself, or one and the same `FrozenPass` at each call, so that nothing
      is traced twice. It is kept in the model itself and lives as long.
    """
    if craft_bn == "inference":
        return model  # Attacks run models in inference mode.
    return vars(model).setdefault(_KEPT, FrozenPass(model))
