"""The convolutional network of MNIST in the literature on adversarial training.

    logits = small_cnn((28, 28, 1), 10)(images)      # float32 [batch, 10]

It is what small and grey images need, and what trains in seconds.
"""

from collections.abc import Sequence

import keras
from keras import layers

from tf_advdefense.models.sizes import check_side
from tf_advdefense.models.sizes import check_width


def small_cnn(
    image_shape: Sequence[int], num_classes: int, width: int = 32
) -> keras.Model:
    """Two 5x5 convolutions, each with a 2x2 max-pool, and a hidden dense layer.

    Args:
      image_shape: (height, width, channels), at least 4x4.
      num_classes: number of logits.
      width: channels of the first convolution; the second has twice, the dense layer
        32 times as many.

    Returns:
      A `keras.Model` from images in [0, 1] to logits.

    The network of Madry et al. 2018 (arXiv:1706.06083), section 5: at width 32 on
    28x28x1 images and 10 classes its 3,274,634 parameters. Deviations: He-normal
    kernels instead of a normal of 0.1, and images are scaled to [-1, 1] inside.
    """
    check_side("small_cnn", image_shape, least=4)
    check_width(width)
    images = keras.Input(image_shape, name="images")
    x = layers.Rescaling(2.0, -1.0, name="centre")(images)
    for number, channels in enumerate((width, 2 * width), start=1):
        x = layers.Conv2D(
            channels,
            5,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"conv{number}",
        )(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.Dense(
        32 * width, activation="relu", kernel_initializer="he_normal", name="hidden"
    )(layers.Flatten(name="flatten")(x))
    return keras.Model(
        images, layers.Dense(num_classes, name="logits")(x), name="small_cnn"
    )
