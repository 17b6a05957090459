"""One step along the gradient: FGSM, as CleverHans has it, and R+FGSM, which it lacks.

    adv = fgsm(model, images, labels, eps=8 / 255)
    adv = fgsm(model, images, targets, targeted=True, eps=2, norm=2)
    adv = r_fgsm(model, images, labels, eps=8 / 255)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max], eps is in
their units, labels are int `[batch]`; the result is within eps of the images in `norm`,
and within the bounds. Of a list of models the mean of their losses is attacked
(`model_fn.stacked`).
"""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core.ascent import cross_entropy_gradient
from tf_advdefense.attacks.core.ascent import steepest
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import at_once
from tf_advdefense.attacks.core.balls import radii
from tf_advdefense.attacks.core.state import column


class Hyper(NamedTuple):
    """Fast gradient (sign) method, Goodfellow et al. 2014 (arXiv:1412.6572), section 4.

    One step of length eps along the gradient's sign (inf), its direction (2) or its
    largest entries (1). CleverHans has no default for eps.

    Attributes:
      eps: the radius, one number or float `[batch]`.
      norm: np.inf, 1 or 2.
    """

    eps: float = 8 / 255
    norm: float = np.inf


def _fgsm(model_fn, x, y, keys, hyper, task):
    return _step(model_fn, x, y, radii(hyper.eps, x), hyper.norm, task)


class RandomHyper(NamedTuple):
    """R+FGSM, Tramèr et al. 2018 (arXiv:1705.07204), section 4.1.

    A step of random signs, out of regions where gradients are masked, then FGSM with
    what is left of eps.

    Attributes:
      eps: the radius, one number or float `[batch]`.
      alpha: the random step's share of eps, in [0, 1]. The paper gives its length, half
        of eps on ImageNet and a sixth on MNIST, which would not follow eps.
    """

    eps: float = 8 / 255
    alpha: float = 0.5


def _r_fgsm(model_fn, x, y, keys, hyper, task):
    eps = radii(hyper.eps, x)
    signs = draws.sign(keys, 0, x.shape[1:])
    start = x + column(hyper.alpha * eps, x) * signs
    start = tf.clip_by_value(start, task.clip_min, task.clip_max)
    return _step(model_fn, start, y, (1 - hyper.alpha) * eps, np.inf, task)


def _step(model_fn, start, y, eps, norm, task):
    """CleverHans' `fast_gradient_method` from `start`, of length eps `[batch]`.

    Different from it: the steps of confident models (`core.ascent`).
    """
    gradient = cross_entropy_gradient(model_fn, start, y, task.targeted)
    adv = start + steepest(gradient, column(eps, start), norm)
    return tf.clip_by_value(adv, task.clip_min, task.clip_max)


def _check_alpha(hyper):
    if not 0 <= hyper.alpha <= 1:
        raise ValueError(
            "`alpha` must be a share of eps, in [0, 1]. "
            f"Received: alpha={hyper.alpha}. Write 0.5 for half of it."
        )


def _passes(hyper: Any, image_shape: Sequence[int], num_classes: int) -> Passes:
    return 1, 1


fgsm = Attack(
    name="fgsm",
    title="FGSM",
    paper="arXiv:1412.6572",
    norms=(np.inf, 1, 2),
    goal="fixed-eps",
    access="gradients",
    hyper=Hyper(),
    passes=_passes,
    eps_per_image=True,
    **at_once(_fgsm),
)

r_fgsm = Attack(
    name="r_fgsm",
    title="R+FGSM",
    paper="arXiv:1705.07204",
    norms=(np.inf,),
    goal="fixed-eps",
    access="gradients",
    hyper=RandomHyper(),
    passes=_passes,
    check=_check_alpha,
    eps_per_image=True,
    **at_once(_r_fgsm),
)
