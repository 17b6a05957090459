"""DeepFool: to the nearest linearised boundary, again and again.

    adv = deepfool(model, images, labels)
    adv = deepfool(model, images, labels, norm=np.inf, nb_candidate=5)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is the first image on the way that fools the model, checked with its overshoot
and inside the bounds, and the image itself where none did, or where the model is wrong
already.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.balls import lengths
from tf_advdefense.attacks.core.balls import linear_distance
from tf_advdefense.attacks.core.balls import power_of_two
from tf_advdefense.attacks.core.balls import slopes
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.model_fn import predict
from tf_advdefense.attacks.core.state import Progress
from tf_advdefense.attacks.core.state import begin
from tf_advdefense.attacks.core.state import column
from tf_advdefense.attacks.core.state import compiled
from tf_advdefense.attacks.core.state import select
from tf_advdefense.attacks.core.state import where

# CleverHans adds it to the gap of the logits, to end beyond the boundary. Of logits of
# a small scale it would be a jump: there the step is longer by it, instead.
_CROSS = 1e-5


class Hyper(NamedTuple):
    """Moosavi-Dezfooli et al. 2016 (arXiv:1511.04599), algorithm 2, with any labels.

    Steps are CleverHans 3's, with its 1e-5 of the logits beyond each boundary, and no
    more than 1e-5 of the image, so that a small scale of logits is no jump. Different:
    the label to leave is `y`; each step is linearised, and success judged, at the image
    with its overshoot and inside the bounds, as by the authors' code, so that the image
    returned is one that was seen to fool (there, the overshoot comes at the end, with
    no look at it); each image stops alone; a candidate without a gradient is passed
    over (there, a division by zero), and images without any stop; `nb_candidate` above
    the number of classes means all of them (there, an error). `norm=np.inf` takes the
    steps of the paper's section 3.3, and with `targeted` the target is the only
    candidate, its boundary that with the largest other logit.

    Attributes:
      norm: of the distance: 2 or np.inf.
      nb_candidate: how many of the likeliest classes are looked at, the label included.
      overshoot: the share by which the perturbation is lengthened.
      max_iter: iterations at most.
    """

    norm: float = 2.0
    nb_candidate: int = 10
    overshoot: float = 0.02
    max_iter: int = 50


class State(NamedTuple):
    image: tf.Tensor  # float32 [n, h, w, c]
    label: tf.Tensor  # int64 [n]
    adv: tf.Tensor  # float32 [n, h, w, c]: with the overshoot, inside the bounds
    perturbation: tf.Tensor  # float32 [n, h, w, c]: without either
    iteration: tf.Tensor  # int32 [n]
    progress: Progress


def init(
    model_fn: ModelFn,
    x: tf.Tensor,
    y: tf.Tensor,
    keys: tf.Tensor,
    hyper: Hyper,
    task: Task,
) -> State:
    """The state of images before their first iteration."""
    reached = predict(model_fn, x) == y
    fooled = reached if task.targeted else ~reached
    return State(
        image=x,
        label=y,
        adv=x,
        perturbation=tf.zeros_like(x),
        iteration=tf.zeros_like(y, tf.int32),
        progress=begin(x).spend(forwards=1)._replace(done=fooled, fooled=fooled),
    )


@compiled
def advance(model_fn: ModelFn, state: State, hyper: Hyper, task: Task) -> State:
    """One iteration: a step to the nearest linearised boundary, and a look beyond it.

    An iteration is a block, because it takes a backward pass per candidate.
    """
    step, count = _nearest_boundary(model_fn, state, hyper, task)
    perturbation = state.perturbation + step
    adv = state.image + (1 + hyper.overshoot) * perturbation
    adv = tf.clip_by_value(adv, task.clip_min, task.clip_max)
    fooled = losses.is_fooled(model_fn(adv), state.label, task.targeted)
    iteration = state.iteration + 1
    stuck = lengths(step, np.inf) == 0
    progress = state.progress.spend(forwards=2, backwards=count)
    new = state._replace(
        adv=adv,
        perturbation=perturbation,
        iteration=iteration,
        progress=progress._replace(
            done=fooled | stuck | (iteration >= hyper.max_iter), fooled=fooled
        ),
    )
    return select(state.progress.done, state, new)


def finish(state: State, hyper: Hyper, task: Task) -> tf.Tensor:
    """The fooling image of each row, or the row's own image."""
    return where(state.progress.fooled, state.adv, state.image)


def _nearest_boundary(model_fn, state, hyper, task):
    """The shortest step to any candidate's linearised boundary, and their number."""
    x, norm = state.adv, hyper.norm
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(x)
        logits = model_fn(x)
    pairs = _pairs(logits, state.label, hyper, task)

    def consider(i, best_size, best_gradient):
        pair = tf.gather(pairs, i, axis=1)
        gradient = tape.gradient(logits, x, output_gradients=pair)
        cross = _CROSS * tf.minimum(slopes(gradient, norm), 1)
        gap = tf.abs(tf.reduce_sum(pair * logits, axis=1)) + cross
        size = linear_distance(gap, gradient, norm)
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
        gradient = tf.math.divide_no_nan(gradient, power_of_two(gradient))
        direction = tf.math.divide_no_nan(gradient, column(lengths(gradient, 2), x))
    else:
        direction = tf.sign(gradient)
    size = tf.where(size < np.inf, size, 0.0)
    return column(size, x) * direction, pairs.shape[1]


def _pairs(logits, labels, hyper, task):
    """The weights of the logits in each candidate's lead, `[n, candidates, classes]`.

    Untargeted, the leads of the likeliest other classes over the label; targeted, that
    of the target over the largest other logit.
    """
    classes = logits.shape[-1]
    own = tf.one_hot(labels, classes)
    count = 1 if task.targeted else min(hyper.nb_candidate, classes) - 1
    others = tf.math.top_k(tf.where(own > 0, logits.dtype.min, logits), count).indices
    pairs = tf.one_hot(others, classes) - own[:, None]
    return -pairs if task.targeted else pairs


def passes(hyper: Hyper, image_shape: Sequence[int], num_classes: int) -> Passes:
    """A gradient per candidate class, and two looks, in each iteration."""
    candidates = min(hyper.nb_candidate, num_classes) - 1
    return 1 + 2 * hyper.max_iter, hyper.max_iter * candidates


def check(hyper: Hyper) -> None:
    """Refuses less than one class to reach, and a negative overshoot."""
    if hyper.nb_candidate < 2:
        raise ValueError(
            "`nb_candidate` must be at least 2: the label and one class to reach. "
            f"Received: nb_candidate={hyper.nb_candidate}."
        )
    if not hyper.overshoot >= 0:
        raise ValueError(
            f"`overshoot` must be at least 0. Received: overshoot={hyper.overshoot}."
        )


deepfool = Attack(
    name="deepfool",
    title="DeepFool",
    paper="arXiv:1511.04599",
    norms=(2, np.inf),
    goal="minimal-norm",
    access="gradients",
    hyper=Hyper(),
    init=init,
    advance=advance,
    finish=finish,
    passes=passes,
    spent=0.05,
    check=check,
)
