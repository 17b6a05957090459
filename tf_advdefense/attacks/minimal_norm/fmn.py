"""The fast minimum-norm attack (Pintor et al. 2021), in norms 2, inf, 1 and 0.

    adv = fmn(model, images, labels)
    adv = fmn(model, images, targets, targeted=True, norm=np.inf, steps=500)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is the closest fooling image found, and the image itself where none was, or where
the model is fooled already. Norm 0 is the number of changed values.

Each step first adjusts the radius of an image's ball, then climbs the margin inside it:
while nothing has fooled the model, the radius is the distance at which the margin's
linear extension would; it shrinks by a factor after a success and grows after a
failure. Both the factor and the step decay along a cosine.
"""

import math

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.balls import dual_lengths
from tf_advdefense.attacks.core.balls import farthest
from tf_advdefense.attacks.core.balls import lengths
from tf_advdefense.attacks.core.balls import project
from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import column
from tf_advdefense.attacks.core.stages import compiled
from tf_advdefense.attacks.core.stages import counters
from tf_advdefense.attacks.core.stages import loop
from tf_advdefense.attacks.core.stages import select
from tf_advdefense.attacks.core.stages import staged
from tf_advdefense.attacks.core.stages import where

_SPAN = 10  # steps of a block


def init(model_fn, x, y, seed, index, settings):
    """The state of images before their first step; see `stages`."""
    like = tf.zeros(tf.shape(x)[:1])
    bounds = settings["clip_min"], settings["clip_max"]
    return {
        "image": x,
        "label": y,
        "eta": tf.zeros_like(x),
        "eps": like + (1 if settings["norm"] == 0 else 0),
        "limit": farthest(x, settings["norm"], *bounds),
        "best": x,
        "best_norm": like + np.inf,
        "step": tf.cast(like, tf.int32),
        **counters(x),
    }


@compiled
def advance(model_fn, state, settings):
    """Runs a block of steps on every image."""
    return loop(lambda state: _step(model_fn, state, settings), state, _SPAN)


def finish(state, settings):
    """The closest fooling image of each row, or the row's own image."""
    return state["best"]


def _step(model_fn, state, settings):
    """The loop body of algorithm 1."""
    adv = tf.clip_by_value(
        state["image"] + state["eta"], settings["clip_min"], settings["clip_max"]
    )
    # A joint model's own margin: its decision is what has to change.
    logits, lead, gradient = losses.climb(
        lambda x: model_fn(x),
        losses.margin,
        adv,
        state["label"],
        settings["targeted"],
    )
    new = dict(state)
    new["forwards"] += 1
    new["backwards"] += 1
    new["step"] += 1
    success = losses.is_fooled(logits, state["label"], settings["targeted"])
    distance = lengths(adv - state["image"], settings["norm"])
    closer = success & (distance < state["best_norm"])
    new["best"] = where(closer, adv, state["best"])
    new["best_norm"] = tf.where(closer, distance, state["best_norm"])
    new["fooled"] |= success

    part = tf.cast(state["step"], tf.float32) / settings["steps"]
    cosine = (1 + tf.cos(math.pi * part)) / 2
    new["eps"] = _radius(new, success, distance, lead, gradient, cosine, settings)
    new["eta"] = _move(new, gradient, cosine, settings)
    # No image is closer than the image itself.
    new["done"] |= (new["best_norm"] <= 0) | (new["step"] >= settings["steps"])
    return select(state["done"], state, new)


def _radius(state, success, distance, lead, gradient, cosine, settings):
    """The radius of the next step: lines 5 to 9."""
    eps, norm = state["eps"], settings["norm"]
    gamma = _anneal(settings["gamma_init"], settings["gamma_final"], cosine)
    smaller, larger = eps * (1 - gamma), eps * (1 + gamma)
    if norm == 0:  # at least one value fewer or more
        smaller = tf.maximum(tf.minimum(eps - 1, tf.floor(smaller)), 0)
        larger = tf.maximum(eps + 1, tf.floor(larger))
    else:
        slope = tf.maximum(dual_lengths(gradient, norm), 1e-12)
        extended = tf.maximum(distance + tf.abs(lead) / slope, larger)
        larger = tf.where(state["fooled"], larger, extended)
    eps = tf.where(success, tf.minimum(smaller, state["best_norm"]), larger)
    return tf.minimum(eps, state["limit"])


def _move(state, gradient, cosine, settings):
    """The next perturbation, inside the ball and then the box: lines 10 to 13."""
    final = settings["alpha_final"]
    final = settings["alpha_init"] / 100 if final is None else final
    alpha = _anneal(settings["alpha_init"], final, cosine)
    slope = tf.maximum(lengths(gradient, 2), 1e-12)
    eta = state["eta"] + column(alpha / slope, gradient) * gradient
    eta = project(eta, settings["norm"], state["eps"])
    adv = tf.clip_by_value(
        state["image"] + eta, settings["clip_min"], settings["clip_max"]
    )
    return adv - state["image"]


def _anneal(first, last, cosine):
    return last + (first - last) * cosine


@staged((2, np.inf, 1, 0), Stages(init, advance, finish))
def fmn(
    *,
    steps=100,
    norm=2.0,
    alpha_init=1.0,
    alpha_final=None,
    gamma_init=0.05,
    gamma_final=0.001,
):
    """Fast minimum-norm attack, Pintor et al. 2021 (arXiv:2102.12827), algorithm 1.

    As in the paper it starts at the image, climbs the margin of the logits by steps of
    L2 length alpha in every norm, and takes as many gradients as `steps`. The distance
    to the boundary is taken from the linear extension until the first success of an
    image (not in norm 0, whose radius starts at one value and moves by at least one).
    Different from it: an image that the model gets wrong already is done at once; no
    radius exceeds the distance to the farthest corner of the box; and until the first
    success the radius grows at least as it does after it, because on a linear model the
    extension ends on the boundary itself, time and again. Left out is the start from an
    adversarial image.

    Args:
      steps: gradients for each image; the paper goes up to 1000.
      norm: 2, inf, 1, or 0, the number of changed values.
      alpha_init: the first step's length.
      alpha_final: the last step's; None for a hundredth of the first.
      gamma_init: the part by which the radius shrinks or grows at first.
      gamma_final: the same in the end.
    """
    sizes = {"alpha_init": alpha_init, "alpha_final": alpha_final}
    for name, value in sizes.items():
        if value is not None and not value > 0:
            raise ValueError(f"`{name}` must be above 0. Received: {name}={value}.")
    for name, value in {"gamma_init": gamma_init, "gamma_final": gamma_final}.items():
        if not 0 < value < 1:
            raise ValueError(f"`{name}` must be in (0, 1). Received: {name}={value}.")
