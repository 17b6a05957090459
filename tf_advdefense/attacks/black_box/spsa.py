"""SPSA: gradient descent where the gradient is estimated from the model's scores.

    adv = spsa(model, images, labels, eps=8 / 255)
    adv = spsa(model, images, targets, targeted=True, early_stop_loss_threshold=0.0)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is within eps of them in `norm`. No gradient is needed, so that masked ones do
not help a model against it.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import adam
from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.balls import project
from tf_advdefense.attacks.core.balls import radii
from tf_advdefense.attacks.core.draws import sign
from tf_advdefense.attacks.core.draws import uniform
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.state import Progress
from tf_advdefense.attacks.core.state import begin
from tf_advdefense.attacks.core.state import column
from tf_advdefense.attacks.core.state import compiled
from tf_advdefense.attacks.core.state import loop
from tf_advdefense.attacks.core.state import select
from tf_advdefense.attacks.core.state import settled


class Hyper(NamedTuple):
    """Uesato et al. 2018 (arXiv:1802.05666), algorithm 1, after CleverHans.

    The loss is by how much the right logit exceeds the largest other one, or for
    targeted attacks the largest other one the target's. CleverHans has no defaults for
    eps and nb_iter. What differs from its TF2 version, which fails on Keras 3: batches,
    with draws of its own for every image; the L2 norm, which its PyTorch version has;
    the estimate is that of the gradient, not `delta` times it, and the mean over
    `spsa_iters`, not the sum (to Adam the scale hardly matters); a pass per iteration
    tells whether the image fools the model; and the constant in Adam's denominator is
    1e-8.

    Attributes:
      eps: the radius.
      norm: np.inf or 2.
      nb_iter: iterations at most.
      early_stop_loss_threshold: an image is done once its loss falls below this; 0.0
        ends with the first success, None takes all `nb_iter` iterations.
      learning_rate: of Adam, about what an entry moves per iteration.
      delta: how far from the image the loss is probed.
      spsa_samples: probes per estimate, an even number: they come in opposite pairs.
      spsa_iters: estimates per iteration.
    """

    eps: float = 8 / 255
    norm: float = np.inf
    nb_iter: int = 100
    early_stop_loss_threshold: float | None = None
    learning_rate: float = 0.01
    delta: float = 0.01
    spsa_samples: int = 128
    spsa_iters: int = 1


class State(NamedTuple):
    image: tf.Tensor  # float32 [n, h, w, c]
    label: tf.Tensor  # int64 [n]
    key: tf.Tensor  # int64 [n]: of the random draws
    eps: tf.Tensor  # float32 [n]
    eta: tf.Tensor  # float32 [n, h, w, c]: the perturbation
    iteration: tf.Tensor  # int32 [n]: iterations done
    moments: adam.Moments
    progress: Progress


def init(
    model_fn: ModelFn,
    x: tf.Tensor,
    y: tf.Tensor,
    keys: tf.Tensor,
    hyper: Hyper,
    task: Task,
) -> State:
    """The state of images at a random start."""
    eps = radii(hyper.eps, x)
    eta = column(eps, x) * (2 * uniform(keys, 0, tuple(x.shape[1:])) - 1)
    return State(
        image=x,
        label=y,
        key=keys,
        eps=eps,
        eta=_project(eta, x, eps, hyper, task),
        iteration=tf.zeros(tf.shape(x)[:1], tf.int32),
        moments=adam.at_rest(x),
        progress=begin(x),
    )


def advance(model_fn: ModelFn, state: State, hyper: Hyper, task: Task) -> State:
    """Runs one iteration, which takes a pass per sample, on every image."""
    # Radii are in the state: a sweep over eps is traced once.
    return _advance(model_fn, state, hyper._replace(eps=None), task)


@compiled
def _advance(model_fn, state, hyper, task):
    return loop(lambda state: _iterate(model_fn, state, hyper, task), state, 1)


def finish(state: State, hyper: Hyper, task: Task) -> tf.Tensor:
    """The images where the descent ended."""
    return tf.clip_by_value(state.image + state.eta, task.clip_min, task.clip_max)


def _iterate(model_fn, state, hyper, task):
    iteration = state.iteration + 1
    gradient = estimate(model_fn, state, hyper, task)
    step, moments = adam.step(state.moments, gradient, iteration, hyper.learning_rate)
    eta = _project(state.eta - step, state.image, state.eps, hyper, task)
    new = state._replace(eta=eta, iteration=iteration, moments=moments)
    loss, fooled = _loss(model_fn, finish(new, hyper, task), state.label, task)
    done = iteration >= hyper.nb_iter
    if hyper.early_stop_loss_threshold is not None:
        done |= settled(model_fn, loss < hyper.early_stop_loss_threshold)
    progress = state.progress.spend(forwards=1 + _samples(hyper))
    new = new._replace(progress=progress._replace(done=done, fooled=fooled))
    return select(state.progress.done, state, new)


def estimate(model_fn: Callable, state: State, hyper: Hyper, task: Task) -> tf.Tensor:
    """The loss's gradient at the state's images, float32 `[n, h, w, c]`.

    The mean over random signs r of `r (loss(x + delta r) - loss(x - delta r))`, divided
    by `2 delta`, where x is the image with its perturbation so far.
    """
    pairs, delta = _samples(hyper) // 2, hyper.delta
    point, label = state.image + state.eta, tf.tile(state.label, [2])
    shape, iteration = tuple(point.shape[1:]), 1 + state.iteration

    # A pair at a time: the model sees twice the batch, whatever the samples.
    def add(pair, total):
        signs = sign(state.key, [iteration, pair], shape)
        probes = tf.concat([point + delta * signs, point - delta * signs], axis=0)
        up, down = tf.split(_loss(model_fn, probes, label, task)[0], 2)
        slopes = column((up - down) / (2 * delta), signs) * signs
        return pair + 1, total + slopes

    _, total = tf.while_loop(
        lambda pair, _: pair < pairs, add, (0, tf.zeros_like(point))
    )
    # Where the model overflows, the image stays.
    return tf.where(tf.math.is_finite(total), total / pairs, 0.0)


def _loss(model_fn, x, y, task):
    """What the descent makes small, and which images fool the model; `[n]` each."""
    logits, margin = losses.evaluate(model_fn, losses.margin, x, y)
    fooled = losses.is_fooled(logits, y, task.targeted)
    return (margin if task.targeted else -margin), fooled


def _project(eta, x, eps, hyper, task):
    """Into the ball, then into the bounds, which do not lead out of the ball."""
    eta = project(eta, hyper.norm, eps)
    return tf.clip_by_value(x + eta, task.clip_min, task.clip_max) - x


def _samples(hyper):
    """Probes per iteration; the mean over `spsa_iters` estimates is one of them all."""
    return hyper.spsa_iters * hyper.spsa_samples


def check(hyper: Hyper) -> None:
    """Refuses an odd number of samples, and a distance of probes that is none."""
    if hyper.spsa_samples % 2:
        raise ValueError(
            "`spsa_samples` must be even, because samples come in opposite pairs. "
            f"Received: spsa_samples={hyper.spsa_samples}."
        )
    if not hyper.delta > 0:
        raise ValueError(f"`delta` must be above 0. Received: delta={hyper.delta}.")


def passes(hyper: Hyper, image_shape: Sequence[int], num_classes: int) -> Passes:
    """A pass per probe, and one per iteration that tells whether the image fools."""
    return hyper.nb_iter * (_samples(hyper) + 1), 0


spsa = Attack(
    name="spsa",
    title="SPSA",
    paper="arXiv:1802.05666",
    norms=(np.inf, 2),
    goal="fixed-eps",
    access="scores",
    hyper=Hyper(),
    init=init,
    advance=advance,
    finish=finish,
    passes=passes,
    check=check,
    # On 128 images that hold out, 100 x 128 probes are 55 minutes, where 20 iterations
    # of 64 end with the first success in under 6.
    budget={"nb_iter": 20, "spsa_samples": 64, "early_stop_loss_threshold": 0.0},
)
