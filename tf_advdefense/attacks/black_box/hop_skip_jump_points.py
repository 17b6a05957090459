"""The points that HopSkipJump asks a model about, and their geometry.

Each function takes an attack's state, a row per image, and its settings.
`hop_skip_jump_phases` tells which row asks about which.
"""

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core.balls import lengths
from tf_advdefense.attacks.core.stages import column
from tf_advdefense.attacks.core.stages import where

STEPS = {
    "geometric_progression": 0.5 ** np.arange(25),
    "grid_search": np.logspace(-4, 0, 20),
}
_FINE_STARTS = 10  # random images that are noise of single pixels


def own(state, settings):
    return state["image"]


def _counter(state):
    return [state["iteration"] + 1, state["evaluation"]]


def start(state, settings):
    """Random images; where some are given, these come first."""
    random = _random_images(state, settings)
    starts = where(is_given(state, settings), state["far"], random)
    return clip(starts, settings)


def _random_images(state, settings):
    """Uniform noise; after ten failures of squares of 1, 2, 4 ... pixels in turn.

    Noise of single pixels looks all alike to many models.
    """
    low, scale = settings["clip_min"], settings["clip_max"] - settings["clip_min"]
    shape = state["image"].shape[1:]
    noise = draws.uniform(state["keys"], _counter(state), shape)
    sides = int(np.log2(max(shape[:2]))) + 1
    side = 2 ** (tf.maximum(state["evaluation"] - _FINE_STARTS, 0) % sides)
    for axis in (1, 2):
        place = tf.range(shape[axis - 1])
        corner = place - place % side[:, None]
        noise = tf.gather(noise, corner, axis=axis, batch_dims=1)
    return low + scale * noise


def is_given(state, settings):
    given = settings["image_target"] is not None
    return (state["evaluation"] == 0) & given


def blend(state, settings, share=None):
    """A share of the way from the image to `far`, by default the middle of two."""
    share = column(middle(state) if share is None else share, state["image"])
    return clip((1 - share) * state["image"] + share * state["far"], settings)


def project(state, settings, share=None):
    """`far`, brought nearer to a share of its distance: the middle of two."""
    if settings["norm"] == 2:
        return blend(state, settings, share)
    image, far = state["image"], state["far"]
    share = column(middle(state) if share is None else share, image)
    radius = share * column(distances(far, image, settings), image)
    cut = tf.clip_by_value(far, image - radius, image + radius)
    # The whole way's radius is rounded.
    return clip(tf.where(share < 1, cut, far), settings)


def middle(state):
    """Of the shares between which a row bisects."""
    return (state["low"] + state["high"]) / 2


def sample(state, settings):
    noise = scaled(delta(state, settings), _noise(state, settings))
    return clip(state["center"] + noise, settings)


def _noise(state, settings):
    """A random direction per row, of length 1 in the L2 norm."""
    shape = state["image"].shape[1:]
    if settings["norm"] == 2:
        noise = draws.normal(state["keys"], _counter(state), shape)
    else:
        noise = 2 * draws.uniform(state["keys"], _counter(state), shape) - 1
    return unit(noise)


def scaled(sizes, vectors):
    return column(sizes, vectors) * vectors


def unit(vectors):
    axes = list(range(1, len(vectors.shape)))
    length = tf.sqrt(tf.reduce_sum(vectors**2, axes, keepdims=True))
    return tf.math.divide_no_nan(vectors, length)


def delta(state, settings):
    """How far from the center to sample: eq. 15 of the paper."""
    size = _size(state)
    scale = np.sqrt(size) if settings["norm"] == 2 else size
    return tf.where(
        state["iteration"] == 0,
        0.1 * (settings["clip_max"] - settings["clip_min"]),
        scale * theta(state, settings) * state["reach"],
    )


def _size(state):
    return state["image"].shape[1:].num_elements()


def theta(state, settings):
    """The share of the way that a projection is exact to."""
    size = _size(state)
    return settings["gamma"] / size ** (1.5 if settings["norm"] == 2 else 2.0)


def step(state, settings):
    """Along the direction, by one size after the other, in units of the distance."""
    search = settings["stepsize_search"]
    # Rows in another phase may have counted further.
    tried = tf.minimum(state["evaluation"], tries(settings) - 1)
    size = tf.gather(tf.constant(STEPS[search], tf.float32), tried)
    if search == "geometric_progression":
        size /= tf.sqrt(tf.cast(state["iteration"] + 1, tf.float32))
    step = scaled(size * state["distance"], state["direction"])
    return clip(state["center"] + step, settings)


def distances(a, b, settings):
    """Between two batches of images, in the norm of the attack; float32 `[n]`."""
    return lengths(a - b, settings["norm"])


def clip(points, settings):
    return tf.clip_by_value(points, settings["clip_min"], settings["clip_max"])


def tries(settings):
    return len(STEPS[settings["stepsize_search"]])
