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

from tf_advdefense.attacks import draws
from tf_advdefense.attacks.stages import column
from tf_advdefense.attacks.stages import where

CHECK, START, BLEND, PROJECT, SAMPLE, STEP, TURN = range(7)

STARTS = 1000  # random images that are tried
STEPS = {
    "geometric_progression": 0.5 ** np.arange(25),
    "grid_search": np.logspace(-4, 0, 20),
}
_BLEND = 1e-3  # where its bisection ends, a share of the way
BISECTIONS = 24  # shares of 2^-24 are the last that float32 can tell apart near 1


def distances(a, b, settings):
    """Between two batches of images, in the norm of the attack; float32 `[n]`."""
    flat = tf.reshape(a - b, [tf.shape(a)[0], a.shape[1:].num_elements()])
    return tf.norm(flat, ord=settings["norm"], axis=1)


def question(state, settings):
    """The image that each row asks about."""
    phase = state["phase"]
    point = where(phase == START, _start(state, settings), state["image"])
    between = _between(state, (state["low"] + state["high"]) / 2, settings)
    point = where((phase == BLEND) | (phase == PROJECT), between, point)
    sampled = _scaled(_delta(state, settings), _noise(state, settings))
    stepped = _scaled(_step_size(state, settings), state["direction"])
    around = state["center"] + where(phase == SAMPLE, sampled, stepped)
    return _clip(where(phase >= SAMPLE, around, point), settings)


def _clip(points, settings):
    return tf.clip_by_value(points, settings["clip_min"], settings["clip_max"])


def _scaled(sizes, vectors):
    return column(sizes, vectors) * vectors


def _counter(state):
    return [state["iteration"] + 1, state["evaluation"]]


def _start(state, settings):
    """Random images; where some are given, these come first."""
    low, scale = settings["clip_min"], settings["clip_max"] - settings["clip_min"]
    shape = state["image"].shape[1:]

    def draw():
        return low + scale * draws.uniform(state["keys"], _counter(state), shape)

    # Later on, no row is looking for a start.
    drawn = tf.cond(
        tf.reduce_any(state["phase"] == START), draw, lambda: state["image"]
    )
    return where(_is_given(state, settings), state["far"], drawn)


def _is_given(state, settings):
    given = settings["image_target"] is not None
    return (state["evaluation"] == 0) & given


def _between(state, share, settings):
    """The point at a share of the way from the image to `far`."""
    image, far = state["image"], state["far"]
    share = column(share, image)
    blend = (1 - share) * image + share * far
    if settings["norm"] == 2:
        return _clip(blend, settings)
    radius = share * column(distances(far, image, settings), image)
    cut = tf.clip_by_value(far, image - radius, image + radius)
    cut = tf.where(share < 1, cut, far)  # the radius of the whole way is rounded
    return _clip(where(state["phase"] == BLEND, blend, cut), settings)


def _noise(state, settings):
    """A random direction per row, of length 1 in the L2 norm."""
    shape = state["image"].shape[1:]
    if settings["norm"] == 2:
        noise = draws.normal(state["keys"], _counter(state), shape)
    else:
        noise = 2 * draws.uniform(state["keys"], _counter(state), shape) - 1
    return _unit(noise)


def _unit(vectors):
    axes = list(range(1, len(vectors.shape)))
    length = tf.sqrt(tf.reduce_sum(vectors**2, axes, keepdims=True))
    return tf.math.divide_no_nan(vectors, length)


def _delta(state, settings):
    """How far from the center to sample: eq. 15 of the paper."""
    size = _size(state)
    scale = np.sqrt(size) if settings["norm"] == 2 else size
    return tf.where(
        state["iteration"] == 0,
        0.1 * (settings["clip_max"] - settings["clip_min"]),
        scale * _theta(size, settings) * state["reach"],
    )


def _size(state):
    return state["image"].shape[1:].num_elements()


def _theta(size, settings):
    """The share of the way that a projection is exact to."""
    return settings["gamma"] / size ** (1.5 if settings["norm"] == 2 else 2.0)


def _step_size(state, settings):
    search = settings["stepsize_search"]
    table = tf.constant(STEPS[search], tf.float32)
    # Other phases count further than the table goes.
    size = tf.gather(table, tf.minimum(state["evaluation"], _tries(settings) - 1))
    if search == "geometric_progression":
        size /= tf.sqrt(tf.cast(tf.maximum(state["iteration"], 0) + 1, tf.float32))
    return size * state["distance"]


