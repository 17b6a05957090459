"""Adversarial weight perturbation (Wu et al. 2020, arXiv:2004.05884), algorithm 1.

    gradients = gradients_at(weights)
    with perturbed(weights, gradients, gamma=0.005):
        gradients = gradients_at(weights)       # where the loss is higher
    optimizer.apply(gradients, weights)

A minimum in which the loss rises little when the weights are moved, too, generalises
better to attacked test images. It costs a gradient more in each step.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
from typing import Any

import tensorflow as tf


@contextlib.contextmanager
def perturbed(
    weights: Sequence[Any], gradients: Sequence[tf.Tensor], gamma: float
) -> Iterator[None]:
    """Context in which each kernel is moved up its gradient by `gamma` of its norm.

    As in the authors' code biases and BatchNorm's parameters stay. Deviation: the
    optimizer steps from the weights themselves, not from the moved ones, so that weight
    decay is of these.
    """
    kernels = [(w, g) for w, g in zip(weights, gradients) if len(w.shape) > 1]
    before = [tf.identity(w) for w, _ in kernels]
    for (kernel, gradient), value in zip(kernels, before):
        direction = tf.math.divide_no_nan(gradient, tf.norm(gradient))
        kernel.assign(value + gamma * tf.norm(value) * direction)
    yield
    for (kernel, _), value in zip(kernels, before):
        kernel.assign(value)


def checked(gamma: float, defense: Any) -> float:
    """The size itself.

    Raises:
      ValueError: in one line, for one that is out of range, or cannot be had.
    """
    if not isinstance(gamma, int | float) or not 0 <= gamma < 1:
        raise ValueError(f"`awp` must be in [0, 1). Received: awp={gamma!r}.")
    if gamma and getattr(defense, "variables", ()):
        raise ValueError(
            "`awp` takes a second gradient of the same batch. Received: "
            f"awp={gamma:g} of {defense.name}, whose gradient moves its perturbation. "
            "Choose another `defense`."
        )
    if gamma and tf.distribute.has_strategy():
        raise ValueError(
            f"`awp` moves the weights of one device. Received: awp={gamma:g} and a "
            "distribution over several. Leave `distribute` out."
        )
    return gamma
