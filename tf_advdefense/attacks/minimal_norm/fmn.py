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

from collections.abc import Sequence
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.balls import farthest
from tf_advdefense.attacks.core.balls import lengths
from tf_advdefense.attacks.core.balls import linear_distance
from tf_advdefense.attacks.core.balls import power_of_two
from tf_advdefense.attacks.core.balls import project
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.state import Progress
from tf_advdefense.attacks.core.state import begin
from tf_advdefense.attacks.core.state import column
from tf_advdefense.attacks.core.state import compiled
from tf_advdefense.attacks.core.state import loop
from tf_advdefense.attacks.core.state import select
from tf_advdefense.attacks.core.state import where

_SPAN = 10  # steps of a block


class Hyper(NamedTuple):
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

    Attributes:
      steps: gradients for each image; the paper goes up to 1000.
      norm: 2, np.inf, 1, or 0, the number of changed values.
      alpha_init: the first step's length.
      alpha_final: the last step's; None for a hundredth of the first.
      gamma_init: the part by which the radius shrinks or grows at first.
      gamma_final: the same in the end.
    """

    steps: int = 100
    norm: float = 2.0
    alpha_init: float = 1.0
    alpha_final: float | None = None
    gamma_init: float = 0.05
    gamma_final: float = 0.001


class State(NamedTuple):
    image: tf.Tensor  # float32 [n, h, w, c]
    label: tf.Tensor  # int64 [n]
    eta: tf.Tensor  # float32 [n, h, w, c]: the perturbation, delta in the paper
    eps: tf.Tensor  # float32 [n]: its radius
    limit: tf.Tensor  # float32 [n]: the distance to the farthest corner of the box
    best: tf.Tensor  # float32 [n, h, w, c]: the closest that fools
    best_norm: tf.Tensor  # float32 [n]
    step: tf.Tensor  # int32 [n]
    progress: Progress


def init(
    model_fn: ModelFn,
    x: tf.Tensor,
    y: tf.Tensor,
    keys: tf.Tensor,
    hyper: Hyper,
    task: Task,
) -> State:
    """The state of images before their first step."""
    like = tf.zeros(tf.shape(x)[:1])
    bounds = task.clip_min, task.clip_max
    return State(
        image=x,
        label=y,
        eta=tf.zeros_like(x),
        eps=like + (1 if hyper.norm == 0 else 0),
        limit=farthest(x, hyper.norm, *bounds),
        best=x,
        best_norm=like + np.inf,
        step=tf.cast(like, tf.int32),
        progress=begin(x),
    )


@compiled
def advance(model_fn: ModelFn, state: State, hyper: Hyper, task: Task) -> State:
    """Runs a block of steps on every image."""
    return loop(lambda state: _step(model_fn, state, hyper, task), state, _SPAN)


def finish(state: State, hyper: Hyper, task: Task) -> tf.Tensor:
    """The closest fooling image of each row, or the row's own image."""
    return state.best


def _step(model_fn, state, hyper, task):
    """The loop body of algorithm 1."""
    adv = tf.clip_by_value(state.image + state.eta, task.clip_min, task.clip_max)
    # A joint model's own margin: its decision is what has to change.
    logits, lead, gradient = losses.climb(
        model_fn.as_one(),
        losses.margin,
        adv,
        state.label,
        task.targeted,
    )
    success = losses.is_fooled(logits, state.label, task.targeted)
    distance = lengths(adv - state.image, hyper.norm)
    closer = success & (distance < state.best_norm)
    best_norm = tf.where(closer, distance, state.best_norm)
    step, progress = state.step + 1, state.progress.spend(forwards=1, backwards=1)
    # No image is closer than the image itself.
    progress = progress._replace(
        fooled=progress.fooled | success,
        done=(best_norm <= 0) | (step >= hyper.steps),
    )
    new = state._replace(
        best=where(closer, adv, state.best),
        best_norm=best_norm,
        step=step,
        progress=progress,
    )
    part = tf.cast(state.step, tf.float32) / hyper.steps
    cosine = (1 + tf.cos(math.pi * part)) / 2
    eps = _radius(new, success, distance, lead, gradient, cosine, hyper)
    new = new._replace(eps=eps)
    new = new._replace(eta=_move(new, gradient, cosine, hyper, task))
    return select(state.progress.done, state, new)


def _radius(state, success, distance, lead, gradient, cosine, hyper):
    """The radius of the next step: lines 5 to 9."""
    eps, norm = state.eps, hyper.norm
    gamma = _anneal(hyper.gamma_init, hyper.gamma_final, cosine)
    smaller, larger = eps * (1 - gamma), eps * (1 + gamma)
    if norm == 0:  # at least one value fewer or more
        smaller = tf.maximum(tf.minimum(eps - 1, tf.floor(smaller)), 0)
        larger = tf.maximum(eps + 1, tf.floor(larger))
    else:
        extended = tf.maximum(distance + linear_distance(lead, gradient, norm), larger)
        larger = tf.where(state.progress.fooled, larger, extended)
    eps = tf.where(success, tf.minimum(smaller, state.best_norm), larger)
    return tf.minimum(eps, state.limit)


def _move(state, gradient, cosine, hyper, task):
    """The next perturbation, inside the ball and then the box: lines 10 to 13."""
    final = hyper.alpha_final
    final = hyper.alpha_init / 100 if final is None else final
    alpha = _anneal(hyper.alpha_init, final, cosine)
    gradient = tf.math.divide_no_nan(gradient, power_of_two(gradient))
    size = tf.math.divide_no_nan(alpha, lengths(gradient, 2))
    eta = state.eta + column(size, gradient) * gradient
    eta = project(eta, hyper.norm, state.eps)
    adv = tf.clip_by_value(state.image + eta, task.clip_min, task.clip_max)
    return adv - state.image


def _anneal(first, last, cosine):
    return last + (first - last) * cosine


def check(hyper: Hyper) -> None:
    """Refuses lengths and factors out of range."""
    for name in ("alpha_init", "alpha_final"):
        value = getattr(hyper, name)
        if value is not None and not value > 0:
            raise ValueError(f"`{name}` must be above 0. Received: {name}={value}.")
    for name in ("gamma_init", "gamma_final"):
        value = getattr(hyper, name)
        if not 0 < value < 1:
            raise ValueError(f"`{name}` must be in (0, 1). Received: {name}={value}.")


def passes(hyper: Hyper, image_shape: Sequence[int], num_classes: int) -> Passes:
    """A gradient for each step."""
    return hyper.steps, hyper.steps


fmn = Attack(
    name="fmn",
    title="FMN",
    paper="arXiv:2102.12827",
    norms=(2, np.inf, 1, 0),
    goal="minimal-norm",
    access="gradients",
    hyper=Hyper(),
    init=init,
    advance=advance,
    finish=finish,
    passes=passes,
    spent=1.0,
    check=check,
)
