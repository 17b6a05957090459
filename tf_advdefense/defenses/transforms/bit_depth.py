"""Bit-depth reduction: fewer grey levels than small perturbations need."""

import keras
import tensorflow as tf

from tf_advdefense.defenses.transforms.transform import Transform
from tf_advdefense.defenses.transforms.transform import check_range


@keras.saving.register_keras_serializable("tf_advdefense")
class BitDepth(Transform):
    """Values rounded to 2^bits levels from 0 to 1.

    Xu et al. 2018 (arXiv:1704.01155), section II; 3 bits as Guo et al. 2018
    (arXiv:1711.00117), section 4. Guo's code rounds x * 2^bits, which makes a level
    more.

    Args:
      bits: 1 to 8.
    """

    def __init__(self, *, bits: int = 3, **kwargs):
        check_range("bit_depth", 1, 8, bits=bits)
        super().__init__(**kwargs)
        self.bits = bits

    def transform(self, images: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        steps = 2.0**self.bits - 1
        return tf.round(images * steps) / steps
