"""Classifiers whose robustness cannot be measured, refused in one line.

    check_classifier(model, data, "mine.keras")   # raises in one line
    is_at_chance(12, 100, classes=10)

A classifier that fails `check_classifier` is not evaluated at all. What was measured
and is to be distrusted, `red_flags` finds in the results.
"""

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense import distribution
from tf_advdefense.attacks.core.model_fn import served
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.images import as_float
from tf_advdefense.models.interface import check_shape

_SAMPLE = 8
_INVARIANCE = 1e-4  # Relative; float32 kernels of other shapes stay far below.


@distribution.full_float32()
def check_classifier(model: keras.Model, data: Dataset, name: str) -> None:
    """Refuse a model whose robustness cannot be measured.

    Args:
      model: `keras.Model`.
      data: `datasets.Dataset` it is to be measured on.
      name: of the model, for the messages.

    Raises:
      ValueError: another image shape or class count, probabilities instead of logits,
        values that are not finite, or logits that depend on the rest of the batch.
    """
    check_shape(model.input_shape[1:], data.image_shape, name)
    images = as_float(data.test.images[:_SAMPLE])
    logits = _logits(model, images)
    if logits.ndim != 2 or logits.shape[1] != data.num_classes:
        raise ValueError(
            f"A model must have one logit per class. Received: {name} returns "
            f"{list(logits.shape)} for {len(images)} images, {data.name} has "
            f"{data.num_classes} classes. Choose the `dataset` it was trained on."
        )
    if not np.isfinite(logits).all():
        raise ValueError(
            f"Logits must be finite. Received: NaN or infinity from {name}."
        )
    if logits.min() >= 0 and np.allclose(logits.sum(1), 1, atol=1e-5):
        raise ValueError(
            f"A model must return logits. Received: {name} returns probabilities, "
            "whose gradients vanish. Remove its softmax, or save the model up to it."
        )
    _check_batch_independence(model, images, logits, name)


def _check_batch_independence(
    model: keras.Model, images: np.ndarray, logits: np.ndarray, name: str
) -> None:
    alone = np.concatenate([_logits(model, image[np.newaxis]) for image in images[:2]])
    difference = np.abs(alone - logits[:2]).max() / (1 + np.abs(logits).max())
    if difference > _INVARIANCE:
        raise ValueError(
            f"An image's logits must not depend on its batch. Received: {name} differs "
            f"by {difference:.1g} (relative) between one image alone and in a batch. "
            "BatchNorm in training mode, or randomness, would do that."
        )


def _logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(served(model)(tf.constant(images)))


CHANCE = (
    "the model is untrained, its classes are in another order, or it takes images "
    "of another range than [0, 1], such as [0, 255]."
)


def is_at_chance(correct: int, total: int, classes: int) -> bool:
    """Whether so many correct clean images are no more than guessing may give."""
    return total > 0 and wilson(correct, total)[0] <= 1 / classes
