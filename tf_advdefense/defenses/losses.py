"""Losses that several defences share, each on a batch in training mode.

loss = cross_entropy(labels, logits)
loss, clean_logits = mixed(model, batch)
loss, clean_logits = adversarial(model, batch, adv_weight=0.5)
"""

from typing import Any

import tensorflow as tf

from tf_advdefense.defenses.forward import both_passes
from tf_advdefense.defenses.forward import updating_pass


def mean(values: tf.Tensor, weight: tf.Tensor | None = None) -> tf.Tensor:
    """The mean of values [n], each times its weight [n] as Keras has it; a scalar."""
    return tf.reduce_mean(values if weight is None else values * weight)


def cross_entropy(
    labels: tf.Tensor,
    logits: tf.Tensor,
    smoothing: float = 0.0,
    weight: tf.Tensor | None = None,
) -> tf.Tensor:
    """Mean cross-entropy of labels, int64 [n], and logits [n, classes]; a scalar.

    With `smoothing` that share of the label's probability is spread evenly over all
    classes (Szegedy et al. 2016, arXiv:1512.00567, section 7). `weight`, float32 [n],
    as of `mean`.
    """
    true = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if smoothing:
        even = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
        true = (1 - smoothing) * true + smoothing * even
    return mean(true, weight)


def mixed(
    model: Any, batch: dict[str, tf.Tensor], label_smoothing: float = 0.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean cross-entropy over clean and adversarial images in one forward pass.

    One pass on the concatenation keeps clean and adversarial images in the same
    BatchNorm statistics (Kurakin et al. 2017, arXiv:1611.01236, section 3), and the
    mean weighs both halves by their share of the batch. Labels are the true ones.

    Args:
      model: `keras.Model` from images in [0, 1] to logits.
      batch: {"image": float32 [n, h, w, c], "label": int64 [n], "adv_image":
        float32 [m, h, w, c], "adv_label": int64 [m]}.
      label_smoothing: see `cross_entropy`.

    Returns:
      (loss, a scalar; logits of the clean images, [n, classes]).
    """
    if "weight" in batch:
        raise ValueError(
            "A defence that trains on adversarial sets cannot weigh its images. "
            "Received: `sample_weight`. Leave it out."
        )
    clean, adversarial_logits = both_passes(
        model, batch["image"], batch["adv_image"], statistics="joint"
    )
    labels = tf.concat([batch["label"], batch["adv_label"]], axis=0)
    logits = tf.concat([clean, adversarial_logits], axis=0)
    return cross_entropy(labels, logits, label_smoothing), clean


def adversarial(
    model: Any,
    batch: dict[str, tf.Tensor],
    adv_weight: float = 1.0,
    statistics: str = "joint",
) -> tuple[tf.Tensor, tf.Tensor]:
    """The weighted sum of the cross-entropies of clean and adversarial images.

    Goodfellow et al. 2015 (arXiv:1412.6572), section 6, weigh both by 1/2; Madry et
    al. 2018 (arXiv:1706.06083), equation 2.1, train on adversarial images alone.

    Args:
      model, batch: as `mixed`.
      adv_weight: in (0, 1], of the adversarial images; at 1 clean ones are not seen.
      statistics: of BatchNorm, see `forward.both_passes`.

    Returns:
      (loss, clean logits, or at weight 1 those of the first n adversarial images).
    """
    weight, adv_image_weight = batch.get("weight"), _weight_of_copies(batch)
    if adv_weight == 1:
        logits = updating_pass(model, batch["adv_image"])
        size = tf.shape(batch["label"])[0]
        loss = cross_entropy(batch["adv_label"], logits, weight=adv_image_weight)
        return loss, logits[:size]
    clean, adversarial_logits = both_passes(
        model, batch["image"], batch["adv_image"], statistics
    )
    loss = (1 - adv_weight) * cross_entropy(batch["label"], clean, weight=weight)
    loss += adv_weight * cross_entropy(
        batch["adv_label"], adversarial_logits, weight=adv_image_weight
    )
    return loss, clean


def _weight_of_copies(batch):
    """Each adversarial copy weighs as its image does."""
    if "weight" not in batch:
        return None
    copies = tf.shape(batch["adv_label"])[0] // tf.shape(batch["label"])[0]
    return tf.tile(batch["weight"], [copies])
