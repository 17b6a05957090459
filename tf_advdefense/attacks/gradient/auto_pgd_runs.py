"""The stages of Auto-PGD: runs from random starts, leg by leg, for each image apart.

How a row steps is the matter of a step rule, `autopgd_dense` in Linf and L2 and
`autopgd_sparse` in L1, which are modules of five functions: `intervals` between
checkpoints, `start`, `project`, `begin` (the fields of the state that belong to the
rule), `adapt` (their change after an iterate, and which rows go back to their best
point) and `move`. A leg is a number of iterations in a ball of one radius: one leg
makes a run, but for L1 with its schedule of radii.
"""

import functools
import math

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.stages import compiled
from tf_advdefense.attacks.core.stages import counters
from tf_advdefense.attacks.core.stages import loop
from tf_advdefense.attacks.core.stages import select
from tf_advdefense.attacks.core.stages import settled
from tf_advdefense.attacks.core.stages import where
from tf_advdefense.attacks.gradient import auto_pgd_dense as autopgd_dense
from tf_advdefense.attacks.gradient import auto_pgd_sparse as autopgd_sparse

_RULES = {np.inf: autopgd_dense, 2: autopgd_dense, 1: autopgd_sparse}
_BLOCK = 10  # gradients that a call of `advance` takes


@tf.function(autograph=False)
def init(model_fn, x, y, seed, index, settings, loss):
    """The state of images before their first run.

    Args:
      x, y: images float32 and labels int64, checked.
      settings: the hyperparameters, `targeted`, `clip_min` and `clip_max`, as a dict.
      loss: "ce", "dlr" or "targeted_dlr".
    """
    logits = _mean(lambda: [_scores(model_fn(x), settings)], settings)[0]
    state = {
        "image": x,
        "label": y,
        "keys": draws.row_keys(seed, index),
        "best": x,
        "answer": x,
        "answer_loss": tf.fill(tf.shape(y), -math.inf),
        **counters(x),
    }
    state["forwards"] += settings["eot_iter"]
    state["fooled"] = losses.is_fooled(logits, y, settings["targeted"])
    state["done"] = _settled(model_fn, state["fooled"], settings)
    if _is_towards_one(loss, settings):
        state.update(_choose_targets(logits, y, settings))
    zeros = tf.zeros_like(state["forwards"])
    return _begin_leg(state, zeros, zeros, settings)


def _is_towards_one(loss, settings):
    """Whether the loss has a class to leave and one to reach.

    The untargeted ratio is constant, -1, in a target that comes third.
    """
    return loss == "targeted_dlr" or (loss == "dlr" and settings["targeted"])


def _choose_targets(logits, y, settings):
    """The classes to leave, `own`, and those to reach, one after the other."""
    if settings["targeted"]:
        return {"own": tf.argmax(logits, axis=1), "targets": y[:, None]}
    count = min(settings["n_target_classes"], logits.shape[-1] - 1)
    ranked = tf.math.top_k(logits, 1 + count).indices
    return {"own": y, "targets": tf.cast(ranked[:, 1:], tf.int64)}


