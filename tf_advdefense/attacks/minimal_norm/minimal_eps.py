"""The smallest radius at which an attack of a fixed radius succeeds, image by image.

    adv = minimal_eps(model, images, labels)                       # by PGD, norm inf
    adv = minimal_eps(model, images, labels, attack="fgsm", norm=2, search_steps=15)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is the image that fooled the model at the smallest radius tried, and the image
itself where none did, or where the model is fooled already.

An image's first radius is its distance to the boundary of the linear extension of its
margin. Radii double until one succeeds, then the gap between the largest failure below
and the smallest success is halved. Success need not be monotone in the radius (an
attack may fail at a larger one), so the answer is an upper bound of what the attack can
do, and one that is exact up to the last gap where it is monotone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.balls import farthest
from tf_advdefense.attacks.core.balls import linear_distance
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.model_fn import predict
from tf_advdefense.attacks.core.state import Progress
from tf_advdefense.attacks.core.state import begin
from tf_advdefense.attacks.core.state import compiled
from tf_advdefense.attacks.core.state import select
from tf_advdefense.attacks.core.state import where
from tf_advdefense.attacks.gradient.fast_gradient import fgsm
from tf_advdefense.attacks.gradient.iterative_gradient import mim
from tf_advdefense.attacks.gradient.projected_gradient import pgd
from tf_advdefense.attacks.gradient.sparse_l1 import sparse_l1

# Those that take an eps per image.
_ATTACKS = {attack.name: attack for attack in (pgd, fgsm, mim, sparse_l1)}


class Hyper(NamedTuple):
    """The smallest radius at which an attack succeeds, by bisection.

    With PGD (Madry et al. 2017, arXiv:1706.06083) it measures how far the attack that
    robust accuracy is mostly reported for must go.

    Attributes:
      attack: pgd, fgsm, mim or sparse_l1.
      norm: of the radius; sparse_l1 has norm 1 alone, mim lacks it.
      max_eps: no radius is larger; None for the image's distance to the farthest corner
        of the box.
      search_steps: radii that are tried; each halves the gap once one has succeeded.
      nb_iter: of an iterative attack at each radius.
      relative_step: its eps_iter as a part of eps; None for 2.5 / nb_iter, with which
        Madry et al. reach the ball's surface from any point of it.
      loss: what PGD climbs, a name of `losses.LOSSES`.
    """

    attack: str = "pgd"
    norm: float = np.inf
    max_eps: float | None = None
    search_steps: int = 10
    nb_iter: int = 20
    relative_step: float | None = None
    loss: str = "ce"


class State(NamedTuple):
    image: tf.Tensor  # float32 [n, h, w, c]
    label: tf.Tensor  # int64 [n]
    limit: tf.Tensor  # float32 [n]: the largest radius to try
    eps: tf.Tensor  # float32 [n]: the radius to try next
    failed: tf.Tensor  # float32 [n]: the last radius that failed
    best: tf.Tensor  # float32 [n, h, w, c]
    best_eps: tf.Tensor  # float32 [n]: the smallest radius that succeeded
    search_step: tf.Tensor  # int32 [n]: radii tried
    progress: Progress


def init(
    model_fn: ModelFn,
    x: tf.Tensor,
    y: tf.Tensor,
    keys: tf.Tensor,
    hyper: Hyper,
    task: Task,
) -> State:
    """The state of images before their first radius."""
    limit = farthest(x, hyper.norm, task.clip_min, task.clip_max)
    if hyper.max_eps is not None:
        limit = tf.minimum(limit, hyper.max_eps)
    fooled, distance = _linear_distance(model_fn, x, y, task.targeted, hyper.norm)
    progress = begin(x).spend(forwards=1, backwards=1)
    return State(
        image=x,
        label=y,
        limit=limit,
        eps=tf.minimum(distance, limit),
        failed=tf.zeros_like(limit),
        best=x,
        best_eps=tf.where(fooled, 0.0, np.inf),
        search_step=tf.zeros_like(progress.forwards),
        progress=progress._replace(done=fooled, fooled=fooled),
    )


@tf.function(autograph=False)
def _linear_distance(model_fn, x, y, targeted, norm):
    """Whether images fool the model as they are, and how far the boundary seems."""
    # A joint model's own margin: its decision is what has to change.
    logits, lead, gradient = losses.climb(
        model_fn.as_one(), losses.margin, x, y, targeted
    )
    distance = linear_distance(lead, gradient, norm)
    return losses.is_fooled(logits, y, targeted), distance


@compiled
def advance(model_fn: ModelFn, state: State, hyper: Hyper, task: Task) -> State:
    """Tries one radius of every image."""
    attack = _at_each_radius(state, hyper)
    adv = attack(model_fn, state.image, state.label, *task)
    reached = predict(model_fn, adv) == state.label
    success = reached if task.targeted else ~reached
    new = _next_radius(state, adv, success)
    progress = new.progress.spend(*_passes_of_a_radius(hyper))
    exhausted = ~progress.fooled & (state.eps >= state.limit)
    ended = exhausted | (new.search_step >= hyper.search_steps)
    new = new._replace(progress=progress._replace(done=ended))
    return select(state.progress.done, state, new)


def _next_radius(state, adv, success):
    smaller = success & (state.eps < state.best_eps)
    best_eps = tf.where(smaller, state.eps, state.best_eps)
    failed = tf.where(success, state.failed, state.eps)
    halved = (failed + best_eps) / 2
    eps = tf.where(tf.math.is_finite(best_eps), halved, 2 * state.eps)
    fooled = state.progress.fooled | success
    return state._replace(
        best=where(smaller, adv, state.best),
        best_eps=best_eps,
        failed=failed,
        eps=tf.minimum(eps, state.limit),
        search_step=state.search_step + 1,
        progress=state.progress._replace(fooled=fooled),
    )


def finish(state: State, hyper: Hyper, task: Task) -> tf.Tensor:
    """The fooling image of the smallest radius of each row, or the row's own image."""
    return state.best


