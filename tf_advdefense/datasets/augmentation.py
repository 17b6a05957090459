"""Random flips and crops, as far as they keep an image's class.

    augmentation = of("cifar10", image_shape=(32, 32, 3))   # flip, crop by 2 pixels
    augmented = augmentation(images, seed)

Natural images are flipped and cropped from their zero-padded copy. Handwritten or
printed characters are not flipped: with flips, six epochs on `digits` end at 23 %
accuracy, without at 63 to 74 %.
"""

from typing import NamedTuple

import tensorflow as tf

# Sets of TFDS, and of our own, whose classes a mirror image need not keep.
_CHARACTERS = (
    "digits",
    "mnist",
    "binarized_mnist",
    "emnist",
    "kmnist",
    "mnist_corrupted",
    "omniglot",
    "svhn_cropped",
    "cmaterdb",
)
# Of the side: 2 pixels at 32. With 4, as is usual for wider networks, ResNet50 with
# its ImageNet stem is still underfitting at the end of a short training.
_CROP_SHARE = 1 / 16


class Augmentation(NamedTuple):
    """A flip with probability 1/2, and a crop from the copy padded by `pad` pixels."""

    flip: bool
    pad: int

    def __call__(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augment each image by draws of its own.

        Args:
          images: float32 [batch, height, width, channels].
          seed: int64 [2]; equal seeds give equal draws, slot by slot.
        """
        size, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
        pad = self.pad
        draws = tf.random.stateless_uniform(
            [3, size], seed, maxval=2 * (2 * pad + 1), dtype=tf.int32
        )
        top, left = draws[0] // 2, draws[1] // 2
        column = tf.range(width)[tf.newaxis]
        if self.flip:
            kept = draws[2][:, tf.newaxis] % 2 == 0
            column = tf.where(kept, column, width - 1 - column)
        padded = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        row = top[:, tf.newaxis] + tf.range(height)
        rows = tf.gather(padded, row, axis=1, batch_dims=1)
        return tf.gather(rows, left[:, tf.newaxis] + column, axis=2, batch_dims=1)


def of(dataset: str, image_shape: tuple[int, ...]) -> Augmentation:
    """The augmentation of a data set.

    Args:
      dataset: its name: of TFDS (with or without its configuration), `folder:PATH`,
        `npz:FILE`, or `digits`.
      image_shape: (height, width, channels).
    """
    name = dataset.split("/")[0].split(":")[0]
    pad = round(_CROP_SHARE * min(image_shape[:2]))
    return Augmentation(flip=name not in _CHARACTERS, pad=pad)