@compiled
def advance(model_fn, state, settings, loss):
    """Runs a block of iterations, of one input gradient each, or `eot_iter`."""
    span = max(1, _BLOCK // settings["eot_iter"])
    return loop(lambda state: _iterate(model_fn, state, settings, loss), state, span)


def finish(state, settings):
    """The first fooling iterate of each row, or the point of highest loss.

    Of random models it is the point of highest loss of those that fool, if any does.
    """
    return state["answer"]


def _iterate(model_fn, state, settings, loss):
    rule, (radius, steps, _, shorter, least) = _rule(settings), _leg(state, settings)
    logits, level, gradient = _climb(model_fn, state, settings, loss)
    new = {**state, **_record(state, logits, level, gradient, settings)}
    # Checkpoints come at intervals that grow shorter; the start itself is none.
    new["since"] += tf.cast(state["iteration"] > 0, tf.int32)
    checkpoint = new["since"] == state["interval"]
    fields, back = rule.adapt(new, level, checkpoint, radius, settings)
    new.update(fields)
    current = where(back, new["best"], state["point"])
    gradient = where(back, new["best_gradient"], gradient)
    new.update(rule.move(new, current, gradient, radius, settings))
    new["since"] = tf.where(checkpoint, 0, new["since"])
    shortened = tf.maximum(state["interval"] - shorter, least)
    new["interval"] = tf.where(checkpoint, shortened, state["interval"])
    new["iteration"] += 1
    ended = ~state["done"] & (state["iteration"] >= steps)
    new = tf.cond(
        tf.reduce_any(ended),
        lambda: select(ended, _next_leg(new, settings), new),
        lambda: new,
    )
    new["done"] = _settled(model_fn, new["fooled"], settings)
    new["done"] |= new["run"] >= _runs(state, settings)
    return select(state["done"], state, new)


def _settled(model_fn, fooled, settings):
    """As `settled`; several passes are for functions that draw at random, too."""
    return (
        tf.zeros_like(fooled)
        if settings["eot_iter"] > 1
        else (settled(model_fn, fooled))
    )


def _rule(settings):
    return _RULES[settings["norm"]]


def _legs(settings):
    """The radius and the number of steps of each leg of a run."""
    eps, n_iter = settings["eps"], settings["n_iter"]
    if not settings["use_largereps"]:
        return [(eps, n_iter)]
    first = math.ceil(0.3 * n_iter)
    second = min(first, n_iter - first)
    return [(3 * eps, first), (2 * eps, second), (eps, n_iter - first - second)]


def _leg(state, settings):
    """Each row's radius, number of steps, and intervals between checkpoints."""
    radii, steps = zip(*_legs(settings))
    intervals = zip(*(_rule(settings).intervals(each) for each in steps))
    tables = [tf.constant(radii, tf.float32), steps, *intervals]
    return [tf.gather(table, state["leg"]) for table in tables]


def _runs(state, settings):
    targets = state["targets"].shape[1] if "targets" in state else 1
    return targets * settings["n_restarts"]


def _begin_leg(state, run, leg, settings):
    """The state at a leg's first point: random, or the best of the leg before."""
    rule, x = _rule(settings), state["image"]
    radius, _, interval, *_ = _leg({"leg": leg}, settings)
    point = rule.start(state["keys"], run, x, radius, settings)
    if len(_legs(settings)) > 1:
        kept = rule.project(state["best"], x, radius, settings)
        point = where(leg > 0, kept, point)
    return {
        **state,
        "run": run,
        "leg": leg,
        "iteration": tf.zeros_like(leg),
        "since": tf.zeros_like(leg),
        "interval": interval,
        "point": point,
        "best": point,
        "best_gradient": tf.zeros_like(x),
        "best_loss": tf.fill(tf.shape(leg), -math.inf),
        **rule.begin(x, point, radius, settings),
    }


def _next_leg(state, settings):
    last = state["leg"] == len(_legs(settings)) - 1
    leg = tf.where(last, 0, state["leg"] + 1)
    return _begin_leg(state, state["run"] + tf.cast(last, tf.int32), leg, settings)


def _climb(model_fn, state, settings, loss):
    """The logits, the loss and its gradient at each row's point."""
    labels, targeted = state["label"], settings["targeted"]
    loss_fn = losses.LOSSES.get(loss)
    if _is_towards_one(loss, settings):
        order = tf.minimum(state["run"], _runs(state, settings) - 1)
        target = order // settings["n_restarts"]
        targets = tf.gather(state["targets"], target, batch_dims=1)
        loss_fn = functools.partial(losses.targeted_dlr, targets=targets)
        labels, targeted = state["own"], False

    def climb():
        logits, level, gradient = losses.climb(
            model_fn, loss_fn, state["point"], labels, targeted
        )
        return [_scores(logits, settings), level, gradient]

    logits, level, gradient = _mean(climb, settings)
    # An overflowing model has NaN gradients: such entries stay where they are.
    return logits, level, tf.where(tf.math.is_finite(gradient), gradient, 0.0)


def _scores(logits, settings):
    """Logits, or where passes are to be averaged, log-probabilities."""
    return tf.nn.log_softmax(logits) if settings["eot_iter"] > 1 else logits


def _mean(draw, settings):
    """The means of a list of tensors over `eot_iter` draws of it."""
    count = settings["eot_iter"]
    if count == 1:
        return draw()
    add = lambda i, *sums: (i + 1, *(a + b for a, b in zip(sums, draw())))
    _, *sums = tf.while_loop(lambda i, *_: i < count, add, (1, *draw()))
    return [each / count for each in sums]


def _record(state, logits, level, gradient, settings):
    """The best point of the run, the row's answer so far, and the passes."""
    point, better = state["point"], level > state["best_loss"]
    inside = state["leg"] == len(_legs(settings)) - 1
    fooled = inside & losses.is_fooled(logits, state["label"], settings["targeted"])
    taken = inside & losses.is_better(
        fooled, level, state["fooled"], state["answer_loss"]
    )
    return {
        "best": where(better, point, state["best"]),
        "best_gradient": where(better, gradient, state["best_gradient"]),
        "best_loss": tf.where(better, level, state["best_loss"]),
        "fooled": state["fooled"] | fooled,
        "answer": where(taken, point, state["answer"]),
        "answer_loss": tf.where(taken, level, state["answer_loss"]),
        "forwards": state["forwards"] + settings["eot_iter"],
        "backwards": state["backwards"] + settings["eot_iter"],
    }
