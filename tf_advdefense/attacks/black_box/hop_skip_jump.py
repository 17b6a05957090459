"""HopSkipJump (Chen et al. 2019): it reads nothing but classes off the model.

    adv = hop_skip_jump(model, images, labels, max_queries=1000)
    adv = hop_skip_jump(model, images, labels, norm=np.inf, num_iterations=10)
    adv = hop_skip_jump(model, images, targets, targeted=True, image_target=starts)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is the closest fooling image that the model was asked about, and the image itself
where none was, or where the model is fooled already. `forwards` counts the questions.
"""

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.black_box import hop_skip_jump_phases as phases
from tf_advdefense.attacks.black_box import hop_skip_jump_points as points
from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core.losses import is_fooled
from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import compiled
from tf_advdefense.attacks.core.stages import counters
from tf_advdefense.attacks.core.stages import loop
from tf_advdefense.attacks.core.stages import staged
from tf_advdefense.attacks.core.stages import where


def init(model_fn, x, y, seed, index, settings):
    """The state of images before their first question; arguments as for `cw`."""
    zeros, like = tf.zeros_like(x), tf.zeros(tf.shape(x)[:1])
    whole = tf.cast(like, tf.int32)
    return {
        "image": x,
        "label": y,
        "keys": draws.row_keys(seed, index),
        "phase": whole + phases.CHECK,
        "iteration": whole - 1,
        "evaluation": whole,  # which start, sample or step it is
        # The way to bisect, from the image to `far`, and the shares of it.
        "far": _given_starts(x, settings),
        "low": like,
        "high": like + 1,
        # The point on the boundary, its distance, and how far its `far` was.
        "center": zeros,
        "distance": like,
        "reach": like,
        # What this iteration has found to take its place.
        "next_center": zeros,
        "next_distance": like + np.inf,
        "next_reach": like,
        # Sums over an iteration's samples u and their answers s = 1 or -1: of u, s
        # and s u; at its end, the last becomes the direction to step along.
        "drift": zeros,
        "balance": like,
        "direction": zeros,
        "best": x,
        "best_distance": like + np.inf,
        **counters(x),
    }


def _given_starts(x, settings):
    starts = settings["image_target"]
    if starts is None and settings["targeted"]:
        raise ValueError(
            "A targeted `hop_skip_jump` needs `image_target`, an image of the target "
            "class for each image. Received: image_target=None."
        )
    if starts is None:
        return tf.zeros_like(x)
    starts = tf.cast(starts, tf.float32)
    shapes = (x.shape, x.shape[1:])
    if not any(starts.shape.is_compatible_with(shape) for shape in shapes):
        raise ValueError(
            "`image_target` must have the shape of the images, or of one of them. "
            f"Received: {starts.shape} for images of shape {x.shape}."
        )
    return tf.broadcast_to(starts, tf.shape(x))


@compiled
def advance(model_fn, state, settings):
    """Asks up to twenty questions about every image.

    Returns:
      the new state; rows that are `done` keep theirs.
    """
    return loop(lambda state: _ask(model_fn, state, settings), state, 20)


def finish(state, settings):
    """The closest fooling image of each row, or the row's own image."""
    return where(state["fooled"], state["best"], state["image"])


def _ask(model_fn, state, settings):
    point = phases.question(state, settings)
    fooled = is_fooled(model_fn(point), state["label"], settings["targeted"])
    new = {**state, **_record(state, point, fooled, settings)}
    new = phases.answered(new, point, fooled, settings)
    if settings["max_queries"] is not None:
        new["done"] |= new["forwards"] >= settings["max_queries"]
    return new


def _record(state, point, fooled, settings):
    """The best so far; rows that are done neither ask nor change."""
    distance = points.distances(point, state["image"], settings)
    closer = fooled & (distance < state["best_distance"]) & ~state["done"]
    return {
        "best": where(closer, point, state["best"]),
        "best_distance": tf.where(closer, distance, state["best_distance"]),
        "fooled": state["fooled"] | closer,
        "forwards": state["forwards"] + tf.cast(~state["done"], tf.int32),
    }


def most_passes(hyper):
    """The questions that an image takes at most, and no backward pass."""
    tries = points.tries(hyper)
    projections = tries if hyper["stepsize_search"] == "grid_search" else 1
    start = 1 + phases.STARTS + phases.BISECTIONS * 2
    samples = int(np.sum(phases.num_evals(hyper)))
    steps = hyper["num_iterations"] * (tries + projections * phases.BISECTIONS)
    most = start + samples + steps
    return min(most, hyper["max_queries"] or most), 0


@staged(norms=(2, np.inf), stages=Stages(init, advance, finish), gradient=False)
def hop_skip_jump(
    *,
    norm=2.0,
    image_target=None,
    initial_num_evals=100,
    max_num_evals=10000,
    stepsize_search="geometric_progression",
    num_iterations=64,
    gamma=1.0,
    max_queries=None,
):
    """Chen et al. 2019 (arXiv:1904.02144), algorithms 1 and 2.

    CleverHans' PyTorch version, row by row. What differs from it: `norm` decides (there
    it is never read, and its counterpart for the maximum norm crashes); each start gets
    its batch axis, without which the first distance is wrong; the closest fooling image
    ever asked about is returned, not the last; bisections end where float32 does, step
    sizes are halved 24 times at most and a direction of zero leads nowhere, where the
    original runs forever or into NaN; random starts get coarser after ten failures,
    because many a model gives one class to all fine noise; an image without a start
    after 1,000, or whose targeted start is not of its class, fails alone; and a
    projection in the maximum norm is exact to a share of its way, whatever the bounds.

    Args:
      norm: of the distance that is made small, 2 or np.inf.
      image_target: images like `x`, or one for all, to start from, needed if
        `targeted`: of the target class then, and of any wrong class otherwise, where
        those of the label's class are replaced by random ones.
      initial_num_evals: samples for the first iteration's direction; iteration t takes
        sqrt(t) times as many.
      max_num_evals: the most that it takes.
      stepsize_search: "geometric_progression" halves a step until it fools;
        "grid_search" projects 20 steps and takes the closest.
      num_iterations: of sampling, stepping and projecting.
      gamma: what projections are exact to, in units of 1 / d^1.5 of the way (1 / d^2
        in the maximum norm) for images of d values; sampling is as much wider.
      max_queries: an image is done after as many questions, with its best so far.
    """
    if stepsize_search not in points.STEPS:
        raise ValueError(
            f"`stepsize_search` must be one of {', '.join(points.STEPS)}. "
            f"Received: stepsize_search={stepsize_search!r}."
        )
    if not 0 < gamma < np.inf:
        raise ValueError(f"`gamma` must be above 0. Received: gamma={gamma}.")
    if max_queries is not None and not (max_queries >= 1 and max_queries % 1 == 0):
        raise ValueError(
            "`max_queries` must be None or a whole number from 1 on. "
            f"Received: max_queries={max_queries}."
        )
