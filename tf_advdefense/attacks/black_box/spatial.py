"""Spatial transformations: small shifts and rotations that fool a classifier.

    adv = spatial(model, images, labels)
    adv = spatial(model, images, labels, dx_min=-0.2, dx_max=0.2, n_dxs=5, n_samples=20)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]. There is
no ball: a shifted image is far from the image in every norm, and looks the same.
"""

import itertools
import math

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.draws import integer
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.gradient_check import cross_entropy
from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import compiled
from tf_advdefense.attacks.core.stages import counters
from tf_advdefense.attacks.core.stages import loop
from tf_advdefense.attacks.core.stages import select
from tf_advdefense.attacks.core.stages import staged
from tf_advdefense.attacks.core.stages import where

_BLOCK = 10  # transformations between two looks at which images are done


def init(model_fn, x, y, seed, index, settings):
    """The state of images before their first transformation."""
    return {
        "image": x,
        "framed": _framed(x, int(settings["black_border_size"])),
        "label": y,
        "best": x,
        "loss": tf.fill(tf.shape(x)[:1], -np.inf),
        "keys": row_keys(seed, index),
        **counters(x),
    }


def _framed(x, border):
    """The image made smaller, inside a black border."""
    if not border:
        return x
    height, width = x.shape[1:3]
    if 2 * border >= min(height, width):
        raise ValueError(
            "`black_border_size` must leave some of the image. Received: "
            f"black_border_size={border} for images of shape {x.shape[1:]}."
        )
    small = tf.image.resize(x, [height - 2 * border, width - 2 * border])
    return tf.pad(small, [[0, 0], [border, border], [border, border], [0, 0]])


@compiled
def advance(model_fn, state, settings):
    """A block of transformations."""
    return loop(lambda state: _try(model_fn, state, settings), state, _BLOCK)


def finish(state, settings):
    """The worst transformation's image; the image itself where the model overflows."""
    return state["best"]


def _try(model_fn, state, settings):
    moved = transform(state["framed"], *_parameters(state, settings))
    moved = tf.clip_by_value(moved, settings["clip_min"], settings["clip_max"])
    y, targeted = state["label"], settings["targeted"]
    logits, loss = losses.evaluate(model_fn, cross_entropy, moved, y)
    loss = -loss if targeted else loss
    fooled = losses.is_fooled(logits, y, targeted)
    worse = losses.is_better(fooled, loss, state["fooled"], state["loss"])
    forwards = state["forwards"] + 1
    new = {
        **state,
        "best": where(worse, moved, state["best"]),
        "loss": tf.where(worse, loss, state["loss"]),
        "fooled": state["fooled"] | fooled,
        "forwards": forwards,
        "done": forwards >= count(settings),
    }
    return select(state["done"], state, new)


def _parameters(state, settings):
    """Each row's next shift to the left and up, as parts of a side, and angle."""
    grids = [np.float32(grid) for grid in _grids(settings)]
    turn = state["forwards"]
    if settings["n_samples"] is None:
        table = np.stack(list(itertools.product(*grids)))
        # Rows that are done have come to its end.
        return tf.unstack(tf.gather(table, tf.minimum(turn, len(table) - 1)), axis=1)
    return [
        tf.gather(grid, integer(state["keys"], [turn, number], (), len(grid)))
        for number, grid in enumerate(grids)
    ]


def _grids(settings):
    return [
        np.linspace(settings[f"{name}_min"], settings[f"{name}_max"], settings[number])
        for name, number in (("dx", "n_dxs"), ("dy", "n_dys"), ("angle", "n_angles"))
    ]


def count(settings):
    """How many transformations are tried."""
    grid = settings["n_dxs"] * settings["n_dys"] * settings["n_angles"]
    return settings["n_samples"] or grid


def transform(x, dx, dy, angle):
    """Turned around the middle, counterclockwise, then moved to the left and up.

    Black comes in from outside. Bilinear, in one interpolation.

    Args:
      dx, dy: float32 `[n]`, parts of the width and of the height.
      angle: float32 `[n]`, in degrees.
    """
    height, width = x.shape[1:3]
    radians = angle * (math.pi / 180)
    cos, sin = tf.cos(radians), tf.sin(radians)
    # From a place in the result back to its place in x: shift, then turn backwards,
    # both around the middle pixel.
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    from_x, from_y = dx * width - middle_x, dy * height - middle_y
    rows = [
        [cos, -sin, cos * from_x - sin * from_y + middle_x],
        [sin, cos, sin * from_x + cos * from_y + middle_y],
        [tf.zeros_like(cos)] * 2,
    ]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=x,
        transforms=tf.stack(sum(rows, []), axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


@staged((None,), Stages(init, advance, finish), gradient=False)
def spatial(
    *,
    n_samples=None,
    dx_min=-0.1,
    dx_max=0.1,
    n_dxs=2,
    dy_min=-0.1,
    dy_max=0.1,
    n_dys=2,
    angle_min=-30.0,
    angle_max=30.0,
    n_angles=6,
    black_border_size=0.0,
):
    """Engstrom et al. 2019 (arXiv:1712.02779), after CleverHans 3.

    Every combination of shifts and angles is tried on every image, and the one with the
    largest cross-entropy kept, among those that fool the model if there are any (those
    do not always have the largest). What differs from CleverHans: a shift is done once
    (there twice, so that it was twice as long), `dx` counts in widths (there heights),
    shift and rotation share one interpolation, and the result keeps the bounds.

    Args:
      n_samples: try this many random points of the grid instead of all, each image its
        own.
      dx_min, dx_max, n_dxs: shifts to the left, in widths: the ends and the number of
        values, at equal distances.
      dy_min, dy_max, n_dys: shifts up, in heights.
      angle_min, angle_max, n_angles: rotations, counterclockwise, in degrees.
      black_border_size: shrink the image to leave a black border of so many pixels.
    """
    if n_samples is not None and (n_samples < 1 or n_samples != int(n_samples)):
        raise ValueError(
            f"`n_samples` must be a whole number from 1 on. Received: {n_samples}."
        )
    ends = {"dx_min": dx_min, "dx_max": dx_max, "dy_min": dy_min, "dy_max": dy_max}
    for name, value in ends.items():
        if not -1 <= value <= 1:
            raise ValueError(f"`{name}` must be in [-1, 1]. Received: {name}={value}.")
    if black_border_size < 0 or black_border_size != int(black_border_size):
        raise ValueError(
            "`black_border_size` must be a whole number from 0 on. "
            f"Received: black_border_size={black_border_size}."
        )
