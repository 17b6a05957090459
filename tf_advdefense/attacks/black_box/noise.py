"""Random noise: the baseline that every attack has to beat.

    adv = noise(model, images, labels, eps=0.3)
    adv = noise(model, images, labels, eps=2.0, norm=2, n_draws=100)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is within eps of them in `norm`. A defence that fails under noise is no defence,
and a model that an attack harms no more than noise hides its gradients.
"""

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.black_box.random_search import finish
from tf_advdefense.attacks.black_box.random_search import init
from tf_advdefense.attacks.black_box.random_search import keep_best
from tf_advdefense.attacks.core.balls import random_ball
from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import compiled
from tf_advdefense.attacks.core.stages import loop
from tf_advdefense.attacks.core.stages import staged

_BLOCK = 10  # draws between two looks at which images are done


@compiled
def advance(model_fn, state, settings):
    """A block of draws."""
    return loop(lambda state: _try(model_fn, state, settings), state, _BLOCK)


def _try(model_fn, state, settings):
    x, shape = state["image"], tuple(state["image"].shape[1:])
    eta = random_ball(state["keys"], state["forwards"], shape, settings["norm"])
    noisy = x + settings["eps"] * eta
    noisy = tf.clip_by_value(noisy, settings["clip_min"], settings["clip_max"])
    return keep_best(
        model_fn, state, noisy, state["lead"], settings["n_draws"], settings
    )


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
