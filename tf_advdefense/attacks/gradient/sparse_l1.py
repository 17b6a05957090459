"""Sparse L1 descent (Tramer and Boneh 2019), after CleverHans' PyTorch version.

    adv = sparse_l1(model, images, labels, eps=10.0)
    adv = sparse_l1(model, images, labels, grad_sparsity=95, rand_init=True, seed=1)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; eps and
eps_iter are L1 norms in their units; the result is within eps of the images.
"""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core.ascent import cross_entropy_gradient
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import at_once
from tf_advdefense.attacks.core.balls import radii
from tf_advdefense.attacks.core.balls import random_ball
from tf_advdefense.attacks.core.state import column


class Hyper(NamedTuple):
    """Sparse L1 descent, arXiv:1904.13000, section 5 and algorithm 1.

    Each step moves the entries whose gradient is largest, the top
    100 - `grad_sparsity` percent, by equal amounts that sum to `eps_iter`, and rescales
    the perturbation to L1 norm eps where it is longer (the paper projects instead).
    CleverHans keeps one entry more for a scalar `grad_sparsity` than for a vector with
    one percentage per image; so does this. What differs from it: the random start is
    centred and not discarded by the bounds, a sparsity so small that nothing is dropped
    works, and `eps_iter` is reduced to `eps`.

    Attributes:
      eps: the radius in the L1 norm, one number or float `[batch]`.
      eps_iter: the L1 length of a step.
      nb_iter: the number of steps.
      rand_init: start at a uniform draw from the ball.
      clip_grad: ignore entries whose step would leave the bounds.
      grad_sparsity: a percentage in (0, 100), or a vector with one per image.
    """

    eps: float = 10.0
    eps_iter: float = 1.0
    nb_iter: int = 20
    rand_init: bool = False
    clip_grad: bool = False
    grad_sparsity: float = 99.0


def _craft(model_fn, x, y, keys, hyper, task):
    bounds = task.clip_min, task.clip_max
    rank = threshold_rank(hyper.grad_sparsity, x)
    eps, eps_iter = (column(radii(size, x), x) for size in (hyper.eps, hyper.eps_iter))
    start = x
    if hyper.rand_init:
        eta = eps * random_ball(keys, 0, x.shape[1:], norm=1)
        start = tf.clip_by_value(x + eta, *bounds)
    # Sizes and steps are tensors, so that a sweep over eps is traced once.
    sizes = eps, tf.minimum(eps_iter, eps)
    steps = tf.cast(hyper.nb_iter, tf.int32)
    options = task.targeted, bounds, hyper.clip_grad
    return _descend(model_fn, x, start, y, rank, *sizes, steps, *options)


def threshold_rank(grad_sparsity: Any, x: tf.Tensor) -> tf.Tensor:
    """The 0-based ascending rank of the smallest |gradient| to keep, int32 `[n]`."""
    size = x.shape[1:].num_elements()
    if np.ndim(grad_sparsity):
        return _vector_rank(grad_sparsity, x, size)
    if not 0 < grad_sparsity < 100:
        raise ValueError(
            "`grad_sparsity` must be in (0, 100). "
            f"Received: grad_sparsity={grad_sparsity}."
        )
    rank = max(int(grad_sparsity / 100.0 * size) - 1, 0)
    return tf.fill(tf.shape(x)[:1], rank)


def _vector_rank(grad_sparsity, x, size):
    percent = tf.cast(grad_sparsity, tf.float32)
    if not percent.shape.is_compatible_with(x.shape[:1]):
        raise ValueError(
            "`grad_sparsity` must be one number or one per image. "
            f"Received: shape {percent.shape} for images of shape {x.shape}."
        )
    if tf.executing_eagerly() and not tf.reduce_all((percent > 0) & (percent < 100)):
        raise ValueError(
            "`grad_sparsity` must be in (0, 100). "
            f"Received: grad_sparsity={percent.numpy().tolist()}."
        )
    return tf.cast(percent / 100.0 * size, tf.int32)


@tf.function(autograph=False)
def _descend(
    model_fn, x, start, y, rank, eps, eps_iter, nb_iter, targeted, bounds, clip_grad
):
    def step(i, adv):
        grad = cross_entropy_gradient(model_fn, adv, y, targeted)
        if clip_grad:
            grad = drop_blocked(grad, adv, *bounds)
        adv = adv + eps_iter * sparse_direction(grad, rank)
        eta = _rescale(tf.clip_by_value(adv, *bounds) - x, eps)
        return i + 1, tf.clip_by_value(x + eta, *bounds)

    return tf.while_loop(lambda i, _: i < nb_iter, step, (0, start))[1]


def drop_blocked(
    grad: tf.Tensor, adv: tf.Tensor, clip_min: float, clip_max: float
) -> tf.Tensor:
    """The gradient without the entries whose step would leave the bounds."""
    outwards = ((adv <= clip_min) & (grad < 0)) | ((adv >= clip_max) & (grad > 0))
    return tf.where(outwards, 0.0, grad)


def sparse_direction(grad: tf.Tensor, rank: tf.Tensor) -> tf.Tensor:
    """Signs of the entries from the threshold up, divided by how many there are."""
    flat = tf.reshape(grad, [tf.shape(grad)[0], grad.shape[1:].num_elements()])
    size = flat.shape[1]
    # The largest entries only: sorting them all costs more than a small gradient.
    largest = tf.math.top_k(tf.abs(flat), size - tf.reduce_min(rank)).values
    threshold = tf.gather(largest, size - 1 - rank, batch_dims=1)
    kept = tf.cast(tf.abs(flat) >= threshold[:, None], tf.float32)
    direction = tf.sign(flat) * kept / tf.reduce_sum(kept, axis=1, keepdims=True)
    return tf.reshape(direction, tf.shape(grad))


def _rescale(eta, eps):
    axes = list(range(1, len(eta.shape)))
    norm = tf.reduce_sum(tf.abs(eta), axes, keepdims=True)
    # The 1e-7 is that of `torch.renorm`.
    return tf.where(norm > eps, eta * (eps / (norm + 1e-7)), eta)


def passes(hyper: Hyper, image_shape: Sequence[int], num_classes: int) -> Passes:
    """A gradient for each step."""
    return hyper.nb_iter, hyper.nb_iter


sparse_l1 = Attack(
    name="sparse_l1",
    title="Sparse L1",
    paper="arXiv:1904.13000",
    norms=(1,),
    goal="fixed-eps",
    access="gradients",
    hyper=Hyper(),
    passes=passes,
    eps_per_image=True,
    **at_once(_craft),
)
