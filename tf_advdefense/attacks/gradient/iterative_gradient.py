"""BIM and MIM: small steps along the gradient's sign, CleverHans' functions.

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

from cleverhans.tf2.attacks.basic_iterative_method import basic_iterative_method
from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method
import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import at_once
from tf_advdefense.attacks.core.balls import radii
from tf_advdefense.attacks.core.model_fn import stacked
from tf_advdefense.attacks.core.state import column


class BasicHyper(NamedTuple):
    """Basic iterative method, Kurakin et al. 2016 (arXiv:1607.02533), section 2.2.

    Inside a tf.function its loop unrolls: use `pgd`, which without a random start gives
    the same images. CleverHans has no defaults; these are those of `pgd`.

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
    model_fn, y = stacked(model_fn, y)
    return basic_iterative_method(
        model_fn,
        x,
        hyper.eps,
        min(hyper.eps_iter, hyper.eps),
        hyper.nb_iter,
        hyper.norm,
        clip_min=task.clip_min,
        clip_max=task.clip_max,
        y=y,
        targeted=task.targeted,
        sanity_checks=False,
    )


class MomentumHyper(NamedTuple):
    """Momentum iterative method, Dong et al. 2017 (arXiv:1710.06081), algorithm 1.

    CleverHans divides each gradient by its mean, not its sum, of absolute values: the
    same up to the scale of the momentum.

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
    model_fn, y = stacked(model_fn, y)
    eps, eps_iter = (column(radii(size, x), x) for size in (hyper.eps, hyper.eps_iter))
    return momentum_iterative_method(
        model_fn,
        x,
        eps,
        tf.minimum(eps_iter, eps),
        hyper.nb_iter,
        hyper.norm,
        clip_min=task.clip_min,
        clip_max=task.clip_max,
        y=y,
        targeted=task.targeted,
        decay_factor=hyper.decay_factor,
        sanity_checks=False,
    )


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
