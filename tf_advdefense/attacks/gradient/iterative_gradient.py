"""BIM and MIM: small steps along the gradient, as CleverHans has them, compiled.

    adv = bim(model, images, labels, eps=8 / 255, eps_iter=2 / 255)
    adv = mim([model, other], images, labels, eps=8 / 255, eps_iter=2 / 255)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max], eps and
eps_iter are in their units, labels are int `[batch]`; the result is within eps of the
images in `norm`, and within the bounds. Of a list of models the mean of their losses is
attacked (`model_fn.stacked`).
"""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core.ascent import cross_entropy_gradient
from tf_advdefense.attacks.core.ascent import scaled
from tf_advdefense.attacks.core.ascent import steepest
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import at_once
from tf_advdefense.attacks.core.balls import project
from tf_advdefense.attacks.core.balls import radii
from tf_advdefense.attacks.core.state import column


class BasicHyper(NamedTuple):
    """Basic iterative method, Kurakin et al. 2016 (arXiv:1607.02533), section 2.2.

    CleverHans has no defaults; these are those of `pgd`, which without a random start
    gives the same images.

    Attributes:
      eps: the radius.
      eps_iter: the length of a step, reduced to eps.
      nb_iter: the number of steps.
      norm: np.inf or 2.
    """

    eps: float = 8 / 255
    eps_iter: float = 2 / 255
    nb_iter: int = 20
    norm: float = np.inf


def _bim(model_fn, x, y, keys, hyper, task):
    # Without momentum MIM takes the steps of the gradient itself.
    return _momentum_steps(model_fn, x, y, hyper, task, decay_factor=None)


class MomentumHyper(NamedTuple):
    """Momentum iterative method, Dong et al. 2017 (arXiv:1710.06081), algorithm 1.

    As in CleverHans each gradient is divided by its mean, not its sum, of absolute
    values: the same up to the scale of the momentum. Different from it: no gradient is
    so small that it does not count (there, means below 1e-12).

    Attributes:
      eps: the radius, one number or float `[batch]`.
      eps_iter: the length of a step, reduced to eps.
      nb_iter: the number of steps.
      norm: np.inf or 2.
      decay_factor: of the momentum.
    """

    eps: float = 0.3
    eps_iter: float = 0.06
    nb_iter: int = 10
    norm: float = np.inf
    decay_factor: float = 1.0


def _mim(model_fn, x, y, keys, hyper, task):
    return _momentum_steps(model_fn, x, y, hyper, task, hyper.decay_factor)


def _momentum_steps(model_fn, x, y, hyper, task, decay_factor):
    eps = radii(hyper.eps, x)
    eps_iter = tf.minimum(radii(hyper.eps_iter, x), eps)
    # Sizes and steps are tensors, so that a sweep over eps is traced once.
    steps = tf.cast(hyper.nb_iter, tf.int32)
    return _climb(model_fn, x, y, eps, eps_iter, steps, hyper.norm, task, decay_factor)


@tf.function(autograph=False)
def _climb(model_fn, x, y, eps, eps_iter, nb_iter, norm, task, decay_factor):
    size, bounds = column(eps_iter, x), (task.clip_min, task.clip_max)

    def step(i, adv, momentum):
        gradient = cross_entropy_gradient(model_fn, adv, y, task.targeted)
        if decay_factor is None:
            momentum = gradient
        else:
            momentum = decay_factor * momentum + _in_units_of_its_mean(gradient)
        adv = adv + steepest(momentum, size, norm)
        if decay_factor is None:  # as CleverHans' PGD, which its BIM is
            adv = tf.clip_by_value(adv, *bounds)
        adv = x + project(adv - x, norm, eps)
        return i + 1, tf.clip_by_value(adv, *bounds), momentum

    start = (0, x, tf.zeros_like(x))
    return tf.while_loop(lambda i, *_: i < nb_iter, step, start)[1]


def _in_units_of_its_mean(gradient):
    gradient = scaled(gradient)
    axes = list(range(1, len(gradient.shape)))
    mean = tf.reduce_mean(tf.abs(gradient), axes, keepdims=True)
    return tf.math.divide_no_nan(gradient, mean)


def _passes(hyper: Any, image_shape: Sequence[int], num_classes: int) -> Passes:
    return hyper.nb_iter, hyper.nb_iter


bim = Attack(
    name="bim",
    title="BIM",
    paper="arXiv:1607.02533",
    norms=(np.inf, 2),
    goal="fixed-eps",
    access="gradients",
    hyper=BasicHyper(),
    passes=_passes,
    **at_once(_bim),
)

mim = Attack(
    name="mim",
    title="MIM",
    paper="arXiv:1710.06081",
    norms=(np.inf, 2),
    goal="fixed-eps",
    access="gradients",
    hyper=MomentumHyper(),
    passes=_passes,
    eps_per_image=True,
    **at_once(_mim),
)
