"""The stages of Auto-PGD: runs from random starts, leg by leg, for each image apart.

How a row steps is the matter of a step rule, `auto_pgd_dense` in Linf and L2 and
`auto_pgd_sparse` in L1, which are modules of six functions: `intervals` between
checkpoints, `start`, `project`, `begin` (the fields of the state that belong to the
rule), `adapt` (their change after an iterate, and which rows go back to their best
point) and `move`. A leg is a number of iterations in a ball of one radius: one leg
makes a run, but for L1 with its schedule of radii.
"""

import functools
import math
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.state import Progress
from tf_advdefense.attacks.core.state import begin
from tf_advdefense.attacks.core.state import changed
from tf_advdefense.attacks.core.state import compiled
from tf_advdefense.attacks.core.state import loop
from tf_advdefense.attacks.core.state import select
from tf_advdefense.attacks.core.state import settled
from tf_advdefense.attacks.core.state import where
from tf_advdefense.attacks.gradient import auto_pgd_dense
from tf_advdefense.attacks.gradient import auto_pgd_sparse

_RULES = {np.inf: auto_pgd_dense, 2: auto_pgd_dense, 1: auto_pgd_sparse}
_BLOCK = 10  # gradients that a call of `advance` takes


class State(NamedTuple):
    image: tf.Tensor  # float32 [n, h, w, c]
    label: tf.Tensor  # int64 [n]: to leave, or targeted, to reach
    own: tf.Tensor  # int64 [n]: the class that the loss leaves
    targets: tf.Tensor  # int64 [n, targets]: that it goes for, one after the other
    radii: tf.Tensor  # float32 [n, legs]
    keys: tf.Tensor  # int64 [n]: of the random starts
    answer: tf.Tensor  # float32 [n, h, w, c]: fools, or else has the highest loss
    answer_loss: tf.Tensor  # float32 [n]
    run: tf.Tensor  # int32 [n]: restart after restart, target after target
    leg: tf.Tensor  # int32 [n]: of this run
    iteration: tf.Tensor  # int32 [n]: of this leg
    since: tf.Tensor  # int32 [n]: iterations since the last checkpoint
    interval: tf.Tensor  # int32 [n]: to the next checkpoint
    point: tf.Tensor  # float32 [n, h, w, c]: the iterate
    best: tf.Tensor  # float32 [n, h, w, c]: of the highest loss in this leg
    best_gradient: tf.Tensor  # float32 [n, h, w, c]
    best_loss: tf.Tensor  # float32 [n]
    rule: Any  # the `Fields` of the step rule
    progress: Progress


def init(
    model_fn: ModelFn,
    x: tf.Tensor,
    y: tf.Tensor,
    keys: tf.Tensor,
    hyper: Any,
    task: Task,
    loss: str,
) -> State:
    """The state of images before their first run.

    Args:
      loss: "ce", "dlr" or "targeted_dlr".
    """
    # Radii are in the state: a sweep over eps is traced once.
    each = [tf.cast(times * hyper.eps, tf.float32) for times, _ in legs(hyper)]
    hyper = _traced(model_fn, hyper)
    return _init(model_fn, x, y, keys, tf.stack(each), hyper, task, loss)


def _traced(model_fn, hyper):
    """The hyperparameters that a trace depends on."""
    # Passes through the expectation of a random model are all the same pass.
    passes = 1 if model_fn.is_expectation else hyper.eot_iter
    return hyper._replace(eps=None, eot_iter=passes)


@tf.function(autograph=False)
def _init(model_fn, x, y, keys, radii, hyper, task, loss):
    logits = _mean(lambda: [_scores(model_fn(x), hyper)], hyper)[0]
    fooled = losses.is_fooled(logits, y, task.targeted)
    own, targets = _classes(logits, y, hyper, task, loss)
    done = _settled(model_fn, fooled, hyper)
    progress = begin(x).spend(forwards=hyper.eot_iter)
    state = {
        "image": x,
        "label": y,
        "own": own,
        "targets": targets,
        "radii": tf.tile(radii[tf.newaxis], [tf.shape(x)[0], 1]),
        "keys": keys,
        "answer": x,
        "answer_loss": tf.fill(tf.shape(y), -math.inf),
        "progress": progress._replace(fooled=fooled, done=done),
    }
    zeros = tf.zeros_like(progress.forwards)
    begun = _first_point(x, keys, state["radii"], x, zeros, zeros, hyper, task)
    return State(**state, **begun)


