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

import collections
import math

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks import l1_ball
from tf_advdefense.attacks import losses
from tf_advdefense.attacks.draws import integer
from tf_advdefense.attacks.draws import row_keys
from tf_advdefense.attacks.draws import sign
from tf_advdefense.attacks.stages import Stages
from tf_advdefense.attacks.stages import column
from tf_advdefense.attacks.stages import compiled
from tf_advdefense.attacks.stages import counters
from tf_advdefense.attacks.stages import loop
from tf_advdefense.attacks.stages import select
from tf_advdefense.attacks.stages import staged
from tf_advdefense.attacks.stages import where

_BLOCK = 10  # queries between two looks at which images are done
# After each of these queries, of 10,000, windows have half the area.
_HALVINGS = np.array([10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000])

Window = collections.namedtuple("Window", ("top", "left", "mask"))


def init(model_fn, x, y, seed, index, settings):
    """The state of images before their first query."""
    return {
        "image": x,
        "label": y,
        "best": x,
        "lead": tf.fill(tf.shape(x)[:1], -np.inf),
        "keys": row_keys(seed, index),
        **counters(x),
    }


@compiled
def advance(model_fn, state, settings):
    """A block of queries."""
    return loop(lambda state: _query(model_fn, state, settings), state, _BLOCK)


def finish(state, settings):
    """The image that fools the model, or the best one of the last restart."""
    return state["best"]


def _query(model_fn, state, settings):
    # The first query is the image itself; those of a restart follow, its start first.
    first = state["forwards"] == 0
    turn = (state["forwards"] - 1) % (settings["n_queries"] + 1)
    candidate = where(first, state["image"], _propose(state, turn, settings))
    logits, lead = losses.evaluate(model_fn, losses.margin, candidate, state["label"])
    lead = -lead if settings["targeted"] else lead
    fooled = losses.is_fooled(logits, state["label"], settings["targeted"])
    # What a start has to beat is nothing: a start is kept unless its lead is NaN.
    best_lead = tf.where(turn == 0, -np.inf, state["lead"])
    accepted = fooled | (lead > best_lead)
    forwards = state["forwards"] + 1
    new = {
        **state,
        "best": where(accepted, candidate, state["best"]),
        "lead": tf.where(accepted, lead, best_lead),
        "fooled": fooled,
        "forwards": forwards,
        "done": fooled | (forwards >= queries(settings)),
    }
    return select(state["done"], state, new)


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
        lambda: where(starts, _tiles(x, norm, draw), eta),
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
    _, side = _level_and_side(turn, x.shape, settings)
    start = column(turn == 0, x)
    stripes = draw(sign, 4, (1, width, channels))
    colours = draw(sign, 5, (1, 1, channels))
    corner = x + settings["eps"] * tf.where(start, stripes, colours)
    window = _window(draw, 0, side, x.shape)
    return tf.where(start | window.mask, corner, state["best"])


def _moved(state, turn, draw, settings):
    """The change of the best image, with that in a second window moved to a first."""
    x, norm, eps = state["image"], settings["norm"], settings["eps"]
    eta, channels = state["best"] - x, x.shape[3]
    level, side = _level_and_side(turn, x.shape, settings)
    first, second = (_window(draw, number, side, x.shape) for number in (0, 2))
    bump = _placed_bump(level, first, draw(integer, 4, (), 2), x.shape, settings)
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


def _level_and_side(turn, shape, settings):
    """How often windows have halved, and their side, int32 `[n]`."""
    query = tf.cast(turn - 1, tf.int64)
    if settings["resc_schedule"]:
        query = query * 10_000 // settings["n_queries"]
    level = tf.reduce_sum(tf.cast(query[:, None] > _HALVINGS, tf.int32), axis=1)
    return level, tf.gather(np.int32(_sides(shape, settings)), level)


def _sides(shape, settings):
    """A window's side at every level of the schedule."""
    height, width = shape[1:3]
    share = settings["p_init"] / 2.0 ** np.arange(len(_HALVINGS) + 1)
    sides = [round(math.sqrt(part * height * width)) for part in share]
    if settings["norm"] != np.inf:
        # Bumps need a middle.
        sides = [max(side, 3) // 2 * 2 + 1 for side in sides]
    largest = min(height, width)
    if settings["norm"] != np.inf:
        largest -= 1 - largest % 2
    return [min(max(side, 1), largest) for side in sides]


def _window(draw, number, side, shape):
    """A square somewhere in the image, anywhere with equal chances."""
    height, width = shape[1:3]
    top = draw(integer, number, (), height - side + 1)
    left = draw(integer, number + 1, (), width - side + 1)
    rows, columns = _covers(top, side, height), _covers(left, side, width)
    return Window(top, left, rows[:, :, None, None] & columns[:, None, :, None])


def _covers(start, side, size):
    place = tf.range(size)
    return (place >= start[:, None]) & (place < (start + side)[:, None])


def _placed_bump(level, window, transposed, shape, settings):
    """The bump of each row's level in its window, float32 `[n, height, width, 1]`."""
    sides = _sides(shape, settings)
    largest = max(sides)
    table = np.zeros((2, len(sides), largest, largest), np.float32)
    for k, side in enumerate(sides):
        table[0, k, :side, :side] = _bump(side, settings["norm"])
        table[1, k, :side, :side] = table[0, k, :side, :side].T

    def within(start, size):
        return tf.clip_by_value(tf.range(size) - start[:, None], 0, largest - 1)

    rows, columns = within(window.top, shape[1]), within(window.left, shape[2])
    pattern = (transposed * len(sides) + level)[:, None, None]
    place = (pattern * largest + rows[:, :, None]) * largest + columns[:, None, :]
    return tf.where(window.mask, tf.gather(table.ravel(), place)[..., None], 0.0)


def _tiles(x, norm, draw):
    """Five rows of bumps, each in one of two directions, with a sign per channel."""
    height, width, channels = x.shape[1:]
    side = max(min(height, width) // 5, 1)
    rows, columns = height // side, width // side
    bump = _bump(side, norm).astype(np.float32)
    tiles, turned = (np.tile(b, (rows, columns))[..., None] for b in (bump, bump.T))

    def spread(values):
        return tf.repeat(tf.repeat(values, side, axis=1), side, axis=2)

    upright = spread(draw(sign, 6, (rows, columns, 1))) > 0
    signs = spread(draw(sign, 7, (rows, columns, channels)))
    eta = tf.where(upright, tiles, turned) * signs
    top, left = (height - rows * side) // 2, (width - columns * side) // 2
    below, right = height - rows * side - top, width - columns * side - left
    return tf.pad(eta, [[0, 0], [top, below], [left, right], [0, 0]])


def _bump(side, norm):
    """Two opposite halves that fall off from their middles, `[side, side]`, norm 1."""
    half = side // 2
    bump = np.concatenate([_peak(half, side, norm), -_peak(side - half, side, norm)])
    return bump / np.linalg.norm(bump.ravel(), norm)


def _peak(height, width, norm):
    """Squares that grow around the middle, each weaker than the one inside, norm 1."""
    y, x = np.indices((height, width))
    ring = np.maximum(np.abs(y - height // 2), np.abs(x - width // 2))
    weights = 1.0 / np.arange(1, max(height, width) // 2 + 2) ** (4 if norm == 1 else 2)
    peak = np.cumsum(weights[::-1])[::-1][ring]
    return peak / max(np.linalg.norm(peak.ravel(), norm), 1e-12)


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
