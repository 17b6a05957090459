"""Steps to a hyperplane, in three norms and inside the images' bounds, row by row.

    step = to_hyperplane(x, value, gradient, np.inf, clip_min=0.0, clip_max=1.0)

A linearised decision function of the images, `value + <gradient, step>`, is zero on a
hyperplane; the attacks that linearise a model go to its nearest point.
"""

import tensorflow as tf


def to_hyperplane(
    x: tf.Tensor,
    value: tf.Tensor,
    gradient: tf.Tensor,
    norm: float,
    clip_min: float,
    clip_max: float,
) -> tf.Tensor:
    """The shortest step from x inside the bounds to `value + <gradient, step> = 0`.

    Where no image inside the bounds lies on the hyperplane, the step goes as far
    towards it as they let it; where the gradient is zero, it is zero. Croce and Hein
    2020 (arXiv:1907.02044) sort the entries for it; here the L-infinity and the L2 norm
    share an iteration that is as exact without.

    Args:
      x, gradient: float32 `[n, ...]`.
      value: float32 `[n]`.
      norm: np.inf, 2 or 1.
    """
    weight, goal = tf.abs(_flat(gradient)), tf.abs(value)[:, None]
    direction = -tf.sign(value)[:, None] * tf.sign(_flat(gradient))
    room = tf.where(direction > 0, clip_max - _flat(x), _flat(x) - clip_min)
    # Of gradients as small as 1e-30 the squares would vanish: only ratios matter.
    scale = tf.reduce_max(weight, axis=1, keepdims=True)
    weight, goal = _ratio(weight, scale), _ratio(goal, scale)
    if norm == 1:
        size = _steepest_first(weight, room, goal)
    else:
        size = _rise(weight, weight if norm == 2 else tf.ones_like(weight), room, goal)
    return tf.reshape(direction * size, tf.shape(x))


def _rise(weight, speed, room, goal):
    """`min(level * speed, room)` at the level where its weighted sum is the goal.

    The sum is a concave, piecewise linear function of the level, so that Newton's steps
    from below never overshoot, and end on the piece of the solution: exactly, after a
    handful of steps.
    """

    def step(level, _):
        open_ = level * speed < room
        filled = tf.where(open_, level * speed, room)
        missing = goal - tf.reduce_sum(weight * filled, axis=1, keepdims=True)
        slope = tf.where(open_, weight * speed, 0.0)
        risen = level + _ratio(missing, tf.reduce_sum(slope, axis=1, keepdims=True))
        # A row at its end stays there, whatever the other rows still need.
        rises = risen > level * (1 + 1e-6)
        return tf.where(rises, risen, level), rises

    start = tf.zeros_like(goal)
    level, _ = tf.while_loop(
        lambda _, rises: tf.reduce_any(rises),
        step,
        (start, tf.ones_like(start, tf.bool)),
        maximum_iterations=100,
    )
    return tf.minimum(level * speed, room)


def _steepest_first(weight, room, goal):
    """Takes all the room of the largest weights, one by one, up to the goal."""
    order = tf.argsort(weight, axis=1, direction="DESCENDING", stable=True)
    room = tf.gather(room, order, batch_dims=1)
    weight = tf.gather(weight, order, batch_dims=1)
    before = tf.cumsum(weight * room, axis=1, exclusive=True)
    size = tf.clip_by_value(_ratio(goal - before, weight), 0.0, room)
    return tf.gather(size, tf.argsort(order, axis=1), batch_dims=1)


_ratio = tf.math.divide_no_nan


def _flat(x):
    return tf.reshape(x, [tf.shape(x)[0], -1])
