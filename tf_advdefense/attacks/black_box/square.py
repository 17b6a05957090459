"""The Square attack: a random search that sees the model's scores only.

    adv = square(model, images, labels, eps=8 / 255)
    adv = square(model, images, targets, targeted=True, eps=0.5, norm=2, n_queries=1000)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is within eps of them in `norm`. A query changes a random window of the best
image so far, and is kept where the margin of a wrong class over the right one grows;
windows shrink by a schedule. Once an image fools the model, the search for it ends. No
gradient is needed, so that masked ones do not help a model against it.

For L-infinity a window is moved to a corner of the ball. For L2 and L1 the change of a
second window moves into the first one, in the shape of two opposite bumps.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.black_box.random_search import State
from tf_advdefense.attacks.black_box.random_search import finish
from tf_advdefense.attacks.black_box.random_search import init
from tf_advdefense.attacks.black_box.random_search import keep_best
from tf_advdefense.attacks.black_box.square_windows import level_and_side
from tf_advdefense.attacks.black_box.square_windows import placed_bump
from tf_advdefense.attacks.black_box.square_windows import tiles
from tf_advdefense.attacks.black_box.square_windows import window_at_random
from tf_advdefense.attacks.core import l1_ball
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.draws import integer
from tf_advdefense.attacks.core.draws import sign
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.state import changed
from tf_advdefense.attacks.core.state import column
from tf_advdefense.attacks.core.state import compiled
from tf_advdefense.attacks.core.state import loop
from tf_advdefense.attacks.core.state import where

_BLOCK = 10  # queries between two looks at which images are done


class Hyper(NamedTuple):
    """Andriushchenko et al. 2019 (arXiv:1912.00049), algorithms 1 to 3.

    As AutoAttack runs it (Croce and Hein 2020, arXiv:2003.01690), with its L1 version.
    What differs: every image draws its own windows and signs (there, one for the whole
    batch), so that results depend on no other image; windows also reach the last row
    and column; no window is longer than the image's shorter side; and where every
    restart fails, the best image of the last one is returned instead of the clean one.

    Attributes:
      eps: the radius; an image that the model gets wrong is left as it is.
      norm: np.inf, 2 or 1.
      n_queries: windows tried per restart, after its start.
      p_init: the share of the image that the first windows cover, in (0, 1].
      n_restarts: how often to start anew.
      resc_schedule: shrink windows over `n_queries` as the original does over 10,000.
    """

    eps: float = 8 / 255
    norm: float = np.inf
    n_queries: int = 5000
    p_init: float = 0.8
    n_restarts: int = 1
    resc_schedule: bool = False


def advance(model_fn: ModelFn, state: State, hyper: Hyper, task: Task) -> State:
    """Runs a block of queries on every image."""
    return _advance(model_fn, state, hyper._replace(eps=None), task)


@compiled
def _advance(model_fn, state, hyper, task):
    return loop(lambda state: _query(model_fn, state, hyper, task), state, _BLOCK)


def _query(model_fn, state, hyper, task):
    """Query 0 is the clean image; each restart is a start and its `n_queries`."""
    queried, fooled = state.progress.forwards, state.progress.fooled
    turn = (queried - 1) % (hyper.n_queries + 1)
    candidate = where(queried == 0, state.image, _propose(state, turn, hyper, task))
    # A restart begins anew: its start replaces the best image, whatever the margins
    # (unless its own is NaN). Where the best fools already, which only of a random
    # model goes on to a restart, the start has to fool by a larger margin.
    margin = tf.where((turn == 0) & ~fooled, -np.inf, state.margin)
    return keep_best(model_fn, state, candidate, margin, _queries(hyper), task)


def _propose(state, turn, hyper, task):
    """The start of a restart in turn 0, then changes of a window of the best image."""

    def draw(function, number, *args):
        return function(state.key, [state.progress.forwards, number], *args)

    x, norm, eps = state.image, hyper.norm, column(state.eps, state.image)
    bounds = task.clip_min, task.clip_max
    if norm == np.inf:
        return tf.clip_by_value(_corner(state, turn, draw, hyper), *bounds)
    eta, starts = _moved(state, turn, draw, hyper), turn == 0
    # Tiles are needed once in a restart only.
    eta = changed(starts, lambda: tiles(x, norm, draw), eta)
    if norm == 1:
        eta = l1_ball.project(eta, eps, bounds[0] - x, bounds[1] - x)
    else:
        eta = eta * (eps / (_length(eta, norm, (1, 2, 3)) + 1e-12))
    return tf.clip_by_value(x + eta, *bounds)


def _corner(state, turn, draw, hyper):
    """Vertical stripes, then the best image with a window of +eps or -eps."""
    x = state.image
    width, channels = x.shape[2:]
    _, side = level_and_side(turn, x.shape, hyper)
    start = column(turn == 0, x)
    stripes = draw(sign, 4, (1, width, channels))
    colours = draw(sign, 5, (1, 1, channels))
    corner = x + column(state.eps, x) * tf.where(start, stripes, colours)
    window = window_at_random(draw, 0, side, x.shape)
    return tf.where(start | window.mask, corner, state.best)


def _moved(state, turn, draw, hyper):
    """The change of the best image, with that in a second window moved to a first."""
    x, norm, eps = state.image, hyper.norm, column(state.eps, state.image)
    eta, channels = state.best - x, x.shape[3]
    level, side = level_and_side(turn, x.shape, hyper)
    first, second = (window_at_random(draw, number, side, x.shape) for number in (0, 2))
    bump = placed_bump(level, first, draw(integer, 4, (), 2), x.shape, hyper)
    bump *= draw(sign, 5, (1, 1, channels))
    inside = tf.where(first.mask, eta, 0.0)
    inside = bump + inside / (1e-12 + _length(inside, norm, (1, 2)))
    inside /= 1e-12 + _length(inside, norm, (1, 2))
    # The radius that is left, and what both windows have, channel by channel.
    spent = _length(eta, norm, (1, 2, 3))
    both = _length(tf.where(first.mask | second.mask, eta, 0.0), norm, (1, 2))
    if norm == 1:
        size = tf.maximum(eps - spent, 0.0) + both * channels
    else:
        size = tf.sqrt(tf.maximum(eps**2 - spent**2, 0.0) / channels + both**2)
    return tf.where(first.mask, inside * size, tf.where(second.mask, 0.0, eta))


def _length(eta, norm, axes):
    if norm == 1:
        return tf.reduce_sum(tf.abs(eta), axes, keepdims=True)
    return tf.sqrt(tf.reduce_sum(eta**2, axes, keepdims=True))


def _queries(hyper):
    """Of an image that is never fooled: itself, then start and windows of restarts."""
    return 1 + hyper.n_restarts * (1 + hyper.n_queries)


def check(hyper: Hyper) -> None:
    """Refuses a share of the image that is none."""
    if not 0 < hyper.p_init <= 1:
        raise ValueError(
            f"`p_init` must be in (0, 1]. Received: p_init={hyper.p_init}. "
            "Write 0.8 for windows that first cover four fifths of the image."
        )


def passes(hyper: Hyper, image_shape: Sequence[int], num_classes: int) -> Passes:
    """Queries only."""
    return _queries(hyper), 0


square = Attack(
    name="square",
    title="Square",
    paper="arXiv:1912.00049",
    norms=(np.inf, 2, 1),
    goal="fixed-eps",
    access="scores",
    hyper=Hyper(),
    init=init,
    advance=advance,
    finish=finish,
    passes=passes,
    check=check,
    # On 128 images that hold out, 5000 queries are 22 minutes.
    budget={"n_queries": 1000, "resc_schedule": True},
)
