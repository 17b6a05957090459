"""The steps of Auto-PGD in Linf and L2: with momentum, halved at checkpoints.

Croce and Hein 2020 (arXiv:2003.01690), section 3 and algorithm 1. What Auto-PGD
asks of a step rule is told in `auto_pgd_runs`.
"""

from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.state import column

_MOMENTUM = 0.75  # the weight of the new step against the former one


def intervals(n_iter: int) -> tuple[int, int, int]:
    """The first interval between checkpoints, its decrement, and the shortest."""
    return tuple(max(int(share * n_iter), 1) for share in (0.22, 0.03, 0.06))


def start(
    keys: tf.Tensor,
    run: tf.Tensor,
    x: tf.Tensor,
    radius: tf.Tensor,
    hyper: Any,
    task: Task,
) -> tf.Tensor:
    """A random point of the sphere around each image, cut to the box."""
    if hyper.norm == np.inf:
        noise = 2 * draws.uniform(keys, run, x.shape[1:]) - 1
    else:
        noise = draws.normal(keys, run, x.shape[1:])
    noise = column(radius, x) * _direction(noise, hyper.norm)
    return tf.clip_by_value(x + noise, task.clip_min, task.clip_max)


def project(
    point: tf.Tensor, x: tf.Tensor, radius: tf.Tensor, hyper: Any, task: Task
) -> tf.Tensor:
    """Onto the ball around `x`, then onto the box."""
    radius = column(radius, x)
    if hyper.norm == np.inf:
        point = tf.clip_by_value(point, x - radius, x + radius)
    else:
        eta = point - x
        point = x + eta * tf.minimum(1.0, tf.math.divide_no_nan(radius, _length(eta)))
    return tf.clip_by_value(point, task.clip_min, task.clip_max)


class Fields(NamedTuple):
    """The rule's part of the state."""

    former: tf.Tensor  # float32 [n, h, w, c]: the point before the current one
    step: tf.Tensor  # float32 [n]: the length of a step
    loss: tf.Tensor  # float32 [n]: of the point before
    rises: tf.Tensor  # int32 [n]: steps since the checkpoint that raised the loss
    checked_loss: tf.Tensor  # float32 [n]: the best loss at the last checkpoint
    halved: tf.Tensor  # bool [n]: whether the step was halved there


def begin(x: tf.Tensor, point: tf.Tensor, radius: tf.Tensor, hyper: Any) -> Fields:
    """The fields as a leg begins."""
    like = tf.zeros_like(radius)
    return Fields(
        former=point,
        step=2 * radius,
        loss=like,
        rises=tf.cast(like, tf.int32),
        checked_loss=like,
        # No checkpoint before the first: its halving is by the rises alone.
        halved=tf.ones_like(like, tf.bool),
    )


def adapt(
    state: Any, loss: tf.Tensor, checkpoint: tf.Tensor, radius: tf.Tensor, hyper: Any
) -> tuple[Fields, tf.Tensor]:
    """Counts the rises; at a checkpoint, halves the steps that were too long.

    That is where too few of the interval's steps raised the loss, or where the best
    loss has not risen since the last checkpoint and the step was not halved at it.
    """
    rule = state.rule
    rose = (state.iteration > 0) & (loss > rule.loss)
    rises = rule.rises + tf.cast(rose, tf.int32)
    enough = hyper.rho * tf.cast(state.interval, tf.float32)
    oscillates = tf.cast(rises, tf.float32) <= enough
    stalls = ~rule.halved & (rule.checked_loss >= state.best_loss)
    halve = checkpoint & (oscillates | stalls)
    fields = rule._replace(
        loss=loss,
        rises=tf.where(checkpoint, 0, rises),
        step=tf.where(halve, rule.step / 2, rule.step),
        halved=tf.where(checkpoint, halve, rule.halved),
        checked_loss=tf.where(checkpoint, state.best_loss, rule.checked_loss),
    )
    return fields, halve


def move(
    state: Any,
    current: tf.Tensor,
    gradient: tf.Tensor,
    radius: tf.Tensor,
    hyper: Any,
    task: Task,
) -> tuple[tf.Tensor, Fields]:
    """One step up, averaged with the former step."""
    x = state.image
    step = column(state.rule.step, x) * _ascent(gradient, hyper.norm)
    ahead = project(current + step, x, radius, hyper, task)
    share = column(tf.where(state.iteration > 0, _MOMENTUM, 1.0), x)
    inertia = (1 - share) * (current - state.rule.former)
    point = current + share * (ahead - current) + inertia
    fields = state.rule._replace(former=current)
    return project(point, x, radius, hyper, task), fields


def _ascent(gradient, norm):
    if norm == np.inf:
        return tf.sign(gradient)
    # The square of a tiny gradient is zero: first its largest entry becomes 1.
    return _direction(_direction(gradient, np.inf), norm)


def _direction(values, norm):
    """Scaled to length 1 row by row; zero stays zero."""
    if norm == np.inf:
        axes = list(range(1, len(values.shape)))
        length = tf.reduce_max(tf.abs(values), axes, keepdims=True)
    else:
        length = _length(values)
    return tf.math.divide_no_nan(values, length)


def _length(values):
    axes = list(range(1, len(values.shape)))
    return tf.sqrt(tf.reduce_sum(values**2, axes, keepdims=True))
