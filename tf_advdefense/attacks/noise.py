"""Random noise: the baseline that every attack has to beat.

    adv = noise(model, images, labels, eps=0.3)
    adv = noise(model, images, labels, eps=2.0, norm=2, n_draws=100)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is within eps of them in `norm`. A defence that fails under noise is no defence,
and a model that an attack harms no more than noise hides its gradients.
"""

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks import losses
from tf_advdefense.attacks.balls import random_ball
from tf_advdefense.attacks.draws import row_keys
from tf_advdefense.attacks.stages import Stages
from tf_advdefense.attacks.stages import compiled
from tf_advdefense.attacks.stages import counters
from tf_advdefense.attacks.stages import loop
from tf_advdefense.attacks.stages import select
from tf_advdefense.attacks.stages import staged
from tf_advdefense.attacks.stages import where

_BLOCK = 10  # draws between two looks at which images are done


def init(model_fn, x, y, seed, index, settings):
    """The state of images before their first draw."""
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
    """A block of draws."""
    return loop(lambda state: _try(model_fn, state, settings), state, _BLOCK)


def finish(state, settings):
    """The noisy image that fools the model, or the one that comes closest."""
    return state["best"]


def _try(model_fn, state, settings):
    x, y, draws = state["image"], state["label"], state["forwards"]
    shape = tuple(x.shape[1:])
    eta = settings["eps"] * random_ball(state["keys"], draws, shape, settings["norm"])
    noisy = tf.clip_by_value(x + eta, settings["clip_min"], settings["clip_max"])
    logits, lead = losses.evaluate(model_fn, losses.margin, noisy, y)
    lead = -lead if settings["targeted"] else lead
    fooled = losses.is_fooled(logits, y, settings["targeted"])
    better = fooled | (lead > state["lead"])
    new = {
        **state,
        "best": where(better, noisy, state["best"]),
        "lead": tf.where(better, lead, state["lead"]),
        "fooled": fooled,
        "forwards": draws + 1,
        "done": fooled | (draws + 1 >= settings["n_draws"]),
    }
    return select(state["done"], state, new)


@staged((np.inf, 2, 1), Stages(init, advance, finish), gradient=False)
def noise(*, eps=0.3, norm=np.inf, n_draws=1):
    """Noise, uniform in the ball around the image, after CleverHans.

    CleverHans has the L-infinity norm only and returns the first draw; so does this by
    default. With more draws, an image is done with the first that fools the model, and
    else the draw with the largest lead of a wrong class is kept. As a baseline: Ford et
    al. 2019 (arXiv:1901.10513).

    Args:
      n_draws: how many draws to try.
    """
