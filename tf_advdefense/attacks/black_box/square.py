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

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.black_box.random_search import finish
from tf_advdefense.attacks.black_box.random_search import init
from tf_advdefense.attacks.black_box.random_search import keep_best
from tf_advdefense.attacks.black_box.square_windows import level_and_side
from tf_advdefense.attacks.black_box.square_windows import placed_bump
from tf_advdefense.attacks.black_box.square_windows import tiles
from tf_advdefense.attacks.black_box.square_windows import window_at_random
from tf_advdefense.attacks.core import l1_ball
from tf_advdefense.attacks.core.draws import integer
from tf_advdefense.attacks.core.draws import sign
from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import column
from tf_advdefense.attacks.core.stages import compiled
from tf_advdefense.attacks.core.stages import loop
from tf_advdefense.attacks.core.stages import staged
from tf_advdefense.attacks.core.stages import where

_BLOCK = 10  # queries between two looks at which images are done


@compiled
def advance(model_fn, state, settings):
    """A block of queries."""
    return loop(lambda state: _query(model_fn, state, settings), state, _BLOCK)


def _query(model_fn, state, settings):
    # The first query is the image itself; those of a restart follow, its start first.
    first = state["forwards"] == 0
    turn = (state["forwards"] - 1) % (settings["n_queries"] + 1)
    candidate = where(first, state["image"], _propose(state, turn, settings))
    # What a start has to beat is nothing: a start is kept unless its lead is NaN, or
    # the model is random and fooled already.
    lead = tf.where((turn == 0) & ~state["fooled"], -np.inf, state["lead"])
    return keep_best(model_fn, state, candidate, lead, queries(settings), settings)


def queries(settings):
    """All queries of an image that is never fooled."""
    return 1 + settings["n_restarts"] * (1 + settings["n_queries"])


def _propose(state, turn, settings):
    """The start of a restart in turn 0, then changes of a window of the best image."""

    def draw(function, number, *args):
        return function(state["keys"], [state["forwards"], number], *args)

    x, norm, eps = state["image"], settings["norm"], settings["eps"]
    bounds = settings["clip_min"], settings["clip_max"]
    if norm == np.inf:
        return tf.clip_by_value(_corner(state, turn, draw, settings), *bounds)
    eta, starts = _moved(state, turn, draw, settings), turn == 0
    # Tiles are needed once in a restart only.
    eta = tf.cond(
        tf.reduce_any(starts),
        lambda: where(starts, tiles(x, norm, draw), eta),
        lambda: eta,
    )
    if norm == 1:
        eta = l1_ball.project(eta, eps, bounds[0] - x, bounds[1] - x)
    else:
        eta = eta * (eps / (_length(eta, norm, (1, 2, 3)) + 1e-12))
    return tf.clip_by_value(x + eta, *bounds)


def _corner(state, turn, draw, settings):
    """Vertical stripes, then the best image with a window of +eps or -eps."""
    x = state["image"]
    width, channels = x.shape[2:]
    _, side = level_and_side(turn, x.shape, settings)
    start = column(turn == 0, x)
    stripes = draw(sign, 4, (1, width, channels))
    colours = draw(sign, 5, (1, 1, channels))
    corner = x + settings["eps"] * tf.where(start, stripes, colours)
    window = window_at_random(draw, 0, side, x.shape)
    return tf.where(start | window.mask, corner, state["best"])


def _moved(state, turn, draw, settings):
    """The change of the best image, with that in a second window moved to a first."""
    x, norm, eps = state["image"], settings["norm"], settings["eps"]
    eta, channels = state["best"] - x, x.shape[3]
    level, side = level_and_side(turn, x.shape, settings)
    first, second = (window_at_random(draw, number, side, x.shape) for number in (0, 2))
    bump = placed_bump(level, first, draw(integer, 4, (), 2), x.shape, settings)
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


@staged((np.inf, 2, 1), Stages(init, advance, finish), gradient=False)
def square(
    *,
    eps=8 / 255,
    norm=np.inf,
    n_queries=5000,
    p_init=0.8,
    n_restarts=1,
    resc_schedule=False,
):
    """Andriushchenko et al. 2019 (arXiv:1912.00049), algorithms 1 to 3.

    As AutoAttack runs it (Croce and Hein 2020, arXiv:2003.01690), with its L1 version.
    What differs: every image draws its own windows and signs (there, one for the whole
    batch), so that results depend on no other image; windows also reach the last row
    and column; no window is longer than the image's shorter side; and where every
    restart fails, the best image of the last one is returned instead of the clean one.

    Args:
      eps: the radius; an image that the model gets wrong is left as it is.
      n_queries: windows tried per restart, after its start.
      p_init: the share of the image that the first windows cover.
      n_restarts: how often to start anew.
      resc_schedule: shrink windows over `n_queries` as the original does over 10,000.
    """
    if not 0 < p_init <= 1:
        raise ValueError(f"`p_init` must be in (0, 1]. Received: p_init={p_init}.")
