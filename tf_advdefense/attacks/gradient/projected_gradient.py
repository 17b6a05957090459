"""Projected gradient descent in balls of norm inf, 2 and 1, with restarts.

    adv = pgd(model, images, labels, eps=8 / 255, rand_init=True, seed=1)
    adv = pgd(model, images, labels, eps=12.0, eps_iter=1.0, norm=1, nb_restarts=5)
    adv = pgd([model, other], images, labels, eps=radius_of_each_image, loss="margin")

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; eps, one
number or one per image, and eps_iter are in their units. The result is within eps of
the images in `norm`, and within the bounds.

In norms inf and 2 it is CleverHans' loop, step by step the same gradient,
`optimize_linear` and `clip_eta` (but for tiny gradients, `core.ascent`),
compiled as a whole: CleverHans runs the arithmetic
between two gradients eagerly, unrolls its loop when traced, draws the random start from
the global generator, and has neither norm 1 nor restarts. An image that a restart has
fooled takes no part in the next ones, unless the model is random (`state.settled`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.ascent import cross_entropy_gradient
from tf_advdefense.attacks.core.ascent import steepest
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.balls import project
from tf_advdefense.attacks.core.balls import radii
from tf_advdefense.attacks.core.balls import random_ball
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.state import Progress
from tf_advdefense.attacks.core.state import begin
from tf_advdefense.attacks.core.state import column
from tf_advdefense.attacks.core.state import compiled
from tf_advdefense.attacks.core.state import select
from tf_advdefense.attacks.core.state import settled
from tf_advdefense.attacks.core.state import where
from tf_advdefense.attacks.gradient.sparse_l1 import drop_blocked
from tf_advdefense.attacks.gradient.sparse_l1 import sparse_direction
from tf_advdefense.attacks.gradient.sparse_l1 import threshold_rank


class Hyper(NamedTuple):
    """Projected gradient descent, Madry et al. 2017 (arXiv:1706.06083), section 2.1.

    Steps along the gradient's sign (inf) or direction (2), as CleverHans. In norm 1 the
    steepest step would change one entry; here it is that of sparse L1 descent (Tramer
    and Boneh 2019, arXiv:1904.13000, section 5), without the entries that the bounds
    block, and with the Euclidean projection onto the ball that the paper has.

    In a training step, call it outside the gradient tape, which would otherwise record
    every iteration.

    Attributes:
      eps: the radius, one number or float `[batch]`.
      eps_iter: the length of a step, reduced to eps.
      nb_iter: steps of a descent.
      norm: np.inf, 2 or 1.
      loss: what it climbs, a name of `losses.LOSSES`.
      rand_init: start at a uniform draw from the ball of radius `rand_minmax`.
        CleverHans' default is no random start.
      rand_minmax: None for eps.
      nb_restarts: descents at most: the first as `rand_init` says, the next ones from
        random starts. It keeps the image that fools, else that of the highest loss.
      grad_sparsity: of norm 1, the percentage of entries that a step leaves alone.
      clip_grad: leave out the entries that the bounds block, as CleverHans calls it;
        norm 1 always does.
    """

    eps: float = 8 / 255
    eps_iter: float = 2 / 255
    nb_iter: int = 20
    norm: float = np.inf
    loss: str = "ce"
    rand_init: bool | None = None
    rand_minmax: float | None = None
    nb_restarts: int = 1
    grad_sparsity: float = 99.0
    clip_grad: bool = False
    later = ("clip_grad",)


class State(NamedTuple):
    image: tf.Tensor  # float32 [n, h, w, c]
    label: tf.Tensor  # int64 [n]
    key: tf.Tensor  # int64 [n]: of the random starts
    eps: tf.Tensor  # float32 [n]
    eps_iter: tf.Tensor  # float32 [n]
    start: tf.Tensor  # float32 [n]: radius of the random starts
    restart: tf.Tensor  # int32 [n]: descents done
    best: tf.Tensor  # float32 [n, h, w, c]: fools, or else has the highest loss
    best_loss: tf.Tensor  # float32 [n]
    progress: Progress


def init(
    model_fn: ModelFn,
    x: tf.Tensor,
    y: tf.Tensor,
    keys: tf.Tensor,
    hyper: Hyper,
    task: Task,
) -> State:
    """The state of images before their first descent."""
    eps = radii(hyper.eps, x)
    start = hyper.rand_minmax
    return State(
        image=x,
        label=y,
        key=keys,
        eps=eps,
        eps_iter=tf.minimum(radii(hyper.eps_iter, x), eps),
        start=eps if start is None else radii(start, x),
        restart=tf.zeros_like(eps, tf.int32),
        best=x,
        best_loss=tf.zeros_like(eps) - np.inf,
        progress=begin(x),
    )


def advance(model_fn: ModelFn, state: State, hyper: Hyper, task: Task) -> State:
    """Runs one descent, `nb_iter` steps, on every image."""
    # Sizes are in the state and steps a tensor: a sweep over eps is traced once.
    nb_iter = tf.cast(hyper.nb_iter, tf.int32)
    constant = hyper._replace(eps=None, eps_iter=None, rand_minmax=None, nb_iter=None)
    return _descent(model_fn, state, nb_iter, constant, task)


def finish(state: State, hyper: Hyper, task: Task) -> tf.Tensor:
    """The best image of each row."""
    return state.best


@compiled
def _descent(model_fn, state, nb_iter, hyper, task):
    adv = _descend(model_fn, state, _start(state, hyper, task), nb_iter, hyper, task)
    new = state._replace(
        best=adv,
        restart=state.restart + 1,
        progress=state.progress.spend(nb_iter, nb_iter),
    )
    if hyper.nb_restarts > 1:  # else whether it fools decides nothing
        new = _keep_best(model_fn, state, new, hyper, task)
    ended = settled(model_fn, new.progress.fooled)
    ended |= new.restart >= hyper.nb_restarts
    new = new._replace(progress=new.progress._replace(done=ended))
    return select(state.progress.done, state, new)


def _start(state, hyper, task):
    x = state.image
    if not hyper.rand_init and hyper.nb_restarts == 1:
        return x
    eta = random_ball(state.key, state.restart, x.shape[1:], hyper.norm)
    eta = project(column(state.start, x) * eta, hyper.norm, state.eps)
    start = tf.clip_by_value(x + eta, task.clip_min, task.clip_max)
    return start if hyper.rand_init else where(state.restart > 0, start, x)


def _descend(model_fn, state, start, nb_iter, hyper, task):
    x, bounds = state.image, (task.clip_min, task.clip_max)

    def step(i, adv):
        adv = adv + _steepest(model_fn, state, adv, hyper, task)
        eta = tf.clip_by_value(adv, *bounds) - x
        adv = x + project(eta, hyper.norm, state.eps)
        return i + 1, tf.clip_by_value(adv, *bounds)

    return tf.while_loop(lambda i, _: i < nb_iter, step, (0, start))[1]


def _steepest(model_fn, state, adv, hyper, task):
    """The step of length `eps_iter` that raises the loss most, or a sparse one."""
    size = column(state.eps_iter, adv)
    gradient = _gradient(model_fn, adv, state.label, hyper, task)
    if hyper.clip_grad or hyper.norm == 1:
        gradient = drop_blocked(gradient, adv, task.clip_min, task.clip_max)
    if hyper.norm != 1:
        return steepest(gradient, size, hyper.norm)
    # A percentage per image: of a single one CleverHans keeps an entry too many.
    percent = tf.fill(tf.shape(adv)[:1], hyper.grad_sparsity)
    return size * sparse_direction(gradient, threshold_rank(percent, adv))


def _gradient(model_fn, adv, y, hyper, task):
    if hyper.loss == "ce":
        return cross_entropy_gradient(model_fn, adv, y, task.targeted)
    loss_fn = losses.LOSSES[hyper.loss]
    return losses.climb(model_fn, loss_fn, adv, y, task.targeted)[2]


def _keep_best(model_fn, state, new, hyper, task):
    """The image that fools, else the one with the highest loss of all descents."""
    loss_fn = losses.of(hyper.loss, model_fn)
    logits, loss = losses.evaluate(model_fn, loss_fn, new.best, state.label)
    loss = -loss if task.targeted else loss
    fooled = losses.is_fooled(logits, state.label, task.targeted)
    before = state.progress.fooled
    better = losses.is_better(fooled, loss, before, state.best_loss)
    return new._replace(
        best=where(better, new.best, state.best),
        best_loss=tf.where(better, loss, state.best_loss),
        progress=new.progress.spend(forwards=1)._replace(fooled=before | fooled),
    )


def check(hyper: Hyper) -> None:
    """Refuses an unknown loss, and a sparsity that is no percentage."""
    losses.check_loss(hyper.loss)
    sparsity = hyper.grad_sparsity
    if hyper.norm == 1 and not (np.isscalar(sparsity) and 0 < sparsity < 100):
        raise ValueError(
            f"`grad_sparsity` must be in (0, 100). Received: grad_sparsity={sparsity}."
        )


def passes(hyper: Hyper, image_shape: Sequence[int], num_classes: int) -> Passes:
    """Of several descents the last image of each is classified, too."""
    restarts, iterations = hyper.nb_restarts, hyper.nb_iter
    return restarts * (iterations + (restarts > 1)), restarts * iterations


pgd = Attack(
    name="pgd",
    title="PGD",
    paper="arXiv:1706.06083",
    norms=(np.inf, 2, 1),
    goal="fixed-eps",
    access="gradients",
    hyper=Hyper(),
    init=init,
    advance=advance,
    finish=finish,
    passes=passes,
    check=check,
    eps_per_image=True,
)
