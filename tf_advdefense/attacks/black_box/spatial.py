"""Spatial transformations: small shifts and rotations that fool a classifier.

    adv = spatial(model, images, labels)
    adv = spatial(model, images, labels, dx_min=-0.2, dx_max=0.2, n_dxs=5, n_samples=20)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]. There is
no ball: a shifted image is far from the image in every norm, and looks the same.
"""

from collections.abc import Sequence
import itertools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.draws import integer
from tf_advdefense.attacks.core.gradient_check import cross_entropy
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.state import Progress
from tf_advdefense.attacks.core.state import begin
from tf_advdefense.attacks.core.state import compiled
from tf_advdefense.attacks.core.state import loop
from tf_advdefense.attacks.core.state import select
from tf_advdefense.attacks.core.state import where

_BLOCK = 10  # transformations between two looks at which images are done


class Hyper(NamedTuple):
    """Engstrom et al. 2019 (arXiv:1712.02779), after CleverHans 3.

    Every combination of shifts and angles is tried on every image, and the one with the
    largest cross-entropy kept, among those that fool the model if there are any (those
    do not always have the largest). What differs from CleverHans: a shift is done once
    (there twice, so that it was twice as long), `dx` counts in widths (there heights),
    shift and rotation share one interpolation, and the result keeps the bounds.

    Attributes:
      n_samples: try this many random points of the grid instead of all, each image its
        own; None for all.
      dx_min, dx_max, n_dxs: shifts to the left, in widths: the ends, in [-1, 1], and
        the number of values, at equal distances.
      dy_min, dy_max, n_dys: shifts up, in heights.
      angle_min, angle_max, n_angles: rotations, counterclockwise, in degrees.
      black_border_size: shrink the image to leave a black border of so many pixels.
    """

    n_samples: int | None = None
    dx_min: float = -0.1
    dx_max: float = 0.1
    n_dxs: int = 2
    dy_min: float = -0.1
    dy_max: float = 0.1
    n_dys: int = 2
    angle_min: float = -30.0
    angle_max: float = 30.0
    n_angles: int = 6
    black_border_size: float = 0.0


class State(NamedTuple):
    framed: tf.Tensor  # float32 [n, h, w, c]: the image in its black border
    label: tf.Tensor  # int64 [n]
    key: tf.Tensor  # int64 [n]: of the random points of the grid
    best: tf.Tensor  # float32 [n, h, w, c]: fools, or else has the highest loss
    best_loss: tf.Tensor  # float32 [n]
    progress: Progress


def init(
    model_fn: ModelFn,
    x: tf.Tensor,
    y: tf.Tensor,
    keys: tf.Tensor,
    hyper: Hyper,
    task: Task,
) -> State:
    """The state of images before their first transformation."""
    return State(
        framed=_framed(x, int(hyper.black_border_size)),
        label=y,
        key=keys,
        best=x,
        best_loss=tf.fill(tf.shape(x)[:1], -np.inf),
        progress=begin(x),
    )


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
def advance(model_fn: ModelFn, state: State, hyper: Hyper, task: Task) -> State:
    """Tries a block of transformations on every image."""
    return loop(lambda state: _try(model_fn, state, hyper, task), state, _BLOCK)


def finish(state: State, hyper: Hyper, task: Task) -> tf.Tensor:
    """The worst transformation's image; the image itself where the model overflows."""
    return state.best


def _try(model_fn, state, hyper, task):
    moved = transform(state.framed, *_parameters(state, hyper))
    moved = tf.clip_by_value(moved, task.clip_min, task.clip_max)
    logits, loss = losses.evaluate(model_fn, cross_entropy, moved, state.label)
    loss = -loss if task.targeted else loss
    fooled = losses.is_fooled(logits, state.label, task.targeted)
    before, progress = state.progress.fooled, state.progress.spend(forwards=1)
    worse = losses.is_better(fooled, loss, before, state.best_loss)
    new = state._replace(
        best=where(worse, moved, state.best),
        best_loss=tf.where(worse, loss, state.best_loss),
        progress=progress._replace(
            fooled=before | fooled, done=progress.forwards >= _count(hyper)
        ),
    )
    return select(state.progress.done, state, new)


def _parameters(state, hyper):
    """Each row's next shift to the left and up, as parts of a side, and angle."""
    grids = [np.float32(grid) for grid in _grids(hyper)]
    turn = state.progress.forwards - 1
    if hyper.n_samples is None:
        table = np.stack(list(itertools.product(*grids)))
        # Rows that are done have come to its end.
        place = tf.clip_by_value(turn, 0, len(table) - 1)
        chosen = tf.unstack(tf.gather(table, place), axis=1)
    else:
        chosen = [
            tf.gather(grid, integer(state.key, [turn, number], (), len(grid)))
            for number, grid in enumerate(grids)
        ]
    # First the image where it is: it belongs to every range of shifts and angles.
    return [tf.where(turn < 0, 0.0, each) for each in chosen]


def _grids(hyper):
    return (
        np.linspace(hyper.dx_min, hyper.dx_max, hyper.n_dxs),
        np.linspace(hyper.dy_min, hyper.dy_max, hyper.n_dys),
        np.linspace(hyper.angle_min, hyper.angle_max, hyper.n_angles),
    )


def _count(hyper):
    """How many transformations are tried."""
    return 1 + (hyper.n_samples or hyper.n_dxs * hyper.n_dys * hyper.n_angles)


def transform(
    x: tf.Tensor, dx: tf.Tensor, dy: tf.Tensor, angle: tf.Tensor
) -> tf.Tensor:
    """Turned around the middle, counterclockwise, then moved to the left and up.

    Black comes in from outside. Bilinear, in one interpolation.

    Args:
      x: float32 `[n, height, width, channels]`.
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


def check(hyper: Hyper) -> None:
    """Refuses parts of samples or of pixels, and shifts out of the image."""
    samples, border = hyper.n_samples, hyper.black_border_size
    if samples is not None and (samples < 1 or samples != int(samples)):
        raise ValueError(
            "`n_samples` must be a whole number from 1 on. "
            f"Received: n_samples={samples}."
        )
    for name in ("dx_min", "dx_max", "dy_min", "dy_max"):
        value = getattr(hyper, name)
        if not -1 <= value <= 1:
            raise ValueError(f"`{name}` must be in [-1, 1]. Received: {name}={value}.")
    if border < 0 or border != int(border):
        raise ValueError(
            "`black_border_size` must be a whole number from 0 on. "
            f"Received: black_border_size={border}."
        )


def passes(hyper: Hyper, image_shape: Sequence[int], num_classes: int) -> Passes:
    """A query per transformation."""
    return _count(hyper), 0


spatial = Attack(
    name="spatial",
    title="Rotation and shift",
    paper="arXiv:1712.02779",
    norms=(None,),
    goal="none",
    access="scores",
    hyper=Hyper(),
    init=init,
    advance=advance,
    finish=finish,
    passes=passes,
    check=check,
)
