"""The L1 ball cut by the images' bounds: where L1 attacks have to stay.

    eta = project(eta, eps, clip_min - x, clip_max - x)

To cut the bounds after a projection on the ball alone would waste radius (Croce and
Hein 2021, arXiv:2103.01208, section 2): this is the projection on both at once.
"""

import tensorflow as tf

_HALVINGS = 24  # what float32 can tell apart


def project(eta, radius, low, high):
    """The nearest perturbation of L1 norm `radius` at most, and in [low, high].

    Args:
      eta: float32 `[n, ...]`.
      radius: a number.
      low, high: like eta, with low <= 0 <= high.
    """
    axes = list(range(1, len(eta.shape)))
    size, room = tf.abs(eta), tf.where(eta > 0, high, -low)

    def shrunk(level):
        """All entries smaller by `level`, but not beyond 0, and cut to their room."""
        return tf.minimum(tf.maximum(size - level, 0.0), room)

    def fits(level):
        return tf.reduce_sum(shrunk(level), axes, keepdims=True) <= radius

    def halve(lower, upper):
        middle = (lower + upper) / 2
        enough = fits(middle)
        return tf.where(enough, lower, middle), tf.where(enough, middle, upper)

    zero = tf.zeros_like(tf.reduce_max(size, axes, keepdims=True))
    _, level = tf.while_loop(
        lambda lower, upper: True,
        halve,
        (zero, tf.reduce_max(size, axes, keepdims=True)),
        maximum_iterations=_HALVINGS,
    )
    return tf.sign(eta) * shrunk(tf.where(fits(zero), zero, level))
