"""JPEG compression and decompression, pixel for pixel that of Pillow."""

import keras
import tensorflow as tf

from tf_advdefense.defenses.transforms.transform import Transform
from tf_advdefense.defenses.transforms.transform import check_range


@keras.saving.register_keras_serializable("tf_advdefense")
class Jpeg(Transform):
    """Images as JPEG keeps them, Dziugaite et al. 2016 (arXiv:1608.00853).

    Quality 75 as Guo et al. 2018 (arXiv:1711.00117), section 4. Colours are subsampled
    4:2:0, and the inverse DCT is the accurate integer one: Pillow's defaults.

    Args:
      quality: 1 to 100.
    """

    def __init__(self, *, quality: int = 75, **kwargs):
        check_range("jpeg", 1, 100, quality=quality)
        super().__init__(**kwargs)
        self.quality = quality

    def build(self, input_shape):
        if input_shape[-1] not in (1, 3):
            raise ValueError(
                "'jpeg' takes images of 1 or 3 channels. "
                f"Received: {input_shape[-1]} channels."
            )

    def transform(self, images: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        pixels = tf.cast(tf.round(tf.clip_by_value(images, 0.0, 1.0) * 255), tf.uint8)
        decoded = tf.map_fn(self._through_file, pixels)
        return tf.cast(tf.ensure_shape(decoded, images.shape), tf.float32) / 255

    def _through_file(self, pixels):
        return tf.io.decode_jpeg(
            tf.io.encode_jpeg(pixels, quality=self.quality),
            channels=pixels.shape[-1],
            dct_method="INTEGER_ACCURATE",
        )
