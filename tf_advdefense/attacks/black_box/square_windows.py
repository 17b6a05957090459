"""Where the Square attack looks next: windows of its schedule, and their bumps.

A window is drawn anywhere in the image with equal chances; its side follows from how
often the area was halved by then. In L2 and L1 the change that goes into one has the
shape of two opposite bumps. `draw(function, number, *args)` calls a function of `draws`
with a key per row, and a number that tells one draw of a query from the others.

Sizes and shapes are those of Andriushchenko et al. 2019 (arXiv:1912.00049), and in L1
of Croce and Hein 2021 (arXiv:2103.01208). `shape` is that of a batch of images,
`[n, height, width, channels]`, and `hyper` is that of `square`.
"""

from collections.abc import Callable
from collections.abc import Sequence
import math
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core.draws import integer
from tf_advdefense.attacks.core.draws import sign

# After each of these queries, of 10,000, windows have half the area.
_HALVINGS = np.array([10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000])


class Window(NamedTuple):
    """A square in each image."""

    top: tf.Tensor  # int32 [n]
    left: tf.Tensor  # int32 [n]
    mask: tf.Tensor  # bool [n, h, w, 1]: the pixels inside


def level_and_side(
    turn: tf.Tensor, shape: Sequence, hyper: Any
) -> tuple[tf.Tensor, tf.Tensor]:
    """How often windows have halved by a turn, and their side; int32 `[n]` each.

    Args:
      turn: int32 `[n]`, of a restart: 0 is its start, 1 its first window.
      shape: of the images.
      hyper: of the attack.
    """
    query = tf.cast(turn - 1, tf.int64)
    if hyper.resc_schedule:
        query = query * 10_000 // hyper.n_queries
    level = tf.reduce_sum(tf.cast(query[:, None] > _HALVINGS, tf.int32), axis=1)
    return level, tf.gather(np.int32(window_sides(shape, hyper)), level)


def window_sides(shape: Sequence, hyper: Any) -> list[int]:
    """A window's side, in pixels, at every level of the schedule."""
    height, width = shape[1:3]
    share = hyper.p_init / 2.0 ** np.arange(len(_HALVINGS) + 1)
    sides = [round(math.sqrt(part * height * width)) for part in share]
    if hyper.norm != np.inf:
        # Bumps need a middle.
        sides = [max(side, 3) // 2 * 2 + 1 for side in sides]
    largest = min(height, width)
    if hyper.norm != np.inf:
        largest -= 1 - largest % 2
    return [min(max(side, 1), largest) for side in sides]


def window_at_random(
    draw: Callable, number: int, side: tf.Tensor, shape: Sequence
) -> Window:
    """A square somewhere in each image, anywhere with equal chances.

    Args:
      draw: see the module's docstring.
      number: of its first draw; the next number is that of its second.
      side: int32 `[n]`.
      shape: of the images.
    """
    height, width = shape[1:3]
    top = draw(integer, number, (), height - side + 1)
    left = draw(integer, number + 1, (), width - side + 1)
    rows, columns = _covers(top, side, height), _covers(left, side, width)
    return Window(top, left, rows[:, :, None, None] & columns[:, None, :, None])


def _covers(start, side, size):
    place = tf.range(size)
    return (place >= start[:, None]) & (place < (start + side)[:, None])


def placed_bump(
    level: tf.Tensor, window: Window, transposed: tf.Tensor, shape: Sequence, hyper: Any
) -> tf.Tensor:
    """The bump of each row's level in its window, float32 `[n, height, width, 1]`.

    Args:
      level: int32 `[n]`, of `level_and_side`.
      window: where it goes.
      transposed: int32 `[n]`, 1 where its halves lie side by side, 0 where one lies
        above the other.
      shape: of the images.
      hyper: of the attack.
    """
    sides = window_sides(shape, hyper)
    largest = max(sides)
    table = np.zeros((2, len(sides), largest, largest), np.float32)
    for k, side in enumerate(sides):
        table[0, k, :side, :side] = bump(side, hyper.norm)
        table[1, k, :side, :side] = table[0, k, :side, :side].T

    def within(start, size):
        return tf.clip_by_value(tf.range(size) - start[:, None], 0, largest - 1)

    rows, columns = within(window.top, shape[1]), within(window.left, shape[2])
    pattern = (transposed * len(sides) + level)[:, None, None]
    place = (pattern * largest + rows[:, :, None]) * largest + columns[:, None, :]
    return tf.where(window.mask, tf.gather(table.ravel(), place)[..., None], 0.0)


def tiles(x: tf.Tensor, norm: float, draw: Callable) -> tf.Tensor:
    """Five rows of bumps, each in one of two directions, with a sign per channel.

    Args:
      x: float32 `[n, height, width, channels]`.
      norm: 2 or 1.
      draw: see the module's docstring.

    Returns:
      float32 like x.
    """
    height, width, channels = x.shape[1:]
    side = max(min(height, width) // 5, 1)
    rows, columns = height // side, width // side
    one = bump(side, norm).astype(np.float32)
    tiled, turned = (np.tile(b, (rows, columns))[..., None] for b in (one, one.T))

    def spread(values):
        return tf.repeat(tf.repeat(values, side, axis=1), side, axis=2)

    upright = spread(draw(sign, 6, (rows, columns, 1))) > 0
    signs = spread(draw(sign, 7, (rows, columns, channels)))
    eta = tf.where(upright, tiled, turned) * signs
    top, left = (height - rows * side) // 2, (width - columns * side) // 2
    below, right = height - rows * side - top, width - columns * side - left
    return tf.pad(eta, [[0, 0], [top, below], [left, right], [0, 0]])


def bump(side: int, norm: float) -> np.ndarray:
    """Two opposite halves that fall off from their middles, `[side, side]`, norm 1."""
    half = side // 2
    halves = np.concatenate([_peak(half, side, norm), -_peak(side - half, side, norm)])
    return halves / np.linalg.norm(halves.ravel(), norm)


def _peak(height, width, norm):
    """Squares that grow around the middle, each weaker than the one inside, norm 1."""
    y, x = np.indices((height, width))
    ring = np.maximum(np.abs(y - height // 2), np.abs(x - width // 2))
    weights = 1.0 / np.arange(1, max(height, width) // 2 + 2) ** (4 if norm == 1 else 2)
    peak = np.cumsum(weights[::-1])[::-1][ring]
    return peak / max(np.linalg.norm(peak.ravel(), norm), 1e-12)
