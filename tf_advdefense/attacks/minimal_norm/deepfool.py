"""DeepFool, in three functions on per-image state.

    adv = deepfool(model, images, labels)
    adv = deepfool(model, images, labels, norm=np.inf, nb_candidate=5)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is the first image on the way that fools the model, checked with its overshoot
and inside the bounds, and the image itself where none did, or where the model is wrong
already.
"""

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.balls import dual_lengths
from tf_advdefense.attacks.core.balls import lengths
from tf_advdefense.attacks.core.model_fn import predict
from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import column
from tf_advdefense.attacks.core.stages import compiled
from tf_advdefense.attacks.core.stages import counters
from tf_advdefense.attacks.core.stages import select
from tf_advdefense.attacks.core.stages import staged
from tf_advdefense.attacks.core.stages import where

_CROSS = 1e-5  # CleverHans adds it to the gap of the logits, to end beyond the boundary


def init(model_fn, x, y, seed, index, settings):
    """The state of images before their first iteration."""
    reached = predict(model_fn, x) == y
    fooled = reached if settings["targeted"] else ~reached
    state = {
        "image": x,
        "label": y,
        "adv": x,
        "perturbation": tf.zeros_like(x),  # without the overshoot and the bounds
        "iteration": tf.zeros_like(y, tf.int32),
        **counters(x),
    }
    state.update(done=fooled, fooled=fooled, forwards=state["forwards"] + 1)
    return state


@compiled
def advance(model_fn, state, settings):
    """One iteration: a step to the nearest linearised boundary, and a look beyond it.

    An iteration is a block, because it takes a backward pass per candidate.
    """
    step, count = _nearest_boundary(model_fn, state, settings)
    perturbation = state["perturbation"] + step
    adv = state["image"] + (1 + settings["overshoot"]) * perturbation
    adv = tf.clip_by_value(adv, settings["clip_min"], settings["clip_max"])
    fooled = losses.is_fooled(model_fn(adv), state["label"], settings["targeted"])
    iteration = state["iteration"] + 1
    stuck = lengths(step, np.inf) == 0
    new = {
        **state,
        "adv": adv,
        "perturbation": perturbation,
        "iteration": iteration,
        "done": fooled | stuck | (iteration >= settings["max_iter"]),
        "fooled": fooled,
        "forwards": state["forwards"] + 2,
        "backwards": state["backwards"] + count,
    }
    return select(state["done"], state, new)


def finish(state, settings):
    """The fooling image of each row, or the row's own image."""
    return where(state["fooled"], state["adv"], state["image"])


def _nearest_boundary(model_fn, state, settings):
    """The shortest step to any candidate's linearised boundary, and their number."""
    x, norm = state["adv"], settings["norm"]
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(x)
        logits = model_fn(x)
    pairs = _pairs(logits, state["label"], settings)

    def consider(i, best_size, best_gradient):
        pair = tf.gather(pairs, i, axis=1)
        gradient = tape.gradient(logits, x, output_gradients=pair)
        gap = tf.abs(tf.reduce_sum(pair * logits, axis=1)) + _CROSS
        size = gap / dual_lengths(gradient, norm)
        # Without a gradient it is infinite, and NaN is never less: neither is taken.
        closer = size < best_size
        best_gradient = where(closer, gradient, best_gradient)
        return i + 1, tf.where(closer, size, best_size), best_gradient

    _, size, gradient = tf.while_loop(
        lambda i, *_: i < pairs.shape[1],
        consider,
        (0, tf.fill(tf.shape(x)[:1], np.inf), tf.zeros_like(x)),
    )
    if norm == 2:
        direction = tf.math.divide_no_nan(gradient, column(lengths(gradient, 2), x))
    else:
        direction = tf.sign(gradient)
    size = tf.where(size < np.inf, size, 0.0)
    return column(size, x) * direction, pairs.shape[1]


def _pairs(logits, labels, settings):
    """The weights of the logits in each candidate's lead, `[n, candidates, classes]`.

    Untargeted, the leads of the likeliest other classes over the label; targeted, that
    of the target over the largest other logit.
    """
    classes = logits.shape[-1]
    own = tf.one_hot(labels, classes)
    count = 1 if settings["targeted"] else min(settings["nb_candidate"], classes) - 1
    others = tf.math.top_k(tf.where(own > 0, logits.dtype.min, logits), count).indices
    pairs = tf.one_hot(others, classes) - own[:, None]
    return -pairs if settings["targeted"] else pairs


def cost(hyper):
    """The forward and backward passes per image at most, from the hyperparameters."""
    return 1 + 2 * hyper["max_iter"], hyper["max_iter"] * (hyper["nb_candidate"] - 1)


@staged(norms=(2, np.inf), stages=Stages(init, advance, finish))
def deepfool(*, norm=2.0, nb_candidate=10, overshoot=0.02, max_iter=50):
    """Moosavi-Dezfooli et al. 2016 (arXiv:1511.04599), algorithm 2, with any labels.

    Steps are CleverHans 3's, with its 1e-5 beyond each boundary. Different from it: the
    label to leave is `y`; each step is linearised, and success judged, at the image
    with its overshoot and inside the bounds, as by the authors' code, so that the image
    returned is one that was seen to fool (there, the overshoot comes at the end, with
    no look at it); each image stops alone; a candidate without a gradient is passed
    over (there, a division by zero), and images without any stop; `nb_candidate` above
    the number of classes means all of them (there, an error). `norm=np.inf` takes the
    steps of the paper's section 3.3, and with `targeted` the target is the only
    candidate, its boundary that with the largest other logit.

    Args:
      norm: of the distance: 2 or np.inf.
      nb_candidate: how many of the likeliest classes are looked at, the label included.
      overshoot: the share by which the perturbation is lengthened.
      max_iter: iterations at most.
    """
    if nb_candidate < 2:
        raise ValueError(
            "`nb_candidate` must be at least 2: the label and one class to reach. "
            f"Received: nb_candidate={nb_candidate}."
        )
    if not overshoot >= 0:
        raise ValueError(
            f"`overshoot` must be at least 0. Received: overshoot={overshoot}."
        )
