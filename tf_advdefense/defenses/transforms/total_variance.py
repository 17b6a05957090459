"""Total-variance minimisation: the smoothest image near the pixels that are kept."""

import keras
import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.defenses.transforms.transform import Transform
from tf_advdefense.defenses.transforms.transform import check_range

_TAU = 0.05  # The primal step; of those tried the best at 100 iterations with a mask.


@keras.saving.register_keras_serializable("tf_advdefense")
class TotalVariance(Transform):
    """Random pixels restored by their variation, Guo et al. 2018 (arXiv:1711.00117), 4.

    With a random mask m over pixels and channels, the minimum over z of

        |m (z - x)|^2 / 2 + weight * TV(z)

    where TV is the sum over pixels and channels of the length of the forward
    differences (Rudin et al. 1992). That is what the authors' solver minimises; their
    formula (3) has norms of whole rows and columns instead. They solve by split
    Bregman iterations, whose sweeps are sequential; here by the primal-dual iterations
    of Chambolle and Pock 2011 (doi:10.1007/s10851-010-0251-1), algorithm 1, on whole
    batches. Without a mask, `keep=1.0`, nothing is random, and the minimum is that of
    scikit-image's `denoise_tv_chambolle(x, weight, channel_axis=-1)`.

    Args:
      weight: of the variation.
      keep: the share of values that the mask keeps.
      iterations: enough to be within about 0.002 of the minimum where all is kept.
    """

    def __init__(
        self,
        *,
        weight: float = 0.03,
        keep: float = 0.5,
        iterations: int = 100,
        **kwargs,
    ):
        check_range("tv", 1e-6, 10.0, weight=weight)
        check_range("tv", 0.01, 1.0, keep=keep)
        check_range("tv", 1, 100000, iterations=iterations)
        super().__init__(**kwargs)
        self.weight, self.keep, self.iterations = weight, keep, iterations
        self.random = keep < 1

    def transform(self, images: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        mask = draws.uniform(keys, 0, tuple(images.shape[1:])) < self.keep
        mask = tf.cast(mask, tf.float32)
        # As tensors: other settings are not traced anew.
        settings = map(tf.constant, (self.weight, self.iterations))
        return _minimise(images, mask, *settings)


@tf.function(autograph=False)
def _minimise(images, mask, weight, iterations):
    # Nothing is known of a dropped value, so that it starts from mid-grey.
    start = tf.where(mask > 0, images, 0.5)
    pull = _TAU / weight * mask
    share = pull / (1 + pull)
    sigma = 1 / (8 * _TAU)  # 8 bounds the squared norm of the differences.

    def step(i, z, ahead, down, right):
        down, right = _shrink(
            down + sigma * _down(ahead), right + sigma * _right(ahead)
        )
        new = z + _TAU * (_up(down) + _left(right))
        # Two sums, not one of three terms: where memory is scarce TensorFlow sums three
        # in a variable that it leaves behind, for the next call to fail on.
        new = new + share * (images - new)
        return i + 1, new, 2 * new - z, down, right

    zeros = tf.zeros_like(images)
    return tf.while_loop(
        lambda i, *_: i < iterations, step, (0, start, start, zeros, zeros)
    )[1]


def _shrink(down, right):
    """The nearest pairs of length at most 1."""
    length = tf.maximum(tf.sqrt(down**2 + right**2), 1.0)
    return down / length, right / length


def _down(z):
    """Differences to the row below; the last row has none."""
    return tf.pad(z[:, 1:] - z[:, :-1], [[0, 0], [0, 1], [0, 0], [0, 0]])


def _right(z):
    return tf.pad(z[:, :, 1:] - z[:, :, :-1], [[0, 0], [0, 0], [0, 1], [0, 0]])


def _up(p):
    """The negative transpose of `_down`."""
    inner = p[:, :-1]
    ends = tf.zeros_like(p[:, :1])
    return tf.concat([inner, ends], 1) - tf.concat([ends, inner], 1)


def _left(p):
    inner = p[:, :, :-1]
    ends = tf.zeros_like(p[:, :, :1])
    return tf.concat([inner, ends], 2) - tf.concat([ends, inner], 2)
