"""The steps of Auto-PGD in L1: along few entries, whose number follows the best point.

Croce and Hein 2021 (arXiv:2103.01208), section 4 and algorithm 1. What Auto-PGD
asks of a step rule is told in `auto_pgd_runs`.
"""

import math
from typing import Any
from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core import l1_ball
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.balls import lengths
from tf_advdefense.attacks.core.state import column

_SHARE = 0.2  # of the entries, moved by the first steps from a random start
_THINNING = 1.5  # a step moves this many times fewer entries than the best point has
_SHORTENING = 1.5
_SHORTEST = 0.1  # of the radius


def intervals(n_iter: int) -> tuple[int, int, int]:
    """The interval between checkpoints, its decrement, and the shortest."""
    interval = max(int(0.04 * n_iter), 1)
    return interval, 0, interval


def start(
    keys: tf.Tensor,
    run: tf.Tensor,
    x: tf.Tensor,
    radius: tf.Tensor,
    hyper: Any,
    task: Task,
) -> tf.Tensor:
    """A normal draw around each image, projected."""
    noise = draws.normal(keys, run, x.shape[1:])
    return project(x + noise, x, radius, hyper, task)


def project(
    point: tf.Tensor, x: tf.Tensor, radius: tf.Tensor, hyper: Any, task: Task
) -> tf.Tensor:
    """Onto the L1 ball around `x` and the box, at once."""
    bounds = task.clip_min - x, task.clip_max - x
    # Less than the radius by what rounding may add.
    eta = l1_ball.project(point - x, column(radius, x) * (1 - 1e-6), *bounds)
    return tf.clip_by_value(x + eta, task.clip_min, task.clip_max)


class Fields(NamedTuple):
    """The rule's part of the state."""

    step: tf.Tensor  # float32 [n]: the length of a step
    share: tf.Tensor  # float32 [n]: of the entries, moved by a step
    entries: tf.Tensor  # float32 [n]: changed by the best point at the checkpoint


def begin(x: tf.Tensor, point: tf.Tensor, radius: tf.Tensor, hyper: Any) -> Fields:
    """The fields as a leg begins."""
    entries = tf.fill(tf.shape(radius), float(math.prod(x.shape[1:])))
    if not hyper.use_largereps:
        return Fields(radius, tf.zeros_like(radius) + _SHARE, entries)
    moved = lengths(point - x, 0)
    return Fields(radius, moved / entries / _THINNING, moved)


def adapt(
    state: Any, loss: tf.Tensor, checkpoint: tf.Tensor, radius: tf.Tensor, hyper: Any
) -> tuple[Fields, tf.Tensor]:
    """At a checkpoint, takes the number of entries from the best point.

    Where that point has become sparser, the step is the radius again, and the row goes
    back to it; elsewhere the step is shortened.
    """
    x, rule = state.image, state.rule
    entries = lengths(state.best - x, 0)
    sparser = checkpoint & (entries < 0.95 * rule.entries)
    step = tf.maximum(rule.step / _SHORTENING, _SHORTEST * radius)
    share = entries / math.prod(x.shape[1:]) / _THINNING
    fields = Fields(
        step=tf.where(checkpoint, tf.where(sparser, radius, step), rule.step),
        share=tf.where(checkpoint, share, rule.share),
        entries=tf.where(checkpoint, entries, rule.entries),
    )
    return fields, sparser


def move(
    state: Any,
    current: tf.Tensor,
    gradient: tf.Tensor,
    radius: tf.Tensor,
    hyper: Any,
    task: Task,
) -> tuple[tf.Tensor, Fields]:
    """One step along the largest entries of the gradient, by equal amounts."""
    x = state.image
    flat = tf.reshape(gradient, [-1, math.prod(x.shape[1:])])
    size, entries = tf.abs(flat), flat.shape[1]
    rank = tf.cast((1 - state.rule.share) * entries, tf.int32)
    count = entries - tf.clip_by_value(rank, 0, entries - 1)
    largest = tf.math.top_k(size, tf.reduce_max(count)).values
    least = tf.gather(largest, count - 1, batch_dims=1)
    signs = tf.where(size >= least[:, None], tf.sign(flat), 0.0)
    number = tf.reduce_sum(tf.abs(signs), axis=1, keepdims=True)
    direction = tf.reshape(tf.math.divide_no_nan(signs, number), tf.shape(x))
    point = current + column(state.rule.step, x) * direction
    return project(point, x, radius, hyper, task), state.rule