def _at_each_radius(state, hyper):
    """The attack, each image at its own radius."""
    attack, share = _ATTACKS[hyper.attack], hyper.relative_step
    share = min(2.5 / hyper.nb_iter, 1) if share is None else share
    given = {"eps": state.eps, "eps_iter": share * state.eps}
    given |= {name: getattr(hyper, name) for name in ("norm", "nb_iter", "loss")}
    known = attack.defaults
    return attack.replace(**{key: given[key] for key in given if key in known})


def _passes_of_a_radius(hyper):
    steps = hyper.nb_iter if "nb_iter" in _ATTACKS[hyper.attack].defaults else 1
    return steps + 1, steps


def passes(hyper: Hyper, image_shape: Sequence[int], num_classes: int) -> Passes:
    """Those of the attack and a look at its images, for each radius."""
    return tuple(1 + hyper.search_steps * each for each in _passes_of_a_radius(hyper))


def check(hyper: Hyper) -> None:
    """Refuses attacks of one radius only, and what the chosen one lacks."""
    if hyper.attack not in _ATTACKS:
        raise ValueError(
            "`attack` must be one that takes an eps per image: "
            f"{', '.join(_ATTACKS)}. Received: attack={hyper.attack!r}."
        )
    attack = _ATTACKS[hyper.attack]
    if hyper.norm not in attack.norms:
        raise ValueError(
            f"`norm` of {attack.name} must be {' or '.join(map(str, attack.norms))}. "
            f"Received: norm={hyper.norm!r}."
        )
    losses.check_loss(hyper.loss)
    if hyper.loss != "ce" and "loss" not in attack.defaults:
        raise ValueError(
            f"`loss` of {attack.name} must be 'ce'. Received: loss={hyper.loss!r}."
        )
    for name in ("max_eps", "relative_step"):
        value = getattr(hyper, name)
        if value is not None and not value > 0:
            raise ValueError(f"`{name}` must be above 0. Received: {name}={value}.")


minimal_eps = Attack(
    name="minimal_eps",
    title="Minimal ε",
    paper="arXiv:1706.06083",
    norms=(np.inf, 2, 1),
    goal="minimal-norm",
    access="gradients",
    hyper=Hyper(),
    init=init,
    advance=advance,
    finish=finish,
    passes=passes,
    check=check,
)
