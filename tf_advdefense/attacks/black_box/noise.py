"""Random noise: the baseline that every attack has to beat.

    adv = noise(model, images, labels, eps=0.3)
    adv = noise(model, images, labels, eps=2.0, norm=2, n_draws=100)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is within eps of them in `norm`. A defence that fails under noise is no defence,
and a model that an attack harms no more than noise hides its gradients.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.black_box.random_search import State
from tf_advdefense.attacks.black_box.random_search import finish
from tf_advdefense.attacks.black_box.random_search import init
from tf_advdefense.attacks.black_box.random_search import keep_best
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.balls import random_ball
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.state import column
from tf_advdefense.attacks.core.state import compiled
from tf_advdefense.attacks.core.state import loop

_BLOCK = 10  # draws between two looks at which images are done


class Hyper(NamedTuple):
    """Noise, uniform in the ball around the image, after CleverHans.

    CleverHans has the L-infinity norm only and returns the first draw; so does this by
    default. With more draws, an image is done with the first that fools the model, and
    else the draw with the largest margin of a wrong class is kept. As a baseline: Ford
    et al. 2019 (arXiv:1901.10513).

    Attributes:
      eps: the radius.
      norm: np.inf, 2 or 1.
      n_draws: how many draws to try.
    """

    eps: float = 0.3
    norm: float = np.inf
    n_draws: int = 1


def advance(model_fn: ModelFn, state: State, hyper: Hyper, task: Task) -> State:
    """Tries a block of draws on every image."""
    return _advance(model_fn, state, hyper._replace(eps=None), task)


@compiled
def _advance(model_fn, state, hyper, task):
    return loop(lambda state: _try(model_fn, state, hyper, task), state, _BLOCK)


def _try(model_fn, state, hyper, task):
    x, turn = state.image, state.progress.forwards
    eta = random_ball(state.key, turn, tuple(x.shape[1:]), hyper.norm)
    eta *= column(state.eps, x)
    noisy = tf.clip_by_value(x + eta, task.clip_min, task.clip_max)
    return keep_best(model_fn, state, noisy, state.margin, hyper.n_draws, task)


def passes(hyper: Hyper, image_shape: Sequence[int], num_classes: int) -> Passes:
    """A query per draw."""
    return hyper.n_draws, 0


noise = Attack(
    name="noise",
    title="Noise",
    paper="arXiv:1901.10513",
    norms=(np.inf, 2, 1),
    goal="fixed-eps",
    access="scores",
    hyper=Hyper(),
    init=init,
    advance=advance,
    finish=finish,
    passes=passes,
)
