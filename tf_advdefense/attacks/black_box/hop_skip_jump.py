"""HopSkipJump (Chen et al. 2019): it reads nothing but classes off the model.

    adv = hop_skip_jump(model, images, labels, max_queries=1000)
    adv = hop_skip_jump(model, images, labels, norm=np.inf, num_iterations=10)
    adv = hop_skip_jump(model, images, targets, targeted=True, image_target=starts)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is the closest fooling image that the model was queried with, and the image
itself where none was, or where the model is fooled already.

A search begins at a fooling image found at random, which bisection brings to the
boundary of the classes. There an iteration begins: queries around the point on the
boundary tell which way it slopes, a step leads away along that slope, and bisection
towards the image ends on the boundary again, nearer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.black_box import hop_skip_jump_phases as phases
from tf_advdefense.attacks.black_box import hop_skip_jump_points as points
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.losses import is_fooled
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.state import Progress
from tf_advdefense.attacks.core.state import begin
from tf_advdefense.attacks.core.state import compiled
from tf_advdefense.attacks.core.state import loop
from tf_advdefense.attacks.core.state import where

_BLOCK = 20  # queries between two looks at which images are done


class Hyper(NamedTuple):
    """Chen et al. 2019 (arXiv:1904.02144), algorithms 1 and 2.

    CleverHans' PyTorch version, row by row. What differs from it: `norm` decides (there
    it is never read, and its counterpart for the maximum norm crashes); each start gets
    its batch axis, without which the first distance is wrong; the closest fooling image
    ever queried is returned, not the last; bisections end where float32 does, step
    sizes are halved 24 times at most and a direction of zero leads nowhere, where the
    original runs forever or into NaN; random starts get coarser after ten failures,
    because many a model gives one class to all fine noise; an image without a start
    after 1,000, or whose targeted start is not of its class, fails alone; and a
    projection in the maximum norm is exact to a share of its way, whatever the bounds.

    Attributes:
      norm: of the distance that is made small, 2 or np.inf.
      image_target: images like `x`, or one for all, to start from, needed if
        `targeted`: of the target class then, and of any wrong class otherwise, where
        those of the label's class are replaced by random ones.
      initial_num_evals: samples for the first iteration's direction; iteration t takes
        sqrt(t) times as many.
      max_num_evals: the most that it takes.
      stepsize_search: "geometric_progression" halves a step until it fools;
        "grid_search" projects 20 steps and takes the closest.
      num_iterations: of sampling, stepping and projecting.
      gamma: what projections are exact to, in units of 1 / d^1.5 of the way (1 / d^2
        in the maximum norm) for images of d values; sampling is as much wider.
      max_queries: an image is done after as many queries, with its best so far; None
        for no limit.
    """

    norm: float = 2.0
    image_target: tf.Tensor | np.ndarray | None = None
    initial_num_evals: int = 100
    max_num_evals: int = 10000
    stepsize_search: str = "geometric_progression"
    num_iterations: int = 64
    gamma: float = 1.0
    max_queries: int | None = None


class State(NamedTuple):
    image: tf.Tensor  # float32 [n, h, w, c]
    label: tf.Tensor  # int64 [n]
    key: tf.Tensor  # int64 [n]: of the random draws
    phase: tf.Tensor  # int32 [n]: what the row queries now, see `hop_skip_jump_phases`
    iteration: tf.Tensor  # int32 [n]: from 0 on; -1 until the first boundary is found
    evaluation: tf.Tensor  # int32 [n]: starts, samples or steps tried in the phase
    # What is bisected is the way from the image to `far`: share `low` of it does not
    # fool, share `high` does.
    far: tf.Tensor  # float32 [n, h, w, c]: the fooling image at the end of the way
    low: tf.Tensor  # float32 [n], in [0, 1]
    high: tf.Tensor  # float32 [n], in [0, 1]
    # Where this iteration began, on the boundary.
    center: tf.Tensor  # float32 [n, h, w, c]
    distance: tf.Tensor  # float32 [n]: of `center` from the image
    reach: tf.Tensor  # float32 [n]: of the `far` that bisection had come from
    # Where the next one begins: the closest point on the boundary that this one finds.
    next_center: tf.Tensor  # float32 [n, h, w, c]
    next_distance: tf.Tensor  # float32 [n]: inf before there is one
    next_reach: tf.Tensor  # float32 [n]
    # Sums over the samples of this iteration, noise u with answer s, 1 where it fools
    # and -1 where not.
    drift: tf.Tensor  # float32 [n, h, w, c]: of u
    balance: tf.Tensor  # float32 [n]: of s
    direction: tf.Tensor  # float32 [n, h, w, c]: of s u; after the last, where to step
    best: tf.Tensor  # float32 [n, h, w, c]: the closest image that fools
    best_distance: tf.Tensor  # float32 [n]: inf before there is one
    progress: Progress


def init(
    model_fn: ModelFn,
    x: tf.Tensor,
    y: tf.Tensor,
    keys: tf.Tensor,
    hyper: Hyper,
    task: Task,
) -> State:
    """The state of images before their first query."""
    zeros, like = tf.zeros_like(x), tf.zeros(tf.shape(x)[:1])
    whole = tf.cast(like, tf.int32)
    return State(
        image=x,
        label=y,
        key=keys,
        phase=whole + phases.CHECK,
        iteration=whole - 1,
        evaluation=whole,
        far=_given_starts(x, hyper, task),
        low=like,
        high=like + 1,
        center=zeros,
        distance=like,
        reach=like,
        next_center=zeros,
        next_distance=like + np.inf,
        next_reach=like,
        drift=zeros,
        balance=like,
        direction=zeros,
        best=x,
        best_distance=like + np.inf,
        progress=begin(x),
    )


def _given_starts(x, hyper, task):
    starts = hyper.image_target
    if starts is None and task.targeted:
        raise ValueError(
            "A targeted `hop_skip_jump` needs `image_target`, an image of the target "
            "class for each image. Received: image_target=None."
        )
    if starts is None:
        return tf.zeros_like(x)
    starts = tf.cast(starts, tf.float32)
    shapes = (x.shape, x.shape[1:])
    if not any(starts.shape.is_compatible_with(shape) for shape in shapes):
        raise ValueError(
            "`image_target` must have the shape of the images, or of one of them. "
            f"Received: {starts.shape} for images of shape {x.shape}."
        )
    return tf.broadcast_to(starts, tf.shape(x))


@compiled
def advance(model_fn: ModelFn, state: State, hyper: Hyper, task: Task) -> State:
    """Runs a block of queries on every image; rows that are done keep their state."""
    return loop(lambda state: query(model_fn, state, hyper, task), state, _BLOCK)


def query(model_fn: ModelFn, state: State, hyper: Hyper, task: Task) -> State:
    """The state after one query of every row that is not done."""
    point = phases.asked(state, hyper, task)
    fooled = is_fooled(model_fn(point), state.label, task.targeted)
    new = _record(state, point, fooled, hyper)
    new = phases.answered(new, point, fooled, hyper, task)
    if hyper.max_queries is None:
        return new
    spent = new.progress.forwards >= hyper.max_queries
    done = new.progress.done | spent
    return new._replace(progress=new.progress._replace(done=done))


def _record(state, point, fooled, hyper):
    """The best so far; rows that are done neither query nor change."""
    distance = points.distances(point, state.image, hyper.norm)
    working = ~state.progress.done
    closer = fooled & (distance < state.best_distance) & working
    progress = state.progress.spend(forwards=tf.cast(working, tf.int32))
    return state._replace(
        best=where(closer, point, state.best),
        best_distance=tf.where(closer, distance, state.best_distance),
        progress=progress._replace(fooled=progress.fooled | closer),
    )


def finish(state: State, hyper: Hyper, task: Task) -> tf.Tensor:
    """The closest fooling image of each row, or the row's own image."""
    return where(state.progress.fooled, state.best, state.image)


