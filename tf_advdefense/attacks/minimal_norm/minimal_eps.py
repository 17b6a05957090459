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

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.balls import dual_lengths
from tf_advdefense.attacks.core.balls import farthest
from tf_advdefense.attacks.core.contract import defaults
from tf_advdefense.attacks.core.model_fn import predict
from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import compiled
from tf_advdefense.attacks.core.stages import counters
from tf_advdefense.attacks.core.stages import select
from tf_advdefense.attacks.core.stages import staged
from tf_advdefense.attacks.core.stages import where
from tf_advdefense.attacks.gradient.fast_gradient import fgsm
from tf_advdefense.attacks.gradient.fast_gradient import mim
from tf_advdefense.attacks.gradient.projected_gradient import pgd
from tf_advdefense.attacks.gradient.sparse_l1 import sparse_l1

# Those that take an eps per image.
_ATTACKS = {attack.__name__: attack for attack in (pgd, fgsm, mim, sparse_l1)}


def init(model_fn, x, y, seed, index, settings):
    """The state of images before their first radius; see `stages`."""
    limit = farthest(x, settings["norm"], settings["clip_min"], settings["clip_max"])
    if settings["max_eps"] is not None:
        limit = tf.minimum(limit, settings["max_eps"])
    targeted = settings["targeted"]
    fooled, distance = _linear_distance(model_fn, x, y, targeted, settings["norm"])
    count = counters(x)
    return {
        "image": x,
        "label": y,
        "limit": limit,
        "eps": tf.minimum(distance, limit),
        "failed": tf.zeros_like(limit),
        "best": x,
        "best_eps": tf.where(fooled, 0.0, np.inf),
        "search_step": count["forwards"],
        **count,
        "done": fooled,
        "fooled": fooled,
        "forwards": count["forwards"] + 1,
        "backwards": count["backwards"] + 1,
    }


@tf.function(autograph=False)
def _linear_distance(model_fn, x, y, targeted, norm):
    """Whether images fool the model as they are, and how far the boundary seems."""
    # A joint model's own margin: its decision is what has to change.
    logits, lead, gradient = losses.climb(
        lambda x: model_fn(x), losses.margin, x, y, targeted
    )
    slope = tf.maximum(dual_lengths(gradient, norm), 1e-12)
    return losses.is_fooled(logits, y, targeted), tf.abs(lead) / slope


@compiled
def advance(model_fn, state, settings):
    """Tries one radius of every image."""
    adv = _attack(model_fn, state, settings)
    classes = predict(model_fn, adv)
    reached = classes == state["label"]
    success = reached if settings["targeted"] else ~reached
    new = {**state, **_next_radius(state, adv, success)}
    forwards, backwards = _passes(settings)
    new["forwards"] += forwards
    new["backwards"] += backwards
    new["search_step"] += 1
    exhausted = ~new["fooled"] & (state["eps"] >= state["limit"])
    new["done"] = exhausted | (new["search_step"] >= settings["search_steps"])
    return select(state["done"], state, new)


def _next_radius(state, adv, success):
    smaller = success & (state["eps"] < state["best_eps"])
    best_eps = tf.where(smaller, state["eps"], state["best_eps"])
    failed = tf.where(success, state["failed"], state["eps"])
    eps = tf.where(
        tf.math.is_finite(best_eps), (failed + best_eps) / 2, 2 * state["eps"]
    )
    return {
        "best": where(smaller, adv, state["best"]),
        "best_eps": best_eps,
        "failed": failed,
        "eps": tf.minimum(eps, state["limit"]),
        "fooled": state["fooled"] | success,
    }


def finish(state, settings):
    """The fooling image of the smallest radius of each row, or the row's own image."""
    return state["best"]


def _attack(model_fn, state, settings):
    """The images of the attack, each at its own radius."""
    attack, share = _ATTACKS[settings["attack"]], settings["relative_step"]
    share = min(2.5 / settings["nb_iter"], 1) if share is None else share
    hyper = {**settings, "eps": state["eps"], "eps_iter": share * state["eps"]}
    return attack(
        model_fn,
        state["image"],
        state["label"],
        settings["targeted"],
        settings["clip_min"],
        settings["clip_max"],
        **{name: hyper[name] for name in defaults(attack) if name in hyper},
    )


def _passes(hyper):
    """Forward and backward passes of one radius."""
    steps = hyper["nb_iter"] if "nb_iter" in defaults(_ATTACKS[hyper["attack"]]) else 1
    return steps + 1, steps


def cost(hyper):
    """Forward and backward passes of an image at most."""
    return tuple(1 + hyper["search_steps"] * passes for passes in _passes(hyper))


@staged((np.inf, 2, 1), Stages(init, advance, finish))
def minimal_eps(
    *,
    attack="pgd",
    norm=np.inf,
    max_eps=None,
    search_steps=10,
    nb_iter=20,
    relative_step=None,
    loss="ce",
):
    """The smallest radius at which an attack succeeds, by bisection.

    With PGD (Madry et al. 2017, arXiv:1706.06083) it measures how far the attack that
    robust accuracy is mostly reported for must go.

    Args:
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
    if attack not in _ATTACKS:
        raise ValueError(
            "`attack` must be one that takes an eps per image: "
            f"{', '.join(_ATTACKS)}. Received: attack={attack!r}."
        )
    function = _ATTACKS[attack]
    if norm not in function.norms:
        raise ValueError(
            f"`norm` of {attack} must be "
            f"{' or '.join(str(known) for known in function.norms)}. "
            f"Received: norm={norm!r}."
        )
    losses.check_loss(loss)
    if loss != "ce" and "loss" not in defaults(function):
        raise ValueError(f"`loss` of {attack} must be 'ce'. Received: loss={loss!r}.")
    for name, value in {"max_eps": max_eps, "relative_step": relative_step}.items():
        if value is not None and not value > 0:
            raise ValueError(f"`{name}` must be above 0. Received: {name}={value}.")
