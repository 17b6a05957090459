"""Projected gradient descent in balls of norm inf, 2 and 1, with restarts.

    adv = pgd(model, images, labels, eps=8 / 255, rand_init=True, seed=1)
    adv = pgd(model, images, labels, eps=12.0, eps_iter=1.0, norm=1, nb_restarts=5)
    adv = pgd([model, other], images, labels, eps=radius_of_each_image, loss="margin")

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; eps, one
number or one per image, and eps_iter are in their units. The result is within eps of
the images in `norm`, and within the bounds.

In norms inf and 2 it is CleverHans' loop, step by step the same gradient,
`optimize_linear` and `clip_eta`, compiled as a whole: CleverHans runs the arithmetic
between two gradients eagerly, unrolls its loop when traced, draws the random start from
the global generator, and has neither norm 1 nor restarts. An image that a restart has
fooled takes no part in the next ones, unless the model is random (`stages.settled`).
"""

from cleverhans.tf2.utils import optimize_linear
import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.balls import project
from tf_advdefense.attacks.core.balls import radii
from tf_advdefense.attacks.core.balls import random_ball
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.gradient_check import compute_gradient
from tf_advdefense.attacks.core.gradient_check import cross_entropy
from tf_advdefense.attacks.core.model_fn import stacked
from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import column
from tf_advdefense.attacks.core.stages import compiled
from tf_advdefense.attacks.core.stages import counters
from tf_advdefense.attacks.core.stages import select
from tf_advdefense.attacks.core.stages import settled
from tf_advdefense.attacks.core.stages import staged
from tf_advdefense.attacks.core.stages import where
from tf_advdefense.attacks.gradient.sparse_l1 import drop_blocked
from tf_advdefense.attacks.gradient.sparse_l1 import sparse_direction
from tf_advdefense.attacks.gradient.sparse_l1 import threshold_rank


def init(model_fn, x, y, seed, index, settings):
    """The state of images before their first restart; see `stages`."""
    eps = radii(settings["eps"], x)
    start = settings["rand_minmax"]
    return {
        "image": x,
        "label": y,
        "key": row_keys(seed, index),
        "eps": eps,
        "eps_iter": tf.minimum(radii(settings["eps_iter"], x), eps),
        "start": eps if start is None else radii(start, x),
        "restart": tf.zeros_like(eps, tf.int32),
        "best": x,
        "best_loss": tf.zeros_like(eps) - np.inf,
        **counters(x),
    }


def advance(model_fn, state, settings):
    """Runs one restart, `nb_iter` steps, on every image."""
    # Sizes and steps are tensors, so that a sweep over eps is traced once.
    constant = {key: settings[key] for key in settings.keys() - _TENSORS}
    return _restart(model_fn, state, tf.cast(settings["nb_iter"], tf.int32), constant)


_TENSORS = {"eps", "eps_iter", "rand_minmax", "nb_iter"}


def finish(state, settings):
    """The best image of each row; values that a model made NaN stay clean."""
    return tf.where(tf.math.is_finite(state["best"]), state["best"], state["image"])


@compiled
def _restart(model_fn, state, nb_iter, settings):
    adv = _descend(model_fn, state, _start(state, settings), nb_iter, settings)
    new = {**state, "best": adv, "restart": state["restart"] + 1}
    new["forwards"] += nb_iter
    new["backwards"] += nb_iter
    if settings["nb_restarts"] > 1:  # else whether it fools decides nothing
        new.update(_keep_best(model_fn, state, adv, settings))
        new["forwards"] += 1
    ended = settled(model_fn, new["fooled"])
    new["done"] = ended | (new["restart"] >= settings["nb_restarts"])
    return select(state["done"], state, new)


def _start(state, settings):
    x = state["image"]
    if not settings["rand_init"] and settings["nb_restarts"] == 1:
        return x
    eta = random_ball(state["key"], state["restart"], x.shape[1:], settings["norm"])
    eta = project(column(state["start"], x) * eta, settings["norm"], state["eps"])
    start = tf.clip_by_value(x + eta, settings["clip_min"], settings["clip_max"])
    return start if settings["rand_init"] else where(state["restart"] > 0, start, x)


