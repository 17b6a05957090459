"""The phases of HopSkipJump: what a row asks in each, and what follows.

A row asks the model about one image at a time, and its `phase` says which: no row waits
for another, and none asks more than it needs. In order,

    CHECK    is the image itself fooling?
    START    is this random image?
    BLEND    how much of it does that take, to a thousandth of the way?
    PROJECT  where does the way from the image to `far` cross the boundary?
    SAMPLE   which of the points around `center`, on the boundary, are fooling?
    STEP     is the point a step along the direction that they give?

and from there to PROJECT, and through TURN to SAMPLE for the next iteration.
"""

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.black_box import hop_skip_jump_points as points
from tf_advdefense.attacks.core.stages import column
from tf_advdefense.attacks.core.stages import where

CHECK, START, BLEND, PROJECT, SAMPLE, STEP, TURN = range(7)

STARTS = 1000  # random images that are tried
BISECTIONS = 24  # shares of 2^-24 are the last that float32 can tell apart near 1
_BLEND = 1e-3  # the share that a blend is exact to


def question(state, settings):
    """The image that each row asks about; of a row that is done, its own."""
    point = state["image"]
    for phase, (ask, _) in _PHASES.items():
        there = _are_in(state, phase)
        point = _lazily(there, lambda ask=ask: ask(state, settings), point)
    return point


def answered(state, point, fooled, settings):
    """The state after the answers.

    Args:
      point: the images asked about.
      fooled: the answers, bool `[n]`: whether the model is fooled.
    """
    new = state
    for phase, (_, learn) in _PHASES.items():
        changes = lambda learn=learn: learn(state, point, fooled, settings)
        new = _change(new, _are_in(state, phase), changes)
    return _change(new, _are_in(new, TURN), lambda: _turn(new, settings))


def _are_in(state, phase):
    return (state["phase"] == phase) & ~state["done"]


def _lazily(mask, make, other):
    """`where(mask, make(), other)`, which makes nothing that no row needs.

    Rows are in much the same phase, so that this halves the work beside the model's.
    """
    return tf.cond(
        tf.reduce_any(mask), lambda: where(mask, make(), other), lambda: other
    )


def _change(state, mask, make):
    def change():
        return {**state, **{k: where(mask, v, state[k]) for k, v in make().items()}}

    return tf.cond(tf.reduce_any(mask), change, lambda: state)


def _checked(state, point, fooled, settings):
    return {"done": fooled, "phase": tf.fill(tf.shape(fooled), START)}


def _started(state, point, fooled, settings):
    tried = state["evaluation"] + 1
    found = tf.where(points.is_given(state, settings), PROJECT, BLEND)
    return {
        "far": where(fooled, point, state["far"]),
        "phase": tf.where(fooled, found, START),
        "evaluation": tried,
        # Random images of a given class are too rare to search for.
        "done": ~fooled & (tried >= (1 if settings["targeted"] else STARTS)),
    }


def _blended(state, point, fooled, settings):
    ended, high, ends = _halved(state, fooled, _BLEND)
    found = points.blend(state, settings, high)
    return {
        **ends,
        "far": where(ended, found, state["far"]),
        "phase": tf.where(ended, PROJECT, BLEND),
    }


def _halved(state, fooled, exact):
    """Whether bisections have ended, their upper ends, and what is kept of them."""
    middle = points.middle(state)
    low = tf.where(fooled, state["low"], middle)
    high = tf.where(fooled, middle, state["high"])
    ended = high - low <= exact
    ends = {"low": tf.where(ended, 0.0, low), "high": tf.where(ended, 1.0, high)}
    return ended, high, ends


