"""Losses on the images that a batch brings: clean ones, or clean and adversarial.

loss, clean_logits = plain(model, {"image": images, "label": labels})
"""

import tensorflow as tf

from tf_advdefense.defenses.forward import both_passes
from tf_advdefense.defenses.forward import updating_pass


def cross_entropy(labels, logits, smoothing=0.0):
    """Mean cross-entropy of labels, int64 [n], and logits [n, classes]; a scalar.

    With `smoothing` that share of the label's probability is spread evenly over all
    classes (Szegedy et al. 2016, arXiv:1512.00567, section 7).
    """
    true = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if smoothing:
        even = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
        true = (1 - smoothing) * true + smoothing * even
    return tf.reduce_mean(true)


def plain(model, batch, *, temperature=1.0, label_smoothing=0.0):
    """Cross-entropy on the clean images: no defence.

    Args:
      model: images [n, h, w, c] in [0, 1] to logits; run in training mode.
      batch: {"image": float32 [n, h, w, c], "label": int64 [n]}.
      temperature: divides the logits; other than 1 for a teacher of `distillation`.
      label_smoothing: see `cross_entropy`; regularises a network trained for long.

    Returns:
      (loss: scalar, clean_logits: [n, num_classes]).
    """
    logits = updating_pass(model, batch["image"])
    loss = cross_entropy(batch["label"], logits / temperature, label_smoothing)
    return loss, logits


def mixed(model, batch, *, label_smoothing=0.0):
    """Mean cross-entropy over clean and adversarial images in one forward pass.

    One pass on the concatenation keeps clean and adversarial images in the same
    BatchNorm statistics (Kurakin et al. 2017, arXiv:1611.01236, section 3), and the
    mean weighs both halves by their share of the batch. Labels are the true ones.

    Args:
      model, batch, label_smoothing: as `plain`; `batch` also holds `adv_image` and
        `adv_label`.
    """
    clean, adversarial = both_passes(
        model, batch["image"], batch["adv_image"], statistics="joint"
    )
    labels = tf.concat([batch["label"], batch["adv_label"]], axis=0)
    logits = tf.concat([clean, adversarial], axis=0)
    return cross_entropy(labels, logits, label_smoothing), clean
