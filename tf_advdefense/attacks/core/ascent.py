"""Steps up a loss that do not depend on the scale of its gradient.

    gradient = cross_entropy_gradient(model_fn, x, y, targeted=False)
    x = x + steepest(gradient, eps_iter, norm=2)

A confident model has tiny gradients. CleverHans' `optimize_linear` floors their squared
norm at 1e-12, so that such a model gets almost no step: with logits ten times as large,
23 of 32 images looked robust where 4 are. And where the label's probability rounds to 1
the cross-entropy has half a gradient, or none at all (`losses.log_odds`).
"""

from cleverhans.tf2.utils import optimize_linear
import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.gradient_check import compute_gradient
from tf_advdefense.attacks.core.gradient_check import cross_entropy
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.model_fn import stacked


def steepest(gradient: tf.Tensor, size: tf.Tensor, norm: float) -> tf.Tensor:
    """The step of length `size` in `norm` that raises a linear function most.

    CleverHans' `optimize_linear`, of the gradient in units of its largest entry.

    Args:
      gradient: float32 `[n, ...]`.
      size: a number, or float32 that broadcasts to the gradient.
      norm: np.inf, 2 or 1.
    """
    if norm != np.inf:
        gradient = scaled(gradient)
    return optimize_linear(gradient, size, norm)


def scaled(gradient: tf.Tensor) -> tf.Tensor:
    """Each row divided by its largest absolute value; zero stays zero."""
    axes = list(range(1, len(gradient.shape)))
    largest = tf.reduce_max(tf.abs(gradient), axes, keepdims=True)
    return tf.math.divide_no_nan(gradient, largest)


def cross_entropy_gradient(
    model_fn: ModelFn, x: tf.Tensor, y: tf.Tensor, targeted: bool
) -> tf.Tensor:
    """A gradient in whose direction the cross-entropy rises, or targeted, falls.

    Of one model it is that of its log odds (`losses.log_odds`), of several CleverHans'
    of the mean of their losses.
    """
    if len(model_fn.members) == 1:
        return _log_odds_gradient(model_fn, x, y, targeted)
    every, labels = stacked(model_fn, y)
    return compute_gradient(every, cross_entropy, x, labels, targeted)


@tf.function  # With autograph, as CleverHans' gradient: a model may use len(x).
def _log_odds_gradient(model_fn, x, y, targeted):
    return losses.climb(model_fn, losses.log_odds, x, y, targeted)[2]
