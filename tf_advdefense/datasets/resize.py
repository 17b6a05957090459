"""Images of any size made square.

resize = Resize(224, center_crop=True)
resize(image)                        # uint8 [224, 224, c]
"""

import dataclasses

import tensorflow as tf

_MARGIN = 8 / 7  # 256 for 224: what is resized, for what is kept of its centre.


@dataclasses.dataclass(frozen=True)
class Resize:
    """How images get their size.

    Attributes:
      image_size: the side of the square; None leaves images as they are.
      center_crop: the shorter side becomes 8/7 of it and the centre is cut out, as
        networks for ImageNet are measured; by default both sides become it, which
        distorts what is not square.
    """

    image_size: int | None = None
    center_crop: bool = False

    def __post_init__(self) -> None:
        if self.center_crop and self.image_size is None:
            raise ValueError(
                "`center_crop` cuts a square out of resized images. Received: no "
                "`image_size`. Give it."
            )

    def __call__(self, image: tf.Tensor) -> tf.Tensor:
        """An image uint8 `[h, w, c]`, resized, with antialiasing."""
        side = self.image_size
        if side is None:
            return image
        if not self.center_crop:
            return _resized(image, (side, side))
        size = tf.cast(tf.shape(image)[:2], tf.float32)
        scale = round(_MARGIN * side) / tf.reduce_min(size)
        inner = _resized(image, tf.cast(tf.round(scale * size), tf.int32))
        top, left = tf.unstack((tf.shape(inner)[:2] - side) // 2)
        return inner[top : top + side, left : left + side]


def _resized(image, size):
    resized = tf.image.resize(image, size, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
