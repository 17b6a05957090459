"""The steps of Auto-PGD in L1: along few entries, whose number follows the best point.

Croce and Hein 2021 (arXiv:2103.01208), section 4 and algorithm 1. What `autopgd` asks
of a step rule is described there.
"""

import math

import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core import l1_ball
from tf_advdefense.attacks.core.balls import lengths
from tf_advdefense.attacks.core.stages import column

_SHARE = 0.2  # of the entries, moved by the first steps from a random start
_THINNING = 1.5  # a step moves this many times fewer entries than the best point has
_SHORTENING = 1.5
_SHORTEST = 0.1  # of the radius


def intervals(n_iter):
    """The interval between checkpoints, its decrement, and the shortest."""
    interval = max(int(0.04 * n_iter), 1)
    return interval, 0, interval


def start(keys, run, x, radius, settings):
    """A normal draw around each image, projected."""
    noise = draws.normal(keys, run, x.shape[1:])
    return project(x + noise, x, radius, settings)


def project(point, x, radius, settings):
    """Onto the L1 ball around `x` and the box, at once."""
    bounds = settings["clip_min"] - x, settings["clip_max"] - x
    # Less than the radius by what rounding may add.
    eta = l1_ball.project(point - x, column(radius, x) * (1 - 1e-6), *bounds)
    return tf.clip_by_value(x + eta, settings["clip_min"], settings["clip_max"])


def begin(x, point, radius, settings):
    entries = tf.fill(tf.shape(radius), float(math.prod(x.shape[1:])))
    fields = {"step": radius, "share": tf.zeros_like(radius) + _SHARE}
    if not settings["use_largereps"]:
        return {**fields, "entries": entries}
    moved = lengths(point - x, 0)
    return {**fields, "share": moved / entries / _THINNING, "entries": moved}


def adapt(state, loss, checkpoint, radius, settings):
    """At a checkpoint, takes the number of entries from the best point.

    Where that point has become sparser, the step is the radius again, and the row goes
    back to it; elsewhere the step is shortened.
    """
    x = state["image"]
    entries = lengths(state["best"] - x, 0)
    sparser = checkpoint & (entries < 0.95 * state["entries"])
    step = tf.maximum(state["step"] / _SHORTENING, _SHORTEST * radius)
    share = entries / math.prod(x.shape[1:]) / _THINNING
    fields = {
        "step": tf.where(checkpoint, tf.where(sparser, radius, step), state["step"]),
        "share": tf.where(checkpoint, share, state["share"]),
        "entries": tf.where(checkpoint, entries, state["entries"]),
    }
    return fields, sparser


def move(state, current, gradient, radius, settings):
    """One step along the largest entries of the gradient, by equal amounts."""
    x = state["image"]
    flat = tf.reshape(gradient, [-1, math.prod(x.shape[1:])])
    size, entries = tf.abs(flat), flat.shape[1]
    rank = tf.cast((1 - state["share"]) * entries, tf.int32)
    count = entries - tf.clip_by_value(rank, 0, entries - 1)
    largest = tf.math.top_k(size, tf.reduce_max(count)).values
    least = tf.gather(largest, count - 1, batch_dims=1)
    signs = tf.where(size >= least[:, None], tf.sign(flat), 0.0)
    number = tf.reduce_sum(tf.abs(signs), axis=1, keepdims=True)
    direction = tf.reshape(tf.math.divide_no_nan(signs, number), tf.shape(x))
    point = current + column(state["step"], x) * direction
    return {"point": project(point, x, radius, settings)}
