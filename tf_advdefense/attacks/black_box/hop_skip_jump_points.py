"""The points that HopSkipJump queries a model with, and their geometry.

Functions of `(state, hyper, task)` give a point per row, float32 `[n, height, width,
channels]`; `state` and `hyper` are those of `hop_skip_jump`. `hop_skip_jump_phases`
tells which row queries which.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.balls import lengths
from tf_advdefense.attacks.core.state import column
from tf_advdefense.attacks.core.state import where

# The sizes of steps that are tried, in their order.
STEPS = {
    "geometric_progression": 0.5 ** np.arange(25),
    "grid_search": np.logspace(-4, 0, 20),
}
_LEAST_PROBE = 2.0**-18  # of an entry, in units of the way: 64 steps of float32
_FINE_STARTS = 10  # random images that are noise of single pixels


def itself(state: Any, hyper: Any, task: Task) -> tf.Tensor:
    """The image itself."""
    return state.image


def start(state: Any, hyper: Any, task: Task) -> tf.Tensor:
    """Random images; where some are given, these come first."""
    random = _random_images(state, task)
    return _clip(where(is_given(state, hyper), state.far, random), task)


def is_given(state: Any, hyper: Any) -> tf.Tensor:
    """Whether a row's start is that of `image_target`, bool `[n]`."""
    return (state.evaluation == 0) & (hyper.image_target is not None)


def _random_images(state, task):
    """Uniform noise; after ten failures of squares of 1, 2, 4 ... pixels in turn.

    Noise of single pixels looks all alike to many models.
    """
    low, scale = task.clip_min, task.clip_max - task.clip_min
    shape = state.image.shape[1:]
    noise = draws.uniform(state.key, _counter(state), shape)
    sides = int(np.log2(max(shape[:2]))) + 1
    side = 2 ** (tf.maximum(state.evaluation - _FINE_STARTS, 0) % sides)
    for axis in (1, 2):
        place = tf.range(shape[axis - 1])
        corner = place - place % side[:, None]
        noise = tf.gather(noise, corner, axis=axis, batch_dims=1)
    return low + scale * noise


def _counter(state):
    """What tells a draw from the others of its row."""
    return [state.iteration + 1, state.evaluation]


def blend(
    state: Any, hyper: Any, task: Task, share: tf.Tensor | None = None
) -> tf.Tensor:
    """A share `[n]` of the way from the image to `far`, by default the `middle`."""
    share = column(middle(state) if share is None else share, state.image)
    return _clip((1 - share) * state.image + share * state.far, task)


def project(
    state: Any, hyper: Any, task: Task, share: tf.Tensor | None = None
) -> tf.Tensor:
    """`far`, brought nearer to a share `[n]` of its distance, by default the `middle`.

    In the L2 norm along the way to the image; in the maximum norm by cutting entries.
    """
    if hyper.norm == 2:
        return blend(state, hyper, task, share)
    image, far = state.image, state.far
    share = column(middle(state) if share is None else share, image)
    radius = share * column(distances(far, image, hyper.norm), image)
    cut = tf.clip_by_value(far, image - radius, image + radius)
    # The whole way's radius is rounded.
    return _clip(tf.where(share < 1, cut, far), task)


def middle(state: Any) -> tf.Tensor:
    """The middle of the two shares between which a row bisects, float32 `[n]`."""
    return (state.low + state.high) / 2


def sample(state: Any, hyper: Any, task: Task) -> tf.Tensor:
    """A point around `center`, at distance `delta` in a random direction."""
    noise = scaled(delta(state, hyper, task), _noise(state, hyper))
    return _clip(state.center + noise, task)


def _noise(state, hyper):
    """A random direction per row, of length 1 in the L2 norm."""
    shape = state.image.shape[1:]
    if hyper.norm == 2:
        noise = draws.normal(state.key, _counter(state), shape)
    else:
        noise = 2 * draws.uniform(state.key, _counter(state), shape) - 1
    return unit(noise)


def delta(state: Any, hyper: Any, task: Task) -> tf.Tensor:
    """How far from the center to sample, float32 `[n]`: eq. 15 of the paper."""
    size = _size(state)
    scale = np.sqrt(size) if hyper.norm == 2 else size
    # Of large images the paper's distance moves no float32 value (at 224 x 224 x 3 in
    # the maximum norm, entries by 1e-8).
    share = max(scale * theta(state, hyper), _LEAST_PROBE * np.sqrt(size))
    return tf.where(
        state.iteration == 0,
        0.1 * (task.clip_max - task.clip_min),
        share * state.reach,
    )


def theta(state: Any, hyper: Any) -> float:
    """The share of the way that a projection is exact to."""
    return hyper.gamma / _size(state) ** (1.5 if hyper.norm == 2 else 2.0)


def _size(state):
    return state.image.shape[1:].num_elements()


def step(state: Any, hyper: Any, task: Task) -> tf.Tensor:
    """Along the direction, by one size after the other, in units of the distance."""
    # Rows in another phase may have counted further.
    tried = tf.minimum(state.evaluation, tries(hyper) - 1)
    size = tf.gather(tf.constant(STEPS[hyper.stepsize_search], tf.float32), tried)
    if hyper.stepsize_search == "geometric_progression":
        size /= tf.sqrt(tf.cast(state.iteration + 1, tf.float32))
    change = scaled(size * state.distance, state.direction)
    return _clip(state.center + change, task)


def tries(hyper: Any) -> int:
    """How many sizes of a step there are to try."""
    return len(STEPS[hyper.stepsize_search])


def scaled(sizes: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    """Each row of `[n, ...]` times its size `[n]`."""
    return column(sizes, vectors) * vectors


def unit(vectors: tf.Tensor) -> tf.Tensor:
    """Each row of `[n, ...]` at length 1 in the L2 norm; zeros stay zeros."""
    axes = list(range(1, len(vectors.shape)))
    length = tf.sqrt(tf.reduce_sum(vectors**2, axes, keepdims=True))
    return tf.math.divide_no_nan(vectors, length)


def distances(a: tf.Tensor, b: tf.Tensor, norm: float) -> tf.Tensor:
    """Between two batches of images, float32 `[n]`."""
    return lengths(a - b, norm)


def _clip(points, task):
    return tf.clip_by_value(points, task.clip_min, task.clip_max)
