"""Random crops rescaled to the image's size: perturbations shift and stretch."""

import keras
import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.defenses.transforms.transform import Transform
from tf_advdefense.defenses.transforms.transform import check_range


@keras.saving.register_keras_serializable("tf_advdefense")
class CropRescale(Transform):
    """An ensemble over random crops, Guo et al. 2018 (arXiv:1711.00117), section 4.

    Each draw cuts a window at a uniform place and rescales it bilinearly, corner to
    corner; the classifier's probabilities are averaged over 30 draws. The published
    windows are 90 of 224 pixels wide; of images of 32 that would leave 13, so the
    default is 28 of 32. Its own gradient is exact, no approximation is needed.

    Args:
      fraction: the window's side in units of the image's.
      draws: over which probabilities are averaged at inference.
    """

    differentiable = True

    def __init__(self, *, fraction: float = 0.875, draws: int = 30, **kwargs):
        check_range("crop_rescale", 0.05, 1.0, fraction=fraction)
        check_range("crop_rescale", 1, 1000, draws=draws)
        super().__init__(**kwargs)
        self.fraction, self.draws = fraction, draws
        self.random = fraction < 1

    def transform(self, images: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        sides = images.shape[1:3]
        window = [max(2, round(self.fraction * side)) for side in sides]
        start = [
            tf.cast(draws.integer(keys, axis, (), side - kept + 1), tf.float32)
            for axis, (side, kept) in enumerate(zip(sides, window))
        ]
        stop = [first + kept - 1 for first, kept in zip(start, window)]
        corners = tf.stack(start + stop, axis=1)
        rows = tf.range(tf.shape(images)[0])
        boxes = corners / tf.constant([side - 1.0 for side in sides] * 2)
        return tf.image.crop_and_resize(images, boxes, rows, sides)
