"""Norm balls around images: projections, random points, and how far the box reaches.

    eta = project(eta, 1, radii(eps, x))               # into the L1 ball
    eta = column(eps, x) * random_ball(row_keys(seed, index), 0, x.shape[1:], 2)

A radius is float32 `[n]`, one per image; perturbations are `[n, ...]`.
"""

from collections.abc import Sequence
from typing import Any

from cleverhans.tf2.utils import clip_eta
import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core.state import column


def radii(eps: Any, x: tf.Tensor) -> tf.Tensor:
    """eps or a step's length, one number or one per image, as float32 `[n]`.

    Raises:
      ValueError: where their number is not that of the images.
    """
    eps = tf.cast(eps, tf.float32)
    if not eps.shape.rank:
        return tf.fill(tf.shape(x)[:1], eps)
    if not eps.shape.is_compatible_with(x.shape[:1]):
        raise ValueError(
            "`eps` must be one number or one per image. "
            f"Received: shape {eps.shape} for images of shape {x.shape}."
        )
    return eps


def project(eta: tf.Tensor, norm: float, eps: tf.Tensor) -> tf.Tensor:
    """The nearest perturbations with `norm` at most eps; CleverHans' for inf and 2.

    In norm 0, eps is the number of entries that may differ from 0: the largest stay.
    """
    if norm == 1:
        return _project_l1(eta, eps)
    if norm == 0:
        return _keep_largest(eta, eps)
    return clip_eta(eta, norm, column(eps, eta))


def lengths(eta: tf.Tensor, norm: float) -> tf.Tensor:
    """The norms of perturbations, float32 `[n]`; in norm 0 the changed entries."""
    size = _flat(tf.abs(eta))
    if norm == np.inf:
        return tf.reduce_max(size, axis=1)
    if norm == 2:
        return tf.sqrt(tf.reduce_sum(size**2, axis=1))
    return tf.reduce_sum(size if norm == 1 else tf.cast(size > 0, tf.float32), axis=1)


def dual_lengths(gradient: tf.Tensor, norm: float) -> tf.Tensor:
    """How much a step of unit `norm` can raise what the gradient is of, `[n]`."""
    return lengths(gradient, {2: 2, np.inf: 1, 1: np.inf}[norm])


def power_of_two(gradient: tf.Tensor) -> tf.Tensor:
    """Of each row the power of two at its largest entry, `[n, 1, ...]`; 0 of zeros.

    Dividing by it rounds nothing, and keeps the squares of tiny gradients from
    vanishing.
    """
    axes = list(range(1, len(gradient.shape)))
    largest = tf.reduce_max(tf.abs(gradient), axes, keepdims=True)
    exponent = tf.bitwise.bitwise_and(tf.bitcast(largest, tf.int32), 0x7F800000)
    return tf.bitcast(exponent, tf.float32)


def linear_distance(value: tf.Tensor, gradient: tf.Tensor, norm: float) -> tf.Tensor:
    """How far the zero of a linear function is in `norm`; infinity if it is constant.

    Args:
      value: float32 `[n]`, of the function.
      gradient: float32 `[n, ...]`, of any scale.
    """
    power, slope = _slope(gradient, norm)
    return tf.where(slope > 0, tf.abs(value) / power / slope, np.inf)


def slopes(gradient: tf.Tensor, norm: float) -> tf.Tensor:
    """`dual_lengths` of gradients of any scale, `[n]`."""
    power, slope = _slope(gradient, norm)
    return power * slope


def _slope(gradient, norm):
    """Its dual length as a power of two, `[n]`, and a factor from 1 on; or zeros."""
    power = power_of_two(gradient)
    slope = dual_lengths(tf.math.divide_no_nan(gradient, power), norm)
    return tf.reshape(power, [-1]), slope


def farthest(x: tf.Tensor, norm: float, clip_min: float, clip_max: float) -> tf.Tensor:
    """The distance of each image to the farthest corner of the box, float32 `[n]`."""
    return lengths(tf.maximum(x - clip_min, clip_max - x), norm)


def random_ball(
    keys: tf.Tensor, counter: Any, shape: Sequence[int], norm: float
) -> tf.Tensor:
    """Uniform draws from the unit ball, float32 `[n, *shape]`.

    Args:
      keys, counter: see `draws`.
      shape: of an image, a tuple of Python integers.
    """
    if norm == np.inf:
        return 2 * draws.uniform(keys, [counter, 0], shape) - 1
    if norm == 2:
        direction = draws.normal(keys, [counter, 0], shape)
    else:
        # A centred Laplace variable by inversion (Calafiore et al. 1998). Its size and
        # its sign are drawn apart, and its size cannot be that of log(0).
        size = -tf.math.log1p(-draws.uniform(keys, [counter, 0], shape))
        direction = size * draws.sign(keys, [counter, 1], shape)
    length = draws.uniform(keys, [counter, 2], ()) ** (1 / np.prod(shape))
    return direction * column(length / lengths(direction, norm), direction)


def _project_l1(eta, eps):
    """Soft thresholding at the level that leaves L1 norm eps (Duchi et al. 2008).

    The level is found by Michelot's iteration (1986): the mean excess of the entries
    above it, which drops entries until none is left to drop. It ends at Duchi's level
    after a few rounds and needs no sorting, which takes as long as a small gradient.
    """
    size, eps = _flat(tf.abs(eta)), eps[:, None]

    def shrink(active, _):
        above = active & (size > _level(size, active, eps))
        # Rounding must not leave a row empty; a NaN has nothing above it.
        above = tf.where(tf.reduce_any(above, axis=1, keepdims=True), above, active)
        return above, tf.reduce_any(above != active)

    active = tf.ones_like(size, tf.bool)
    active, _ = tf.while_loop(lambda _, moved: moved, shrink, (active, True))
    left = tf.nn.relu(size - _level(size, active, eps))
    outside = tf.reduce_sum(size, axis=1, keepdims=True) > eps
    flat = tf.where(outside, tf.sign(_flat(eta)) * left, _flat(eta))
    return tf.reshape(flat, tf.shape(eta))


def _level(size, active, eps):
    count = tf.reduce_sum(tf.cast(active, tf.float32), axis=1, keepdims=True)
    excess = tf.reduce_sum(tf.where(active, size, 0.0), axis=1, keepdims=True) - eps
    return excess / count


def _keep_largest(eta, count):
    """The `count` largest entries of each row; of equals, the first ones."""
    flat = _flat(eta)
    count = tf.clip_by_value(tf.cast(count, tf.int32), 0, flat.shape[1])
    most = tf.reduce_max(count)  # the largest only: sorting them all is slow
    place = tf.math.top_k(tf.abs(flat), most).indices
    value = tf.gather(flat, place, batch_dims=1)
    value = tf.where(tf.range(most) < count[:, None], value, 0.0)
    row = tf.broadcast_to(tf.range(tf.shape(flat)[0])[:, None], tf.shape(place))
    kept = tf.scatter_nd(tf.stack([row, place], axis=2), value, tf.shape(flat))
    return tf.reshape(kept, tf.shape(eta))


def _flat(values):
    return tf.reshape(values, [tf.shape(values)[0], values.shape[1:].num_elements()])
