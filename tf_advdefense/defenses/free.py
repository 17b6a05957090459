"""Free adversarial training (Shafahi et al. 2019, arXiv:1904.12843), algorithm 1.

    delta = perturbation(batch_size, image_shape)
    loss, logits = free_at(model, batch, perturbation=delta, eps=8 / 255)

Every batch is trained on `replays` times in a row, which `datasets.pipeline` does. The
backward pass of each update also gives the gradient of the images, by which the
perturbation takes the step of its next replay: robustness at the price of plain
training, with `replays` times fewer epochs.
"""

import tensorflow as tf

from tf_advdefense.defenses.forward import updating_pass
from tf_advdefense.defenses.given_images import cross_entropy


def perturbation(batch_size, image_shape):
    """The perturbation before the first step: zero, for each place of a batch."""
    return tf.Variable(tf.zeros([batch_size, *image_shape]), name="perturbation")


def free_at(model, batch, *, perturbation, eps=8 / 255, replays=8):
    """Cross-entropy of the perturbed images, whose gradient moves the perturbation.

    The perturbation is kept from replay to replay and from batch to batch.

    Args:
      model: `keras.Model` to logits.
      batch: {"image", "label"}.
      perturbation: `tf.Variable` like the images, part of a training's checkpoint.
      eps: radius of the L-inf ball, and length of a step.
      replays: updates per batch, m in the paper; done by the data pipeline.

    Returns:
      (loss, logits of the perturbed images).
    """
    adv = _perturbed(batch["image"], perturbation, eps)
    logits = updating_pass(model, adv)
    return cross_entropy(batch["label"], logits), logits


def _perturbed(images, perturbation, eps):
    """Images plus perturbation; differentiated, it takes its step as a side effect."""

    @tf.custom_gradient
    def add(delta):
        def backward(gradient):
            moved = delta + eps * tf.sign(gradient)
            perturbation.assign(tf.clip_by_value(moved, -eps, eps))
            return tf.zeros_like(delta)

        return tf.clip_by_value(images + delta, 0.0, 1.0), backward

    # A variable: the tape watches it, as it does the model's.
    return add(tf.convert_to_tensor(perturbation))