def answered(state, point, fooled, settings):
    """The state after the answers.

    Args:
      point: the images asked about.
      fooled: the answers, bool `[n]`: whether the model is fooled.
    """
    new = state
    for phases, move in _MOVES.items():
        there = tf.reduce_any([state["phase"] == phase for phase in phases], axis=0)
        new = _change(new, there, move(state, point, fooled, settings))
    return _change(new, new["phase"] == TURN, _turn(new, settings))


def _change(state, mask, changes):
    changed = {key: where(mask, changes[key], state[key]) for key in changes}
    return {**state, **changed}


def _checked(state, point, fooled, settings):
    return {"done": fooled, "phase": tf.fill(tf.shape(fooled), START)}


def _started(state, point, fooled, settings):
    tried = state["evaluation"] + 1
    found = tf.where(_is_given(state, settings), PROJECT, BLEND)
    return {
        "far": where(fooled, point, state["far"]),
        "phase": tf.where(fooled, found, START),
        "evaluation": tried,
        # Random images of a given class are too rare to search for.
        "done": ~fooled & (tried >= (1 if settings["targeted"] else STARTS)),
    }


def _bisected(state, point, fooled, settings):
    blending = state["phase"] == BLEND
    middle = (state["low"] + state["high"]) / 2
    low = tf.where(fooled, state["low"], middle)
    high = tf.where(fooled, middle, state["high"])
    theta = max(_theta(_size(state), settings), 2.0**-BISECTIONS)
    ended = high - low <= tf.where(blending, _BLEND, theta)
    found = _between(state, high, settings)
    distance = distances(found, state["image"], settings)
    chosen = ended & ~blending & (distance < state["next_distance"])
    reach = distances(state["far"], state["image"], settings)
    tried = state["evaluation"] + 1
    single = settings["stepsize_search"] == "geometric_progression"
    last = single | (state["iteration"] < 0) | (tried >= _tries(settings))
    following = tf.where(blending, PROJECT, tf.where(last, TURN, STEP))
    return {
        "low": tf.where(ended, 0.0, low),
        "high": tf.where(ended, 1.0, high),
        "far": where(ended & blending, found, state["far"]),
        "next_center": where(chosen, found, state["next_center"]),
        "next_distance": tf.where(chosen, distance, state["next_distance"]),
        "next_reach": tf.where(chosen, reach, state["next_reach"]),
        "phase": tf.where(ended, following, state["phase"]),
        "evaluation": tf.where(ended & ~blending, tried, state["evaluation"]),
    }


def _tries(settings):
    return len(STEPS[settings["stepsize_search"]])


def _sampled(state, point, fooled, settings):
    delta = column(_delta(state, settings), point)
    # What the bounds have left of the noise.
    noise = tf.math.divide_no_nan(point - state["center"], delta)
    answer = tf.where(fooled, 1.0, -1.0)
    drift, balance = state["drift"] + noise, state["balance"] + answer
    direction = state["direction"] + _scaled(answer, noise)
    last = settings["num_iterations"] - 1
    iteration = tf.clip_by_value(state["iteration"], 0, last)
    count = tf.gather(num_evals(settings), iteration)
    tried = state["evaluation"] + 1
    ended = tried >= count
    estimate = _estimate(direction, drift, balance / tf.cast(count, tf.float32))
    if settings["norm"] == np.inf:
        estimate = tf.sign(estimate)
    return {
        "drift": drift,
        "balance": balance,
        "direction": where(ended, estimate, direction),
        "evaluation": tf.where(ended, 0, tried),
        "phase": tf.where(ended, STEP, SAMPLE),
    }


def _estimate(weighted, drift, mean):
    """The gradient's direction, eq. 16: the answers' mean is their baseline.

    Answers that are all alike have no baseline, and zero stays zero: the step leads
    nowhere, and the iteration costs no more than its questions.
    """
    alike = tf.abs(mean) == 1
    return _unit(where(alike, weighted, weighted - _scaled(mean, drift)))


def num_evals(settings):
    """How many samples each iteration takes."""
    roots = np.sqrt(1 + np.arange(settings["num_iterations"]))
    samples = settings["initial_num_evals"] * roots
    return np.minimum(samples, settings["max_num_evals"]).astype(np.int32)


def _stepped(state, point, fooled, settings):
    tried = state["evaluation"] + 1
    missed = tf.where(tried >= _tries(settings), TURN, STEP)
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


# The entries of the state that an answer changes, by phase.
_MOVES = {
    (CHECK,): _checked,
    (START,): _started,
    (BLEND, PROJECT): _bisected,
    (SAMPLE,): _sampled,
    (STEP,): _stepped,
}
