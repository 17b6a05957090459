"""The steps of Auto-PGD in L1: along few entries, whose number follows the best point.

Croce and Hein 2021 (arXiv:2103.01208), section 4 and algorithm 1. What `autopgd` asks
of a step rule is described there.
"""

import math

import tensorflow as tf

from tf_advdefense.attacks import draws
from tf_advdefense.attacks.stages import column

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
    """The nearest point in the intersection of the L1 ball around `x` and the box.

    Every entry of the perturbation shrinks by the same amount, but not below zero, and
    then to the box; the least such amount that fits the ball is found by bisection, and
    exactly from there, because the length is linear in it but for finitely many points.
    """
    flat = [-1, math.prod(x.shape[1:])]
    eta, origin = tf.reshape(point - x, flat), tf.reshape(x, flat)
    size = tf.abs(eta)
    above, below = settings["clip_max"] - origin, origin - settings["clip_min"]
    room = tf.where(eta > 0, above, below)
    radius = radius[:, None]

    def shrunk(amount):
        return tf.clip_by_value(size - amount, 0.0, room)

    def length(amount):
        return tf.reduce_sum(shrunk(amount), axis=1, keepdims=True)

    def halve(i, low, high):
        middle = (low + high) / 2
        fits = length(middle) <= radius
        return i + 1, tf.where(fits, low, middle), tf.where(fits, middle, high)

    low = tf.zeros_like(radius)
    high = tf.reduce_max(size, axis=1, keepdims=True)
    high = tf.while_loop(lambda i, *_: i < 24, halve, (0, low, high))[2]
    # How fast the length grows when the amount falls: by 1 per entry in between.
    between = (size > high) & (size - high < room)
    slope = tf.reduce_sum(tf.cast(between, tf.float32), axis=1, keepdims=True)
    high -= tf.math.divide_no_nan(tf.nn.relu(radius - length(high)), slope)
    high = tf.where(length(low) <= radius, low, tf.maximum(high, low))
    eta = tf.sign(eta) * shrunk(high)
    eta *= tf.minimum(1.0, tf.math.divide_no_nan(radius, length(high)))
    point = x + tf.reshape(eta, tf.shape(x))
    return tf.clip_by_value(point, settings["clip_min"], settings["clip_max"])


def begin(x, point, radius, settings):
    entries = tf.fill(tf.shape(radius), float(math.prod(x.shape[1:])))
    fields = {"step": radius, "share": tf.zeros_like(radius) + _SHARE}
    if not settings["use_largereps"]:
        return {**fields, "entries": entries}
    moved = _entries(point, x)
    return {**fields, "share": moved / entries / _THINNING, "entries": moved}


def adapt(state, loss, checkpoint, radius, settings):
    """At a checkpoint, takes the number of entries from the best point.

    Where that point has become sparser, the step is the radius again, and the row goes
    back to it; elsewhere the step is shortened.
    """
    x = state["image"]
    entries = _entries(state["best"], x)
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


def _entries(point, x):
    """How many entries differ, float32 `[n]`."""
    axes = list(range(1, len(x.shape)))
    return tf.reduce_sum(tf.cast(point != x, tf.float32), axes)
