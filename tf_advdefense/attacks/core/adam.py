"""Adam (Kingma and Ba 2014, arXiv:1412.6980), on state with a row per image."""

import tensorflow as tf

from tf_advdefense.attacks.core.stages import column


def at_rest(x):
    """Adam's part of a state, before the first step."""
    zeros = tf.zeros_like(x)
    return {"moment": zeros, "square": zeros}


def step(state, gradient, iteration, learning_rate):
    """`(step, new moments)`; the form at the end of section 2, with its constants.

    Args:
      state: holds `moment` and `square`.
      iteration: int32 `[n]`, from 1 on.
    """
    t = tf.cast(iteration, tf.float32)
    rate = learning_rate * tf.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    moment = 0.9 * state["moment"] + 0.1 * gradient
    square = 0.999 * state["square"] + 0.001 * gradient**2
    change = column(rate, moment) * moment / (tf.sqrt(square) + 1e-8)
    return change, {"moment": moment, "square": square}
