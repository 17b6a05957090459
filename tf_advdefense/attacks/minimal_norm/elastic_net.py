"""The elastic net attack (EAD): sparse perturbations, in three functions on state.

    adv = ead(model, images, labels)
    adv = ead(model, images, targets, targeted=True, decision_rule="L1", beta=1e-1)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is the closest fooling image found, and the image itself where none was, or where
the model is fooled already.
"""

import tensorflow as tf

from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import column
from tf_advdefense.attacks.core.stages import compiled
from tf_advdefense.attacks.core.stages import loop
from tf_advdefense.attacks.core.stages import staged
from tf_advdefense.attacks.minimal_norm import constant_search


def init(model_fn, x, y, seed, index, settings):
    """The state before the first iteration; `y` the labels, or the targets."""
    return {**constant_search.begin(x, y, settings), **_at_the_image(x)}


def _at_the_image(x):
    """The paper's x and y: the iterate, and the momentum point ahead of it."""
    return {"iterate": x, "ahead": x}


@compiled
def advance(model_fn, state, settings):
    """Runs a block of iterations on every image; rows that are `done` keep theirs."""
    iterate = lambda state: _iterate(model_fn, state, settings)
    return loop(iterate, state, constant_search.BLOCK)


finish = constant_search.closest


def _iterate(model_fn, state, settings):
    moved = _descend(model_fn, state, settings)
    iterate = _shrink(moved, state["image"], settings)
    penalty, success = constant_search.objective(model_fn, iterate, state, settings)
    l2, l1 = _lengths(iterate - state["image"])
    elastic_net = l2 + settings["beta"] * l1
    distance = l1 if settings["decision_rule"] == "L1" else elastic_net
    t = tf.cast(state["iteration"] + 1, tf.float32)
    momentum = column(t / (t + 3), iterate) * (iterate - state["iterate"])
    new = {
        **state,
        **constant_search.record(state, iterate, distance, success),
        "iterate": iterate,
        "ahead": iterate + momentum,
        "forwards": state["forwards"] + 2,
        "backwards": state["backwards"] + 1,
    }
    loss, restart = penalty + elastic_net, _at_the_image(state["image"])
    return constant_search.settle(state, new, loss, restart, settings)


def _descend(model_fn, state, settings):
    """A gradient step on the smooth part, `c * f + ||.||_2^2`, from the point ahead."""
    ahead = state["ahead"]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(ahead)
        penalty, _ = constant_search.objective(model_fn, ahead, state, settings)
        loss = penalty + _lengths(ahead - state["image"])[0]
    t = tf.cast(state["iteration"], tf.float32)
    rate = settings["learning_rate"] * tf.sqrt(1 - t / settings["max_iterations"])
    return ahead - column(rate, ahead) * tape.gradient(loss, ahead)


def _shrink(moved, image, settings):
    """Equation 5: entries within `beta` of the image return to it, others come nearer.

    The threshold is `beta` at any step size, so that what is minimised has an L1 part
    of weight beta / rate.
    """
    eta, beta = moved - image, settings["beta"]
    nearer = tf.where(eta > 0, moved - beta, moved + beta)
    nearer = tf.clip_by_value(nearer, settings["clip_min"], settings["clip_max"])
    return tf.where(tf.abs(eta) <= beta, image, nearer)


def _lengths(eta):
    """The squared L2 norm and the L1 norm of each row."""
    axes = list(range(1, len(eta.shape)))
    return tf.reduce_sum(eta**2, axes), tf.reduce_sum(tf.abs(eta), axes)


@staged(norms=(1,), stages=Stages(init, advance, finish))
def ead(
    *,
    beta=1e-2,
    decision_rule="EN",
    confidence=0.0,
    learning_rate=1e-2,
    binary_search_steps=9,
    max_iterations=1000,
    abort_early=False,
    initial_const=1e-3,
):
    """Chen et al. 2018 (arXiv:1709.04114), algorithm 1, by FISTA.

    As in CleverHans 3, the step size falls with the square root of what is left of the
    search step. Different from it: the constant is searched, and the early abort acts,
    for each image on its own (`constant_search`), so that batches of any size give the
    same; success at distance zero ends the search; the iterate that triggers the abort
    counts too; and an unknown decision rule is refused instead of read as "L1". Each
    iteration goes forward twice: at the momentum point, with the gradient, and at the
    iterate, which may fool the model.

    Args:
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
    if not beta >= 0:
        raise ValueError(f"`beta` must be at least 0. Received: beta={beta}.")
    if decision_rule not in ("EN", "L1"):
        raise ValueError(
            "`decision_rule` must be 'EN' or 'L1'. "
            f"Received: decision_rule={decision_rule!r}."
        )
