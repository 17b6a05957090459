"""Forward passes of a training step, and which of them BatchNorm learns from.

    logits = updating_pass(model, images)      # once in every training step
    logits = frozen_pass(model, images)        # in training mode, nothing is updated
    attack(crafting_model(model, "training"), images, labels)

In training mode BatchNorm normalises by the statistics of the batch. Only
`updating_pass` also moves its moving statistics, those of inference: crafting never
does, and of clean and adversarial images in one step the defence says which do.
"""

import weakref

import keras
import tensorflow as tf

CRAFT_BN = ("inference", "training")
STATISTICS = ("joint", "clean", "adversarial")

_FROZEN = weakref.WeakKeyDictionary()  # One function per model: traced once.


def updating_pass(model, images):
    """Logits in training mode: the one pass that updates the moving statistics."""
    return model(images, training=True)


def frozen_pass(model, images):
    """Logits in training mode, with no variable updated.

    Dropout is active, with the mask that the next `updating_pass` will draw.
    """
    with keras.StatelessScope():
        return model(images, training=True)


def both_passes(model, clean, adversarial, statistics):
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


def crafting_model(model, craft_bn):
    """What an attack inside a training step attacks.

    Args:
      model: `keras.Model`.
      craft_bn: "inference", BatchNorm by its moving statistics and no dropout, or
        "training", as `frozen_pass`.
    """
    if craft_bn == "inference":
        return model  # Attacks run models in inference mode.
    if model not in _FROZEN:
        known = weakref.ref(model)  # A strong one would keep every model alive.
        _FROZEN[model] = lambda images: frozen_pass(known(), images)
    return _FROZEN[model]
