"""The L1 ball cut by the images' bounds: where L1 attacks have to stay.

    eta = project(eta, eps, clip_min - x, clip_max - x)

To cut the bounds after a projection on the ball alone would waste radius (Croce and
Hein 2021, arXiv:2103.01208, section 2): this is the projection on both at once.
"""

from typing import Any

import tensorflow as tf

_TOLERANCE = 1e-6  # of the radius: what float32 sums can tell


def project(eta: tf.Tensor, radius: Any, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """The nearest perturbation of L1 norm `radius` at most, and in [low, high].

    All entries shrink by the same level, but not beyond 0, and are cut to their room.
    Newton's steps find the level, inside an interval that holds it.

    Args:
      eta: float32 `[n, ...]`.
      radius: a number.
      low, high: like eta, with low <= 0 <= high.
    """
    axes = list(range(1, len(eta.shape)))
    size, room = tf.abs(eta), tf.where(eta > 0, high, -low)
    goal = radius * (1 - _TOLERANCE)

    def shrunk(level):
        return tf.minimum(tf.maximum(size - level, 0.0), room)

    def step(level, lower, upper, found):
        excess = tf.reduce_sum(shrunk(level), axes, keepdims=True) - goal
        # A row at its level stays there, whatever the other rows still need; at level
        # 0 it may be shorter than the radius.
        found |= tf.abs(excess) <= radius * _TOLERANCE
        found |= (excess < 0) & (level <= 0)
        too_long = excess > 0
        lower = tf.where(too_long, level, lower)
        upper = tf.where(too_long, upper, level)
        shrinking = tf.cast((size > level) & (size - level < room), tf.float32)
        slope = tf.reduce_sum(shrinking, axes, keepdims=True)
        next_level = level + tf.math.divide_no_nan(excess, slope)
        inside = (next_level > lower) & (next_level < upper)
        next_level = tf.where(inside, next_level, (lower + upper) / 2)
        return tf.where(found, level, next_level), lower, upper, found

    longest = tf.reduce_max(size, axes, keepdims=True)
    zero = tf.zeros_like(longest)
    level, _, upper, found = tf.while_loop(
        lambda level, lower, upper, found: tf.reduce_any(~found),
        step,
        (zero, zero, longest, tf.zeros_like(zero, tf.bool)),
        maximum_iterations=50,
    )
    return tf.sign(eta) * shrunk(tf.where(found, level, upper))
