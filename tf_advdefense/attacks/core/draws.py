"""Random draws by row: the same for an image in any batch, at any place in it.

    keys = row_keys(seed, index)                   # int64 [n], kept in the state
    uniform(keys, iteration, (5, 3))                # float32 [n, 5, 3] in [0, 1)
    normal(keys, [iteration, direction], x.shape[1:])

TensorFlow's stateless draws take one seed a call, so that a draw per image is a loop
over the batch, slow in every iteration. Here bits are a hash of (key, counter,
position) by the finaliser of SplitMix64 (Steele et al. 2014,
doi:10.1145/2714064.2660195), a dozen integer operations per entry on whole batches. The
same numbers come on every device.
"""

from collections.abc import Sequence
import math
from typing import Any

import numpy as np
import tensorflow as tf


def row_keys(seed: Any, index: Any) -> tf.Tensor:
    """A key per image, int64 `[n]`, from a seed and the images' indices `[n]`."""
    return _mix(_mix(tf.cast(seed, tf.int64) + _GOLDEN) + tf.cast(index, tf.int64))


def uniform(keys: tf.Tensor, counter: Any, shape: Sequence[int]) -> tf.Tensor:
    """Uniform float32 in [0, 1), `[n, *shape]`.

    Args:
      keys: int64 `[n]`, of `row_keys`.
      counter: an integer, an integer per row, or a list of such: what tells this draw
        from the other draws of the image.
      shape: a tuple of Python integers.
    """
    # The upper 24 bits: all that float32 holds.
    return tf.cast(_shift(_bits(keys, counter, shape), 40), tf.float32) / 2.0**24


def sign(keys: tf.Tensor, counter: Any, shape: Sequence[int]) -> tf.Tensor:
    """-1 or 1 with equal chances, float32 `[n, *shape]`; arguments as of `uniform`."""
    return tf.where(_bits(keys, counter, shape) < 0, -1.0, 1.0)


def integer(
    keys: tf.Tensor, counter: Any, shape: Sequence[int], bound: Any
) -> tf.Tensor:
    """Uniform int32 in [0, bound), `[n, *shape]`; `bound` below 2^16, also a tensor."""
    bound = tf.cast(bound, tf.float32)
    return tf.cast(tf.floor(uniform(keys, counter, shape) * bound), tf.int32)


def normal(keys: tf.Tensor, counter: Any, shape: Sequence[int]) -> tf.Tensor:
    """Standard normal float32, `[n, *shape]`; arguments as of `uniform`."""
    # Box and Muller 1958, on halves of 64 bits; the radius must not take log(0).
    bits = _bits(keys, counter, shape)
    radius = tf.sqrt(-2 * tf.math.log(_unit(_shift(bits, 40)) + 2.0**-25))
    angle = 2 * math.pi * _unit(bits & 0xFFFFFF)
    return radius * tf.cos(angle)


def _unit(bits):
    return tf.cast(bits, tf.float32) / 2.0**24


def _bits(keys, counter, shape):
    for part in counter if isinstance(counter, (list, tuple)) else [counter]:
        keys = _mix(keys * 3 + tf.cast(part, tf.int64))
    position = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    return _mix(tf.reshape(keys, [-1] + [1] * len(shape)) + position * _GOLDEN)


_GOLDEN = np.int64(0x9E3779B97F4A7C15 - 2**64)


def _mix(x):
    x = (x ^ _shift(x, 30)) * np.int64(0xBF58476D1CE4E5B9 - 2**64)
    x = (x ^ _shift(x, 27)) * np.int64(0x94D049BB133111EB - 2**64)
    return x ^ _shift(x, 31)


def _shift(x, bits):
    # Of int64 the shift is arithmetic: the sign that it drags in is masked off.
    return tf.bitwise.right_shift(x, np.int64(bits)) & ((1 << (64 - bits)) - 1)
