"""The phases of HopSkipJump: what a row queries in each, and what follows.

A row queries the model with one image at a time, and its `phase` says which: no row
waits for another, and none queries more than it needs. In order,

    CHECK    is the image itself fooling?
    START    is this random image?
    BLEND    how much of it does that take, to a thousandth of the way?
    PROJECT  where does the way from the image to `far` cross the boundary?
    SAMPLE   which of the points around `center`, on the boundary, are fooling?
    STEP     is the point a step along the direction that they give?

and from there to PROJECT, and through TURN to SAMPLE for the next iteration.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.black_box import hop_skip_jump_points as points
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.state import changed
from tf_advdefense.attacks.core.state import column
from tf_advdefense.attacks.core.state import where

CHECK, START, BLEND, PROJECT, SAMPLE, STEP, TURN = range(7)

STARTS = 1000  # random images that are tried
BISECTIONS = 24  # shares of 2^-24 are the last that float32 can tell apart near 1
_BLEND = 1e-3  # the share that a blend is exact to


def asked(state: Any, hyper: Any, task: Task) -> tf.Tensor:
    """The image that each row queries, `[n, h, w, c]`; of a row that is done, its own.

    Args:
      state, hyper: of `hop_skip_jump`.
      task: the bounds.
    """
    point = state.image
    for phase, (ask, _) in _PHASES.items():
        make = lambda ask=ask: ask(state, hyper, task)
        point = changed(_are_in(state, phase), make, point)
    return point


def answered(
    state: Any, point: tf.Tensor, fooled: tf.Tensor, hyper: Any, task: Task
) -> Any:
    """The state after the answers.

    Args:
      state, hyper, task: as of `asked`.
      point: the images queried, of `asked`.
      fooled: the answers, bool `[n]`: whether the model is fooled.
    """
    new = state
    for phase, (_, learn) in _PHASES.items():
        # Of a row in this phase, the phases before it have left everything as it was.
        make = lambda new=new, learn=learn: learn(new, point, fooled, hyper, task)
        new = changed(_are_in(state, phase), make, new)
    return changed(_are_in(new, TURN), lambda: _turn(new, hyper), new)


def _are_in(state, phase):
    return (state.phase == phase) & ~state.progress.done


def _checked(state, point, fooled, hyper, task):
    return state._replace(
        phase=tf.fill(tf.shape(fooled), START),
        progress=state.progress._replace(done=fooled),
    )


def _started(state, point, fooled, hyper, task):
    tried = state.evaluation + 1
    found = tf.where(points.is_given(state, hyper), PROJECT, BLEND)
    # Random images of a given class are too rare to search for.
    done = ~fooled & (tried >= (1 if task.targeted else STARTS))
    return state._replace(
        far=where(fooled, point, state.far),
        phase=tf.where(fooled, found, START),
        evaluation=tried,
        progress=state.progress._replace(done=done),
    )


def _blended(state, point, fooled, hyper, task):
    ended, high, halved = _halved(state, fooled, _BLEND)
    found = points.blend(state, hyper, task, high)
    return halved._replace(
        far=where(ended, found, state.far), phase=tf.where(ended, PROJECT, BLEND)
    )


def _halved(state, fooled, exact):
    """Whether bisections have ended, their upper ends, and the state after this one."""
    middle = points.middle(state)
    low = tf.where(fooled, state.low, middle)
    high = tf.where(fooled, middle, state.high)
    ended = high - low <= exact
    halved = state._replace(
        low=tf.where(ended, 0.0, low), high=tf.where(ended, 1.0, high)
    )
    return ended, high, halved


def _projected(state, point, fooled, hyper, task):
    exact = max(points.theta(state, hyper), 2.0**-BISECTIONS)
    ended, high, halved = _halved(state, fooled, exact)
    found = points.project(state, hyper, task, high)
    distance = points.distances(found, state.image, hyper.norm)
    reach = points.distances(state.far, state.image, hyper.norm)
    chosen = ended & (distance < state.next_distance)
    tried = state.evaluation + 1
    single = hyper.stepsize_search == "geometric_progression"
    last = single | (state.iteration < 0) | (tried >= points.tries(hyper))
    return halved._replace(
        next_center=where(chosen, found, state.next_center),
        next_distance=tf.where(chosen, distance, state.next_distance),
        next_reach=tf.where(chosen, reach, state.next_reach),
        phase=tf.where(ended, tf.where(last, TURN, STEP), PROJECT),
        evaluation=tf.where(ended, tried, state.evaluation),
    )


def _sampled(state, point, fooled, hyper, task):
    delta = column(points.delta(state, hyper, task), point)
    # What the bounds have left of the noise.
    noise = tf.math.divide_no_nan(point - state.center, delta)
    answer = tf.where(fooled, 1.0, -1.0)
    drift, balance = state.drift + noise, state.balance + answer
    weighted = state.direction + points.scaled(answer, noise)
    iteration = tf.clip_by_value(state.iteration, 0, hyper.num_iterations - 1)
    count = tf.gather(num_evals(hyper), iteration)
    tried = state.evaluation + 1
    ended = tried >= count

    def estimate():
        mean = balance / tf.cast(count, tf.float32)
        return estimated_direction(weighted, drift, mean, hyper.norm)

    return state._replace(
        drift=drift,
        balance=balance,
        direction=changed(ended, estimate, weighted),
        evaluation=tf.where(ended, 0, tried),
        phase=tf.where(ended, STEP, SAMPLE),
    )


def estimated_direction(
    weighted: tf.Tensor, drift: tf.Tensor, mean: tf.Tensor, norm: float
) -> tf.Tensor:
    """The direction to step along, eq. 16: the answers' mean is their baseline.

    Answers that are all alike have no baseline, and zero stays zero: the step leads
    nowhere, and the iteration costs no more than its queries.

    Args:
      weighted: float32 `[n, h, w, c]`, the sum of the samples' noise times its answer.
      drift: float32 `[n, h, w, c]`, the sum of the noise.
      mean: float32 `[n]`, of the answers, in [-1, 1].
      norm: 2 or np.inf.
    """
    centred = weighted - points.scaled(mean, drift)
    direction = points.unit(where(tf.abs(mean) == 1, weighted, centred))
    return tf.sign(direction) if norm == np.inf else direction


def num_evals(hyper: Any) -> np.ndarray:
    """How many samples each iteration takes, int32 `[num_iterations]`."""
    samples = hyper.initial_num_evals * np.sqrt(1 + np.arange(hyper.num_iterations))
    return np.minimum(samples, hyper.max_num_evals).astype(np.int32)


def _stepped(state, point, fooled, hyper, task):
    tried = state.evaluation + 1
    missed = tf.where(tried >= points.tries(hyper), TURN, STEP)
    return state._replace(
        far=where(fooled, point, state.far),
        phase=tf.where(fooled, PROJECT, missed),
        evaluation=tf.where(fooled, state.evaluation, tried),
    )


def _turn(state, hyper):
    """The next iteration, from where this one has come to."""
    moved = state.next_distance < np.inf
    zeros, like = tf.zeros_like(state.image), tf.zeros_like(state.distance)
    iteration = state.iteration + 1
    done = iteration >= hyper.num_iterations
    return state._replace(
        center=where(moved, state.next_center, state.center),
        distance=tf.where(moved, state.next_distance, state.distance),
        reach=tf.where(moved, state.next_reach, state.reach),
        next_distance=like + np.inf,
        drift=zeros,
        balance=like,
        direction=zeros,
        phase=tf.fill(tf.shape(like), SAMPLE),
        iteration=iteration,
        evaluation=tf.zeros_like(iteration),
        progress=state.progress._replace(done=done),
    )


# What rows in a phase query, and what they learn from the answer.
_PHASES = {
    CHECK: (points.itself, _checked),
    START: (points.start, _started),
    BLEND: (points.blend, _blended),
    PROJECT: (points.project, _projected),
    SAMPLE: (points.sample, _sampled),
    STEP: (points.step, _stepped),
}