def _is_towards_one(loss, task):
    """Whether the loss has a class to leave and one to reach.

    The untargeted ratio is constant, -1, in a target that comes third.
    """
    return loss == "targeted_dlr" or (loss == "dlr" and task.targeted)


def _classes(logits, y, hyper, task, loss):
    """The class to leave, and those to reach, one after the other."""
    if not _is_towards_one(loss, task):
        return y, y[:, None][:, :0]
    if task.targeted:
        return tf.argmax(logits, axis=1), y[:, None]
    count = min(hyper.n_target_classes, logits.shape[-1] - 1)
    # Not the first class, which of a random model need not be the label's.
    own = tf.one_hot(y, logits.shape[-1], on_value=True, off_value=False)
    others = tf.where(own, -math.inf, logits)
    return y, tf.cast(tf.math.top_k(others, count).indices, tf.int64)


def advance(
    model_fn: ModelFn, state: State, hyper: Any, task: Task, loss: str
) -> State:
    """Runs a block of iterations, of one input gradient each, or `eot_iter`."""
    return _advance(model_fn, state, _traced(model_fn, hyper), task, loss)


@compiled
def _advance(model_fn, state, hyper, task, loss):
    span = max(1, _BLOCK // hyper.eot_iter)
    return loop(lambda state: iterate(model_fn, state, hyper, task, loss), state, span)


def finish(state: State, hyper: Any, task: Task) -> tf.Tensor:
    """The first fooling iterate of each row, or the point of highest loss.

    Of random models it is the point of highest loss of those that fool, if any does.
    """
    return state.answer


def iterate(
    model_fn: ModelFn, state: State, hyper: Any, task: Task, loss: str
) -> State:
    """One iteration of every row: a gradient at its point, and a step from there."""
    rule, (radius, steps, _, shorter, least) = (
        _RULES[hyper.norm],
        _leg(state.radii, state.leg, hyper),
    )
    logits, level, gradient = _climb(model_fn, state, hyper, task, loss)
    new = _record(state, logits, level, gradient, hyper, task)
    # Checkpoints come at intervals that grow shorter; the start itself is none.
    since = state.since + tf.cast(state.iteration > 0, tf.int32)
    checkpoint = since == state.interval
    fields, back = rule.adapt(new, level, checkpoint, radius, hyper)
    new = new._replace(rule=fields)
    current = where(back, new.best, state.point)
    gradient = where(back, new.best_gradient, gradient)
    point, fields = rule.move(new, current, gradient, radius, hyper, task)
    shortened = tf.maximum(state.interval - shorter, least)
    new = new._replace(
        rule=fields,
        point=point,
        since=tf.where(checkpoint, 0, since),
        interval=tf.where(checkpoint, shortened, state.interval),
        iteration=state.iteration + 1,
    )
    ended = ~state.progress.done & (state.iteration >= steps)
    new = changed(ended, lambda: _next_leg(new, hyper, task), new)
    done = _settled(model_fn, new.progress.fooled, hyper)
    done |= new.run >= _runs(state, hyper)
    new = new._replace(progress=new.progress._replace(done=done))
    return select(state.progress.done, state, new)


def _settled(model_fn, fooled, hyper):
    """As `settled`; several passes are for functions that draw at random, too."""
    return tf.zeros_like(fooled) if hyper.eot_iter > 1 else settled(model_fn, fooled)


def legs(hyper: Any) -> list[tuple[int, int]]:
    """The radius, as a multiple of eps, and the steps of each leg of a run."""
    n_iter = hyper.n_iter
    if not hyper.use_largereps:
        return [(1, n_iter)]
    first = math.ceil(0.3 * n_iter)
    second = min(first, n_iter - first)
    return [(3, first), (2, second), (1, n_iter - first - second)]


def _leg(radii, leg, hyper):
    """Each row's radius, number of steps, and intervals between checkpoints."""
    steps = [each for _, each in legs(hyper)]
    intervals = zip(*(_RULES[hyper.norm].intervals(each) for each in steps))
    tables = [tf.gather(table, leg) for table in (steps, *intervals)]
    return [tf.gather(radii, leg, batch_dims=1), *tables]


def _runs(state, hyper):
    return max(state.targets.shape[1], 1) * hyper.n_restarts


def _first_point(x, keys, radii, best, run, leg, hyper, task):
    """The fields as a leg begins: at random, or at the best point of the leg before."""
    rule, (radius, _, interval, *_) = _RULES[hyper.norm], _leg(radii, leg, hyper)
    point = rule.start(keys, run, x, radius, hyper, task)
    if len(legs(hyper)) > 1:
        kept = rule.project(best, x, radius, hyper, task)
        point = where(leg > 0, kept, point)
    return {
        "run": run,
        "leg": leg,
        "iteration": tf.zeros_like(leg),
        "since": tf.zeros_like(leg),
        "interval": interval,
        "point": point,
        "best": point,
        "best_gradient": tf.zeros_like(x),
        "best_loss": tf.fill(tf.shape(leg), -math.inf),
        "rule": rule.begin(x, point, radius, hyper),
    }


def _next_leg(state, hyper, task):
    last = state.leg == len(legs(hyper)) - 1
    run, leg = state.run + tf.cast(last, tf.int32), tf.where(last, 0, state.leg + 1)
    images = state.image, state.keys, state.radii, state.best
    return state._replace(**_first_point(*images, run, leg, hyper, task))


def _climb(model_fn, state, hyper, task, loss):
    """The logits, the loss and its gradient at each row's point."""
    labels, targeted = state.label, task.targeted
    # A mean over passes is one of cross-entropies.
    several = hyper.eot_iter > 1
    loss_fn = losses.LOSSES.get(loss) if several else _loss_fn(loss, model_fn)
    if _is_towards_one(loss, task):
        order = tf.minimum(state.run, _runs(state, hyper) - 1)
        target = order // hyper.n_restarts
        targets = tf.gather(state.targets, target, batch_dims=1)
        loss_fn = functools.partial(losses.targeted_dlr, targets=targets)
        labels, targeted = state.own, False

    def climb():
        logits, level, gradient = losses.climb(
            model_fn, loss_fn, state.point, labels, targeted
        )
        return [_scores(logits, hyper), level, gradient]

    logits, level, gradient = _mean(climb, hyper)
    # An overflowing model has NaN gradients: such entries stay where they are.
    return logits, level, tf.where(tf.math.is_finite(gradient), gradient, 0.0)


def _loss_fn(loss, model_fn):
    return None if loss == "targeted_dlr" else losses.of(loss, model_fn)


def _scores(logits, hyper):
    """Logits, or where passes are to be averaged, log-probabilities."""
    return tf.nn.log_softmax(logits) if hyper.eot_iter > 1 else logits


def _mean(draw, hyper):
    """The means of a list of tensors over `eot_iter` draws of it."""
    count = hyper.eot_iter
    if count == 1:
        return draw()
    add = lambda i, *sums: (i + 1, *(a + b for a, b in zip(sums, draw())))
    _, *sums = tf.while_loop(lambda i, *_: i < count, add, (1, *draw()))
    return [each / count for each in sums]


def _record(state, logits, level, gradient, hyper, task):
    """The best point of the leg, the row's answer so far, and the passes."""
    point, better = state.point, level > state.best_loss
    inside = state.leg == len(legs(hyper)) - 1
    fooled = inside & losses.is_fooled(logits, state.label, task.targeted)
    before = state.progress.fooled
    taken = inside & losses.is_better(fooled, level, before, state.answer_loss)
    progress = state.progress.spend(hyper.eot_iter, hyper.eot_iter)
    return state._replace(
        best=where(better, point, state.best),
        best_gradient=where(better, gradient, state.best_gradient),
        best_loss=tf.where(better, level, state.best_loss),
        answer=where(taken, point, state.answer),
        answer_loss=tf.where(taken, level, state.answer_loss),
        progress=progress._replace(fooled=before | fooled),
    )
