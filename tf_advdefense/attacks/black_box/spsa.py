"""SPSA: gradient descent where the gradient is estimated from the model's scores.

    adv = spsa(model, images, labels, eps=8 / 255)
    adv = spsa(model, images, targets, targeted=True, early_stop_loss_threshold=0.0)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is within eps of them in `norm`. No gradient is needed, so that masked ones do
not help a model against it.
"""

from cleverhans.tf2.utils import clip_eta
import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import adam
from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.draws import sign
from tf_advdefense.attacks.core.draws import uniform
from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import column
from tf_advdefense.attacks.core.stages import compiled
from tf_advdefense.attacks.core.stages import counters
from tf_advdefense.attacks.core.stages import loop
from tf_advdefense.attacks.core.stages import select
from tf_advdefense.attacks.core.stages import settled
from tf_advdefense.attacks.core.stages import staged


def init(model_fn, x, y, seed, index, settings):
    """The state of images at a random start."""
    keys = row_keys(seed, index)
    eta = settings["eps"] * (2 * uniform(keys, 0, tuple(x.shape[1:])) - 1)
    return {
        "image": x,
        "label": y,
        "eta": _project(eta, x, settings),
        "iteration": tf.zeros(tf.shape(x)[:1], tf.int32),
        "keys": keys,
        **counters(x),
        **adam.at_rest(x),
    }


@compiled
def advance(model_fn, state, settings):
    """One iteration, which takes a pass per sample."""
    return loop(lambda state: _iterate(model_fn, state, settings), state, 1)


def finish(state, settings):
    """The images where the descent ended."""
    adv = state["image"] + state["eta"]
    return tf.clip_by_value(adv, settings["clip_min"], settings["clip_max"])


def _iterate(model_fn, state, settings):
    iteration = state["iteration"] + 1
    gradient = _estimate(model_fn, state, settings)
    step, moments = adam.step(state, gradient, iteration, settings["learning_rate"])
    eta = _project(state["eta"] - step, state["image"], settings)
    new = {**state, **moments, "eta": eta, "iteration": iteration}
    adv = finish(new, settings)
    loss, new["fooled"] = _loss(model_fn, adv, state["label"], settings)
    new["forwards"] += 1 + _samples(settings)
    new["done"] = iteration >= settings["nb_iter"]
    if settings["early_stop_loss_threshold"] is not None:
        low = loss < settings["early_stop_loss_threshold"]
        new["done"] |= settled(model_fn, low)
    return select(state["done"], state, new)


def _loss(model_fn, x, y, settings):
    """The lead of the right class, or of any over the target, and who is fooled."""
    logits, lead = losses.evaluate(model_fn, losses.margin, x, y)
    fooled = losses.is_fooled(logits, y, settings["targeted"])
    return (lead if settings["targeted"] else -lead), fooled


def _project(eta, x, settings):
    """Into the ball, then into the bounds, which do not lead out of the ball."""
    eta = clip_eta(eta, settings["norm"], settings["eps"])
    return tf.clip_by_value(x + eta, settings["clip_min"], settings["clip_max"]) - x


def _estimate(model_fn, state, settings):
    """The loss's gradient: mean over signs r of `r (f(x + d r) - f(x - d r)) / 2 d`."""
    pairs, delta = _samples(settings) // 2, settings["delta"]
    point, label = state["image"] + state["eta"], tf.tile(state["label"], [2])
    shape, iteration = tuple(point.shape[1:]), 1 + state["iteration"]

    # A pair at a time: the model sees twice the batch, whatever the samples.
    def add(pair, total):
        signs = sign(state["keys"], [iteration, pair], shape)
        probes = tf.concat([point + delta * signs, point - delta * signs], axis=0)
        up, down = tf.split(_loss(model_fn, probes, label, settings)[0], 2)
        slopes = column((up - down) / (2 * delta), signs) * signs
        return pair + 1, total + slopes

    _, total = tf.while_loop(
        lambda pair, _: pair < pairs, add, (0, tf.zeros_like(point))
    )
    # Where the model overflows, the image stays.
    return tf.where(tf.math.is_finite(total), total / pairs, 0.0)


def _samples(settings):
    """Probes per iteration; the mean over `spsa_iters` estimates is one of them all."""
    return settings["spsa_iters"] * settings["spsa_samples"]


def passes(hyper):
    """Forward and backward passes per image, at most."""
    return hyper["nb_iter"] * (_samples(hyper) + 1), 0


@staged((np.inf, 2), Stages(init, advance, finish), gradient=False)
def spsa(
    *,
    eps=8 / 255,
    norm=np.inf,
    nb_iter=100,
    early_stop_loss_threshold=None,
    learning_rate=0.01,
    delta=0.01,
    spsa_samples=128,
    spsa_iters=1,
):
    """Uesato et al. 2018 (arXiv:1802.05666), algorithm 1, after CleverHans.

    The loss is the lead of the right logit, or for targeted attacks of the largest over
    the target's. CleverHans has no defaults for eps and nb_iter. What differs from its
    TF2 version, which fails on Keras 3: batches, with draws of its own for every image;
    the L2 norm, which its PyTorch version has; the estimate is that of the gradient,
    not `delta` times it, and the mean over `spsa_iters`, not the sum (to Adam the scale
    hardly matters); a pass per iteration tells whether the image fools the model; and
    the constant in Adam's denominator is 1e-8.

    Args:
      early_stop_loss_threshold: an image is done once its loss falls below this; 0.0
        ends with the first success, None takes all `nb_iter` iterations.
      learning_rate: of Adam, about what an entry moves per iteration.
      delta: how far from the image the loss is probed.
      spsa_samples: probes per estimate, an even number: they come in opposite pairs.
      spsa_iters: estimates per iteration.
    """
    if spsa_samples % 2:
        raise ValueError(
            "`spsa_samples` must be even, because samples come in opposite pairs. "
            f"Received: spsa_samples={spsa_samples}."
        )
    if not delta > 0:
        raise ValueError(f"`delta` must be above 0. Received: delta={delta}.")
