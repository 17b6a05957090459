"""The elastic net attack (EAD): sparse perturbations.

    adv = ead(model, images, labels)
    adv = ead(model, images, targets, targeted=True, decision_rule="L1", beta=1e-1)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is the closest fooling image found, and the image itself where none was, or where
the model is fooled already.
"""

import functools
from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.state import Progress
from tf_advdefense.attacks.core.state import begin
from tf_advdefense.attacks.core.state import column
from tf_advdefense.attacks.core.state import compiled
from tf_advdefense.attacks.core.state import loop
from tf_advdefense.attacks.minimal_norm import constant_search


class Hyper(NamedTuple):
    """Chen et al. 2018 (arXiv:1709.04114), algorithm 1, by FISTA.

    As in CleverHans 3, the step size falls with the square root of what is left of the
    search step. Different from it: the constant is searched, and the early abort acts,
    for each image on its own (`constant_search`), so that batches of any size give the
    same; success at distance zero ends the search; the iterate that triggers the abort
    counts too; and an unknown decision rule is refused instead of read as "L1". Each
    iteration goes forward twice: at the momentum point, with the gradient, and at the
    iterate, which may fool the model.

    Attributes:
      beta: the weight of the L1 norm, and the shrinkage of each iteration.
      decision_rule: which fooling image is the closest: by "EN", the squared L2 norm
        plus beta times the L1 norm, or by "L1".
      confidence: the margin by which the wrong logit must lead.
      learning_rate: the first step size.
      binary_search_steps: how often the constant c of `c * f` is tried.
      max_iterations: iterations for each of them.
      abort_early: leave a search step when a tenth of it lowers the loss by less than
        1 %.
      initial_const: the first c; ten times as much after a failure, until a success.
    """

    beta: float = 1e-2
    decision_rule: str = "EN"
    confidence: float = 0.0
    learning_rate: float = 1e-2
    binary_search_steps: int = 9
    max_iterations: int = 1000
    abort_early: bool = False
    initial_const: float = 1e-3


class State(NamedTuple):
    iterate: tf.Tensor  # float32 [n, h, w, c]: the paper's x
    ahead: tf.Tensor  # float32 [n, h, w, c]: its y, the momentum point
    search: constant_search.Search
    progress: Progress


def init(
    model_fn: ModelFn,
    x: tf.Tensor,
    y: tf.Tensor,
    keys: tf.Tensor,
    hyper: Hyper,
    task: Task,
) -> State:
    """The state before the first iteration."""
    search = constant_search.begin(x, y, hyper)
    return State(search=search, progress=begin(x), **_at_the_image(x))


def _at_the_image(x):
    return {"iterate": x, "ahead": x}


@compiled
def advance(model_fn: ModelFn, state: State, hyper: Hyper, task: Task) -> State:
    """Runs a block of iterations on every image."""
    iterate = lambda state: _iterate(model_fn, state, hyper, task)
    return loop(iterate, state, constant_search.BLOCK)


finish = constant_search.closest


def _iterate(model_fn, state, hyper, task):
    search = state.search
    moved = _descend(model_fn, state, hyper, task)
    iterate = _shrink(moved, search.image, hyper, task)
    penalty, success = constant_search.objective(model_fn, iterate, search, hyper, task)
    l2, l1 = _lengths(iterate - search.image)
    elastic_net = l2 + hyper.beta * l1
    distance = l1 if hyper.decision_rule == "L1" else elastic_net
    t = tf.cast(search.iteration + 1, tf.float32)
    momentum = column(t / (t + 3), iterate) * (iterate - state.iterate)
    new = state._replace(
        iterate=iterate,
        ahead=iterate + momentum,
        search=constant_search.record(search, iterate, distance, success),
        progress=state.progress.spend(forwards=2, backwards=1),
    )
    loss, restart = penalty + elastic_net, _at_the_image(search.image)
    return constant_search.settle(state, new, loss, restart, hyper)


def _descend(model_fn, state, hyper, task):
    """A gradient step on the smooth part, `c * f + ||.||_2^2`, from the point ahead."""
    ahead, search = state.ahead, state.search
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(ahead)
        penalty, _ = constant_search.objective(model_fn, ahead, search, hyper, task)
        loss = penalty + _lengths(ahead - search.image)[0]
    t = tf.cast(search.iteration, tf.float32)
    rate = hyper.learning_rate * tf.sqrt(1 - t / hyper.max_iterations)
    return ahead - column(rate, ahead) * tape.gradient(loss, ahead)


def _shrink(moved, image, hyper, task):
    """Equation 5: entries within `beta` of the image return to it, others come nearer.

    The threshold is `beta` at any step size, so that what is minimised has an L1 part
    of weight beta / rate.
    """
    eta, beta = moved - image, hyper.beta
    nearer = tf.where(eta > 0, moved - beta, moved + beta)
    nearer = tf.clip_by_value(nearer, task.clip_min, task.clip_max)
    return tf.where(tf.abs(eta) <= beta, image, nearer)


def _lengths(eta):
    """The squared L2 norm and the L1 norm of each row."""
    axes = list(range(1, len(eta.shape)))
    return tf.reduce_sum(eta**2, axes), tf.reduce_sum(tf.abs(eta), axes)


def check(hyper: Hyper) -> None:
    """Refuses a negative beta and an unknown rule."""
    if not hyper.beta >= 0:
        raise ValueError(f"`beta` must be at least 0. Received: beta={hyper.beta}.")
    if hyper.decision_rule not in ("EN", "L1"):
        raise ValueError(
            "`decision_rule` must be 'EN' or 'L1'. "
            f"Received: decision_rule={hyper.decision_rule!r}."
        )


ead = Attack(
    name="ead",
    title="EAD",
    paper="arXiv:1709.04114",
    norms=(1,),
    goal="minimal-norm",
    access="gradients",
    hyper=Hyper(),
    init=init,
    advance=advance,
    finish=finish,
    passes=functools.partial(constant_search.passes, forwards=2),
    spent=0.2,
    check=check,
    # 9 x 1000 take more than twice as long as cw's 5 x 1000. The closest in L1 instead
    # of in the elastic net has a mean L1 norm a third smaller, at the same cost.
    budget={"max_iterations": 100, "abort_early": True, "decision_rule": "L1"},
)
