"""The steps of Auto-PGD in Linf and L2: with momentum, halved at checkpoints.

Croce and Hein 2020 (arXiv:2003.01690), section 3 and algorithm 1. What `autopgd` asks
of a step rule is described there.
"""

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core.stages import column

_MOMENTUM = 0.75  # the weight of the new step against the former one


def intervals(n_iter):
    """The first interval between checkpoints, its decrement, and the shortest."""
    return tuple(max(int(share * n_iter), 1) for share in (0.22, 0.03, 0.06))


def start(keys, run, x, radius, settings):
    """A random point of the sphere around each image, cut to the box."""
    if settings["norm"] == np.inf:
        noise = 2 * draws.uniform(keys, run, x.shape[1:]) - 1
    else:
        noise = draws.normal(keys, run, x.shape[1:])
    noise = column(radius, x) * _direction(noise, settings["norm"])
    return tf.clip_by_value(x + noise, settings["clip_min"], settings["clip_max"])


def project(point, x, radius, settings):
    """Onto the ball around `x`, then onto the box."""
    radius = column(radius, x)
    if settings["norm"] == np.inf:
        point = tf.clip_by_value(point, x - radius, x + radius)
    else:
        eta = point - x
        point = x + eta * tf.minimum(1.0, tf.math.divide_no_nan(radius, _length(eta)))
    return tf.clip_by_value(point, settings["clip_min"], settings["clip_max"])


def begin(x, point, radius, settings):
    like = tf.zeros_like(radius)
    return {
        "former": point,
        "step": 2 * radius,
        "loss": like,
        "rises": tf.cast(like, tf.int32),
        "checked_loss": like,
        # No checkpoint before the first: its halving is by the rises alone.
        "halved": tf.ones_like(like, tf.bool),
    }


def adapt(state, loss, checkpoint, radius, settings):
    """Counts the rises; at a checkpoint, halves the steps that were too long.

    That is where too few of the interval's steps raised the loss, or where the best
    loss has not risen since the last checkpoint and the step was not halved at it.
    """
    rose = (state["iteration"] > 0) & (loss > state["loss"])
    rises = state["rises"] + tf.cast(rose, tf.int32)
    enough = settings["rho"] * tf.cast(state["interval"], tf.float32)
    oscillates = tf.cast(rises, tf.float32) <= enough
    stalls = ~state["halved"] & (state["checked_loss"] >= state["best_loss"])
    halve = checkpoint & (oscillates | stalls)
    fields = {
        "loss": loss,
        "rises": tf.where(checkpoint, 0, rises),
        "step": tf.where(halve, state["step"] / 2, state["step"]),
        "halved": tf.where(checkpoint, halve, state["halved"]),
        "checked_loss": tf.where(checkpoint, state["best_loss"], state["checked_loss"]),
    }
    return fields, halve


def move(state, current, gradient, radius, settings):
    """One step up, averaged with the former step."""
    x = state["image"]
    step = column(state["step"], x) * _ascent(gradient, settings["norm"])
    ahead = project(current + step, x, radius, settings)
    share = column(tf.where(state["iteration"] > 0, _MOMENTUM, 1.0), x)
    inertia = (1 - share) * (current - state["former"])
    point = current + share * (ahead - current) + inertia
    return {"point": project(point, x, radius, settings), "former": current}


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
