"""Parts of other images pasted into each, and shares of their classes with them.

mix = CutMix(share=0.5, num_classes=10)
images, targets = mix(images, labels, seed)
"""

from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.datasets.augmentation import rectangles


class CutMix(NamedTuple):
    """Yun et al. 2019 (arXiv:1905.04899), section 3.1 and algorithm A1.

    With probability `share` an image gets a rectangle of the image before it in its
    batch (the first of the last), from the same place. Of the image's area it takes a
    share drawn uniformly, in the image's proportions, around a random pixel; what of it
    is outside is lost. Rebuffi et al. 2021 (arXiv:2103.01946) find it to help
    adversarial training where the weights are averaged.

    Deviation: each image draws a rectangle of its own, in the authors' code a batch
    does; there 1/2 is the share for CIFAR-10, and 1 that for ImageNet.
    """

    share: float
    num_classes: int

    def __call__(
        self, images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mix the images of a batch.

        Args:
          images: float32 [batch, height, width, channels].
          labels: int64 [batch].
          seed: int64 [2].

        Returns:
          (images; the classes' shares of each one's area, float32 [batch, classes]).
        """
        draws = tf.random.stateless_uniform([4, tf.shape(images)[0], 1], seed)
        chosen = tf.cast(draws[0] < self.share, tf.float32)
        side = chosen * tf.sqrt(draws[1])
        sides = [tf.cast(side * length, tf.int32) for length in images.shape[1:3]]
        pasted = rectangles(images.shape, sides, draws[2:])
        part = tf.reduce_mean(tf.cast(pasted, tf.float32), axis=[1, 2])
        own = tf.one_hot(labels, self.num_classes)
        targets = (1 - part) * own + part * tf.roll(own, 1, axis=0)
        return tf.where(pasted, tf.roll(images, 1, axis=0), images), targets

    def unmixed(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Adversarial examples as they are, with targets of the same kind."""
        target = tf.one_hot(batch["adv_label"], self.num_classes)
        return {**batch, "adv_target": target}