def check(hyper: Hyper) -> None:
    """Refuses an unknown search, and a gamma or a number of queries out of range."""
    search, queries = hyper.stepsize_search, hyper.max_queries
    if search not in points.STEPS:
        raise ValueError(
            f"`stepsize_search` must be one of {', '.join(points.STEPS)}. "
            f"Received: stepsize_search={search!r}."
        )
    if not 0 < hyper.gamma < np.inf:
        raise ValueError(f"`gamma` must be above 0. Received: gamma={hyper.gamma}.")
    if queries is not None and not (queries >= 1 and queries % 1 == 0):
        raise ValueError(
            "`max_queries` must be None or a whole number from 1 on. "
            f"Received: max_queries={queries}."
        )


def passes(hyper: Hyper, image_shape: Sequence[int], num_classes: int) -> Passes:
    """The queries that an image takes at most, and no backward pass."""
    tries = points.tries(hyper)
    projections = tries if hyper.stepsize_search == "grid_search" else 1
    start = 1 + phases.STARTS + phases.BISECTIONS * 2
    samples = int(np.sum(phases.num_evals(hyper)))
    steps = hyper.num_iterations * (tries + projections * phases.BISECTIONS)
    most = start + samples + steps
    return min(most, hyper.max_queries or most), 0


hop_skip_jump = Attack(
    name="hop_skip_jump",
    title="HopSkipJump",
    paper="arXiv:1904.02144",
    norms=(2, np.inf),
    goal="minimal-norm",
    access="decisions",
    hyper=Hyper(),
    init=init,
    advance=advance,
    finish=finish,
    passes=passes,
    check=check,
    # On 128 images that hold out, the 38,000 queries of the defaults are three hours;
    # 2,000 take about as long as cw.
    budget={"max_queries": 2000},
)