def _projected(state, point, fooled, settings):
    exact = max(points.theta(state, settings), 2.0**-BISECTIONS)
    ended, high, ends = _halved(state, fooled, exact)
    found = points.project(state, settings, high)
    distance = points.distances(found, state["image"], settings)
    reach = points.distances(state["far"], state["image"], settings)
    chosen = ended & (distance < state["next_distance"])
    tried = state["evaluation"] + 1
    single = settings["stepsize_search"] == "geometric_progression"
    last = single | (state["iteration"] < 0) | (tried >= points.tries(settings))
    return {
        **ends,
        "next_center": where(chosen, found, state["next_center"]),
        "next_distance": tf.where(chosen, distance, state["next_distance"]),
        "next_reach": tf.where(chosen, reach, state["next_reach"]),
        "phase": tf.where(ended, tf.where(last, TURN, STEP), PROJECT),
        "evaluation": tf.where(ended, tried, state["evaluation"]),
    }


def _sampled(state, point, fooled, settings):
    delta = column(points.delta(state, settings), point)
    # What the bounds have left of the noise.
    noise = tf.math.divide_no_nan(point - state["center"], delta)
    answer = tf.where(fooled, 1.0, -1.0)
    drift, balance = state["drift"] + noise, state["balance"] + answer
    direction = state["direction"] + points.scaled(answer, noise)
    iteration = tf.clip_by_value(state["iteration"], 0, settings["num_iterations"] - 1)
    count = tf.gather(num_evals(settings), iteration)
    tried = state["evaluation"] + 1
    ended = tried >= count

    def estimate():
        mean = balance / tf.cast(count, tf.float32)
        return _estimate(direction, drift, mean, settings)

    return {
        "drift": drift,
        "balance": balance,
        "direction": _lazily(ended, estimate, direction),
        "evaluation": tf.where(ended, 0, tried),
        "phase": tf.where(ended, STEP, SAMPLE),
    }


def _estimate(weighted, drift, mean, settings):
    """The direction to step along, eq. 16: the answers' mean is their baseline.

    Answers that are all alike have no baseline, and zero stays zero: the step leads
    nowhere, and the iteration costs no more than its questions.
    """
    centred = weighted - points.scaled(mean, drift)
    direction = points.unit(where(tf.abs(mean) == 1, weighted, centred))
    return tf.sign(direction) if settings["norm"] == np.inf else direction


def num_evals(settings):
    """How many samples each iteration takes."""
    roots = np.sqrt(1 + np.arange(settings["num_iterations"]))
    samples = settings["initial_num_evals"] * roots
    return np.minimum(samples, settings["max_num_evals"]).astype(np.int32)


def _stepped(state, point, fooled, settings):
    tried = state["evaluation"] + 1
    missed = tf.where(tried >= points.tries(settings), TURN, STEP)
    return {
        "far": where(fooled, point, state["far"]),
        "phase": tf.where(fooled, PROJECT, missed),
        "evaluation": tf.where(fooled, state["evaluation"], tried),
    }


def _turn(state, settings):
    """The next iteration, from where this one has come to."""
    moved = state["next_distance"] < np.inf
    zeros, like = tf.zeros_like(state["image"]), tf.zeros_like(state["distance"])
    iteration = state["iteration"] + 1
    return {
        "center": where(moved, state["next_center"], state["center"]),
        "distance": tf.where(moved, state["next_distance"], state["distance"]),
        "reach": tf.where(moved, state["next_reach"], state["reach"]),
        "next_distance": like + np.inf,
        "drift": zeros,
        "balance": like,
        "direction": zeros,
        "phase": tf.fill(tf.shape(like), SAMPLE),
        "iteration": iteration,
        "evaluation": tf.zeros_like(iteration),
        "done": iteration >= settings["num_iterations"],
    }


# What rows in a phase ask, and the entries of their state that the answer changes.
_PHASES = {
    CHECK: (points.own, _checked),
    START: (points.start, _started),
    BLEND: (points.blend, _blended),
    PROJECT: (points.project, _projected),
    SAMPLE: (points.sample, _sampled),
    STEP: (points.step, _stepped),
}
