"""Gradient-sign attacks of a fixed radius, by CleverHans: FGSM, BIM, PGD, MIM.

    adv = pgd(model, images, labels, eps=8 / 255, rand_init=True, seed=1)
    adv = fgsm(model, images, targets, targeted=True, eps=2, norm=2)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max], eps and
eps_iter are in their units, labels are int `[batch]`; the result is like the images,
within eps of them in `norm`, and within the bounds. `y=None` takes the model's own
predictions, `index` and `seed` decide every random draw (see `contract`).

`fgsm`, `bim` and `mim` call CleverHans' functions. `pgd` is its loop, step by step the
same `fast_gradient_method` and `clip_eta`, compiled as a whole: CleverHans runs the
arithmetic between two gradients eagerly, unrolls its loop when traced, and draws the
random start from the global generator. CleverHans has no defaults for eps, eps_iter and
nb_iter of FGM, BIM and PGD; here they are 8/255, 2/255 and 20.
"""

from cleverhans.tf2.attacks.basic_iterative_method import basic_iterative_method
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method
from cleverhans.tf2.utils import clip_eta
import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.contract import contract
from tf_advdefense.attacks.contract import draw_per_image


@contract(norms=(np.inf, 1, 2))
def fgsm(
    model_fn,
    x,
    y=None,
    targeted=False,
    clip_min=0.0,
    clip_max=1.0,
    seed=0,
    index=None,
    *,
    eps=8 / 255,
    norm=np.inf,
):
    """Fast gradient (sign) method, Goodfellow et al. 2014 (arXiv:1412.6572), sec. 4.

    One step of length eps along the gradient's sign (inf), its direction (2) or its
    largest entries (1).
    """
    return fast_gradient_method(
        model_fn, x, eps, norm, None, clip_min, clip_max, y, targeted
    )


@contract(norms=(np.inf, 2))
def bim(
    model_fn,
    x,
    y=None,
    targeted=False,
    clip_min=0.0,
    clip_max=1.0,
    seed=0,
    index=None,
    *,
    eps=8 / 255,
    eps_iter=2 / 255,
    nb_iter=20,
    norm=np.inf,
):
    """Basic iterative method, Kurakin et al. 2016 (arXiv:1607.02533), section 2.2.

    `eps_iter` is reduced to `eps`. Inside a tf.function its loop unrolls: use `pgd`,
    which without a random start gives the same images.
    """
    return basic_iterative_method(
        model_fn,
        x,
        eps,
        min(eps_iter, eps),
        nb_iter,
        norm,
        clip_min=clip_min,
        clip_max=clip_max,
        y=y,
        targeted=targeted,
        sanity_checks=False,
    )


@contract(norms=(np.inf, 2))
def mim(
    model_fn,
    x,
    y=None,
    targeted=False,
    clip_min=0.0,
    clip_max=1.0,
    seed=0,
    index=None,
    *,
    eps=0.3,
    eps_iter=0.06,
    nb_iter=10,
    norm=np.inf,
    decay_factor=1.0,
):
    """Momentum iterative method, Dong et al. 2017 (arXiv:1710.06081), algorithm 1.

    `eps_iter` is reduced to `eps`. CleverHans divides each gradient by its mean, not
    its sum, of absolute values: the same up to the scale of the momentum.
    """
    return momentum_iterative_method(
        model_fn,
        x,
        eps,
        min(eps_iter, eps),
        nb_iter,
        norm,
        clip_min=clip_min,
        clip_max=clip_max,
        y=y,
        targeted=targeted,
        decay_factor=decay_factor,
        sanity_checks=False,
    )


@contract(norms=(np.inf, 2))
def pgd(
    model_fn,
    x,
    y=None,
    targeted=False,
    clip_min=0.0,
    clip_max=1.0,
    seed=0,
    index=None,
    *,
    eps=8 / 255,
    eps_iter=2 / 255,
    nb_iter=20,
    norm=np.inf,
    rand_init=None,
    rand_minmax=None,
):
    """Projected gradient descent, Madry et al. 2017 (arXiv:1706.06083), section 2.1.

    `eps_iter` is reduced to `eps`. With `rand_init` it starts at a uniform draw from
    the ball of radius `rand_minmax`, or eps where that is None. In a training step,
    call it outside the gradient tape, which would otherwise record every iteration.
    """
    start = x
    if rand_init:
        radius = tf.cast(eps if rand_minmax is None else rand_minmax, tf.float32)
        eta = clip_eta(random_ball(x, norm, radius, seed, index), norm, eps)
        start = tf.clip_by_value(x + eta, clip_min, clip_max)
    sizes = [tf.cast(size, tf.float32) for size in (eps, min(eps_iter, eps))]
    steps = tf.cast(nb_iter, tf.int32)
    return _descend(
        model_fn, x, start, y, targeted, clip_min, clip_max, *sizes, steps, norm
    )


# Sizes and steps are tensors, so that a sweep over eps is traced once.
@tf.function(autograph=False)
def _descend(
    model_fn, x, start, y, targeted, clip_min, clip_max, eps, eps_iter, nb_iter, norm
):
    def step(i, adv):
        adv = fast_gradient_method(
            model_fn, adv, eps_iter, norm, None, clip_min, clip_max, y, targeted
        )
        adv = x + clip_eta(adv - x, norm, eps)
        return i + 1, tf.clip_by_value(adv, clip_min, clip_max)

    return tf.while_loop(lambda i, _: i < nb_iter, step, (0, start))[1]


@tf.function(autograph=False)
def random_ball(x, norm, radius, seed, index):
    """Uniform draws from the ball around 0, float32 like x, one per (seed, index).

    Tensors for `radius` and `seed` spare a trace for each of their values.
    """
    shape = x.shape[1:]
    if norm == np.inf:
        return draw_per_image(
            lambda key: tf.random.stateless_uniform(shape, key, -radius, radius),
            seed,
            index,
        )
    return draw_per_image(lambda key: _l2_ball(shape, radius, key), seed, index)


def _l2_ball(shape, radius, key):
    direction_key, length_key = tf.unstack(tf.random.split(key, 2))
    direction = tf.random.stateless_normal(shape, direction_key)
    length = tf.random.stateless_uniform([], length_key) ** (1 / shape.num_elements())
    return radius * length * direction / tf.norm(direction)