def _descend(model_fn, state, start, nb_iter, settings):
    x, bounds = state["image"], (settings["clip_min"], settings["clip_max"])

    def step(i, adv):
        adv = adv + _steepest(model_fn, state, adv, settings)
        eta = tf.clip_by_value(adv, *bounds) - x
        adv = x + project(eta, settings["norm"], state["eps"])
        return i + 1, tf.clip_by_value(adv, *bounds)

    return tf.while_loop(lambda i, _: i < nb_iter, step, (0, start))[1]


def _steepest(model_fn, state, adv, settings):
    """The step of length `eps_iter` that raises the loss most, or a sparse one."""
    size = column(state["eps_iter"], adv)
    gradient = _gradient(model_fn, adv, state["label"], settings)
    if settings["norm"] != 1:
        return optimize_linear(gradient, size, settings["norm"])
    gradient = drop_blocked(gradient, adv, settings["clip_min"], settings["clip_max"])
    # A percentage per image: of a single one CleverHans keeps an entry too many.
    percent = tf.fill(tf.shape(adv)[:1], settings["grad_sparsity"])
    return size * sparse_direction(gradient, threshold_rank(percent, adv))


def _gradient(model_fn, adv, y, settings):
    if settings["loss"] == "ce":  # CleverHans', which `contract` has traced already
        model_fn, y = stacked(model_fn, y)
        return compute_gradient(model_fn, cross_entropy, adv, y, settings["targeted"])
    loss_fn = losses.LOSSES[settings["loss"]]
    return losses.climb(model_fn, loss_fn, adv, y, settings["targeted"])[2]


def _keep_best(model_fn, state, adv, settings):
    """The image that fools, else the one with the highest loss of all restarts."""
    y, targeted = state["label"], settings["targeted"]
    loss_fn = losses.LOSSES[settings["loss"]]
    logits, loss = losses.evaluate(model_fn, loss_fn, adv, y)
    loss = -loss if targeted else loss
    fooled = losses.is_fooled(logits, y, targeted)
    better = losses.is_better(fooled, loss, state["fooled"], state["best_loss"])
    return {
        "best": where(better, adv, state["best"]),
        "best_loss": tf.where(better, loss, state["best_loss"]),
        "fooled": state["fooled"] | fooled,
    }


@staged((np.inf, 2, 1), Stages(init, advance, finish), eps_per_image=True)
def pgd(
    *,
    eps=8 / 255,
    eps_iter=2 / 255,
    nb_iter=20,
    norm=np.inf,
    loss="ce",
    rand_init=None,
    rand_minmax=None,
    nb_restarts=1,
    grad_sparsity=99.0,
):
    """Projected gradient descent, Madry et al. 2017 (arXiv:1706.06083), section 2.1.

    Steps along the gradient's sign (inf) or direction (2), as CleverHans. In norm 1 the
    steepest step would change one entry; here it is that of sparse L1 descent (Tramer
    and Boneh 2019, arXiv:1904.13000, section 5), without the entries that the bounds
    block, and with the Euclidean projection onto the ball that the paper has.

    In a training step, call it outside the gradient tape, which would otherwise record
    every iteration.

    Args:
      eps: the radius, one number or float `[batch]`.
      eps_iter: reduced to eps.
      loss: what it climbs, a name of `losses.LOSSES`.
      rand_init: start at a uniform draw from the ball of radius `rand_minmax`, or eps
        where that is None. CleverHans' default is no random start.
      nb_restarts: descents at most: the first as `rand_init` says, the next ones from
        random starts. It keeps the image that fools, else that of the highest loss.
      grad_sparsity: of norm 1, the percentage of entries that a step leaves alone.
    """
    losses.check_loss(loss)
    if norm == 1 and not (np.isscalar(grad_sparsity) and 0 < grad_sparsity < 100):
        raise ValueError(
            "`grad_sparsity` must be in (0, 100). "
            f"Received: grad_sparsity={grad_sparsity}."
        )


def cost(hyper):
    """The forward and backward passes it takes per image, at most, a pair."""
    restarts, iterations = hyper["nb_restarts"], hyper["nb_iter"]
    judged = restarts > 1  # the last iterate of each restart is classified
    return restarts * (iterations + judged), restarts * iterations
