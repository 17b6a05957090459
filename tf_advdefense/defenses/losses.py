"""Losses that several defences share, each on a batch in training mode.

loss = cross_entropy(labels, logits)
loss, clean_logits = mixed(model, batch)
loss, clean_logits = adversarial(model, batch, adv_weight=0.5)
"""

from collections.abc import Callable
import functools
from typing import Any

import tensorflow as tf

from tf_advdefense.defenses.forward import both_passes
from tf_advdefense.defenses.forward import updating_pass

# criterion(targets, logits, weight=...) -> loss, a scalar; targets as of `targets_of`.
Criterion = Callable[..., tf.Tensor]


def mean(values: tf.Tensor, weight: tf.Tensor | None = None) -> tf.Tensor:
    """The mean of values [n], each times its weight [n] as Keras has it; a scalar."""
    return tf.reduce_mean(values if weight is None else values * weight)


def cross_entropy(
    targets: tf.Tensor,
    logits: tf.Tensor,
    smoothing: float = 0.0,
    weight: tf.Tensor | None = None,
) -> tf.Tensor:
    """Mean cross-entropy of targets and logits, [n, classes]; a scalar.

    Args:
      targets: labels, int64 [n], or the classes' shares, float32 [n, classes].
      logits: float32 [n, classes].
      smoothing: the share of a target that is spread evenly over all classes (Szegedy
        et al. 2016, arXiv:1512.00567, section 7).
      weight: float32 [n], as of `mean`.
    """
    if len(targets.shape) == 1:
        true = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    else:
        true = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    if smoothing:
        even = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
        true = (1 - smoothing) * true + smoothing * even
    return mean(true, weight)


def divergence(logits: tf.Tensor, other_logits: tf.Tensor) -> tf.Tensor:
    """KL(p || q) per image, [n], of the distributions p of `logits` and q of others."""
    log_p, log_q = tf.nn.log_softmax(logits), tf.nn.log_softmax(other_logits)
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)


def smoothed(criterion: Criterion | None, smoothing: float) -> Criterion:
    """The criterion of a training: one that is given, or the cross-entropy.

    Raises:
      ValueError: in one line, for a smoothing of labels that another loss would not do.
    """
    if criterion is None:
        return functools.partial(cross_entropy, smoothing=smoothing)
    if smoothing:
        raise ValueError(
            "`label_smoothing` is the cross-entropy's own. Received: "
            f"label_smoothing={smoothing} beside another `loss`. Give it to the loss."
        )
    return criterion


def targets_of(batch: dict[str, tf.Tensor]) -> tf.Tensor:
    """What the clean images are to become: `target` where there is one, or `label`."""
    return batch.get("target", batch["label"])


def targets_of_copies(batch: dict[str, tf.Tensor]) -> tf.Tensor:
    """The same of adversarial copies of the images, any number of each."""
    if "target" not in batch:
        return batch["adv_label"]
    return tf.tile(batch["target"], [_copies(batch), 1])


def mixed(
    model: Any, batch: dict[str, tf.Tensor], criterion: Criterion = cross_entropy
) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean loss over clean and adversarial images in one forward pass.

    One pass on the concatenation keeps clean and adversarial images in the same
    BatchNorm statistics (Kurakin et al. 2017, arXiv:1611.01236, section 3), and the
    mean weighs both halves by their share of the batch. Labels are the true ones.

    Args:
      model: `keras.Model` from images in [0, 1] to logits.
      batch: {"image": float32 [n, h, w, c], "label": int64 [n], "adv_image":
        float32 [m, h, w, c], "adv_label": int64 [m]}; where the clean ones have a
        "target", the others have an "adv_target".
      criterion: the loss.

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
    adversarial_targets = batch.get("adv_target", batch["adv_label"])
    targets = tf.concat([targets_of(batch), adversarial_targets], axis=0)
    logits = tf.concat([clean, adversarial_logits], axis=0)
    return criterion(targets, logits), clean


def adversarial(
    model: Any,
    batch: dict[str, tf.Tensor],
    adv_weight: float = 1.0,
    statistics: str = "joint",
    criterion: Criterion = cross_entropy,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The weighted sum of the losses of clean images and of copies of them.

    Goodfellow et al. 2015 (arXiv:1412.6572), section 6, weigh both by 1/2; Madry et
    al. 2018 (arXiv:1706.06083), equation 2.1, train on adversarial images alone.

    Args:
      model, batch: as `mixed`.
      adv_weight: in (0, 1], of the adversarial images; at 1 clean ones are not seen.
      statistics: of BatchNorm, see `forward.both_passes`.
      criterion: the loss.

    Returns:
      (loss, clean logits, or at weight 1 those of the first n adversarial images).
    """
    weight, weight_of_copies = batch.get("weight"), _weight_of_copies(batch)
    targets, targets_then = targets_of(batch), targets_of_copies(batch)
    if adv_weight == 1:
        logits = updating_pass(model, batch["adv_image"])
        size = tf.shape(batch["label"])[0]
        return criterion(targets_then, logits, weight=weight_of_copies), logits[:size]
    clean, attacked = both_passes(model, batch["image"], batch["adv_image"], statistics)
    loss = (1 - adv_weight) * criterion(targets, clean, weight=weight)
    loss += adv_weight * criterion(targets_then, attacked, weight=weight_of_copies)
    return loss, clean


def _weight_of_copies(batch):
    """Each adversarial copy weighs as its image does."""
    if "weight" not in batch:
        return None
    return tf.tile(batch["weight"], [_copies(batch)])


def _copies(batch):
    return tf.shape(batch["adv_label"])[0] // tf.shape(batch["label"])[0]
