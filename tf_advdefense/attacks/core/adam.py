"""Adam (Kingma and Ba 2014, arXiv:1412.6980), on state with a row per image."""

from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.attacks.core.state import column


class Moments(NamedTuple):
    """Adam's part of a state."""

    first: tf.Tensor  # [n, ...]: the mean gradient
    second: tf.Tensor  # [n, ...]: the mean squared gradient


def at_rest(x: tf.Tensor) -> Moments:
    """The moments before the first step."""
    zeros = tf.zeros_like(x)
    return Moments(zeros, zeros)


def step(
    moments: Moments, gradient: tf.Tensor, iteration: tf.Tensor, learning_rate: float
) -> tuple[tf.Tensor, Moments]:
    """`(step, new moments)`; the form at the end of section 2, with its constants.

    Args:
      moments: before the step.
      gradient: float32 `[n, ...]`.
      iteration: int32 `[n]`, from 1 on.
      learning_rate: of Adam.
    """
    t = tf.cast(iteration, tf.float32)
    rate = learning_rate * tf.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    first = 0.9 * moments.first + 0.1 * gradient
    second = 0.999 * moments.second + 0.001 * gradient**2
    change = column(rate, first) * first / (tf.sqrt(second) + 1e-8)
    return change, Moments(first, second)
