"""Gradient-sign attacks of a fixed radius, CleverHans' functions: FGSM, BIM, MIM.

R+FGSM, which CleverHans lacks, is its FGSM after a random step.

    adv = fgsm(model, images, targets, targeted=True, eps=2, norm=2)
    adv = mim([model, other], images, labels, eps=8 / 255, eps_iter=2 / 255)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max], eps and
eps_iter are in their units, labels are int `[batch]`; the result is like the images,
within eps of them in `norm`, and within the bounds. Of a list of models the mean of
their losses is attacked (`model_fn.stacked`).

CleverHans has no defaults for eps, eps_iter and nb_iter of FGM and BIM; here they are
8/255, 2/255 and 20, as those of `projected_gradient.pgd`.
"""

from cleverhans.tf2.attacks.basic_iterative_method import basic_iterative_method
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method
import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core.balls import radii
from tf_advdefense.attacks.core.contract import contract
from tf_advdefense.attacks.core.model_fn import stacked
from tf_advdefense.attacks.core.stages import column


@contract(norms=(np.inf, 1, 2), eps_per_image=True)
def fgsm(call, *, eps=8 / 255, norm=np.inf):
    """Fast gradient (sign) method, Goodfellow et al. 2014 (arXiv:1412.6572), sec. 4.

    One step of length eps along the gradient's sign (inf), its direction (2) or its
    largest entries (1); eps is one number or float `[batch]`.
    """
    return _fast_gradient(call, call.x, radii(eps, call.x), norm)


@contract(norms=(np.inf,), eps_per_image=True)
def r_fgsm(call, *, eps=8 / 255, alpha=0.5):
    """R+FGSM, Tramèr et al. 2018 (arXiv:1705.07204), section 4.1: random start.

    A step of random signs, then FGSM with what is left of eps. `alpha` is the random
    step's share of eps: the paper gives its length, half of eps on ImageNet and a
    sixth on MNIST, which would not follow eps.
    """
    x, eps = call.x, radii(eps, call.x)
    random = draws.sign(draws.row_keys(call.seed, call.index), 0, x.shape[1:])
    start = x + column(alpha * eps, x) * random
    start = tf.clip_by_value(start, call.clip_min, call.clip_max)
    return _fast_gradient(call, start, (1 - alpha) * eps, np.inf)


def _fast_gradient(call, start, eps, norm):
    """CleverHans' step from `start`, of length eps `[batch]`."""
    model_fn, y = stacked(call.model_fn, call.y)
    return fast_gradient_method(
        model_fn,
        start,
        column(eps, start),
        norm,
        clip_min=call.clip_min,
        clip_max=call.clip_max,
        y=y,
        targeted=call.targeted,
    )


def _check_alpha(alpha, **_):
    if not 0 <= alpha <= 1:
        raise ValueError(
            "`alpha` must be a share of eps, in [0, 1]. "
            f"Received: alpha={alpha}. Write 0.5 for half of it."
        )


r_fgsm.check = _check_alpha


@contract(norms=(np.inf, 2))
def bim(call, *, eps=8 / 255, eps_iter=2 / 255, nb_iter=20, norm=np.inf):
    """Basic iterative method, Kurakin et al. 2016 (arXiv:1607.02533), section 2.2.

    `eps_iter` is reduced to `eps`. Inside a tf.function its loop unrolls: use `pgd`,
    which without a random start gives the same images.
    """
    model_fn, y = stacked(call.model_fn, call.y)
    return basic_iterative_method(
        model_fn,
        call.x,
        eps,
        min(eps_iter, eps),
        nb_iter,
        norm,
        clip_min=call.clip_min,
        clip_max=call.clip_max,
        y=y,
        targeted=call.targeted,
        sanity_checks=False,
    )


@contract(norms=(np.inf, 2), eps_per_image=True)
def mim(
    call,
    *,
    eps=0.3,
    eps_iter=0.06,
    nb_iter=10,
    norm=np.inf,
    decay_factor=1.0,
):
    """Momentum iterative method, Dong et al. 2017 (arXiv:1710.06081), algorithm 1.

    `eps_iter` is reduced to `eps`. CleverHans divides each gradient by its mean, not
    its sum, of absolute values: the same up to the scale of the momentum. eps is one
    number or float `[batch]`.
    """
    model_fn, y = stacked(call.model_fn, call.y)
    eps, eps_iter = (column(radii(size, call.x), call.x) for size in (eps, eps_iter))
    return momentum_iterative_method(
        model_fn,
        call.x,
        eps,
        tf.minimum(eps_iter, eps),
        nb_iter,
        norm,
        clip_min=call.clip_min,
        clip_max=call.clip_max,
        y=y,
        targeted=call.targeted,
        decay_factor=decay_factor,
        sanity_checks=False,
    )
