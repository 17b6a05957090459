"""AlexNet (Krizhevsky, Sutskever and Hinton 2012) for images in [0, 1].

    logits = alexnet((32, 32, 3), 10)(images)      # float32 [batch, 10]

It is the source model of the ensemble's adversarial examples.
"""

from collections.abc import Sequence

import keras
from keras import layers

from tf_advdefense.models.sizes import check_side

# The original layout shrinks the image 32-fold and needs at least this side.
_ORIGINAL_FROM = 63


def alexnet(
    image_shape: Sequence[int], num_classes: int, dropout: float = 0.5
) -> keras.Model:
    """Five convolutions, three max-pools and three dense layers.

    Args:
      image_shape: (height, width, channels), at least 16x16.
      num_classes: number of logits.
      dropout: rate before each hidden dense layer.

    Returns:
      A `keras.Model` from images in [0, 1] to logits.

    From 63x63 up the layout is the single-column one (Krizhevsky 2014,
    arXiv:1404.5997): 11x11 convolution of stride 4, dense layers of 4096. Below
    that its maps vanish, so small images get 3x3 convolutions (the first of stride 2)
    and 2x2 pools with the same depths, and dense layers of 1024. Deviations: no local
    response normalisation (it neither helps nor appears in later versions), He-normal
    initialisation, images scaled to [-1, 1] inside.
    """
    check_side("alexnet", image_shape, least=16)
    small = min(image_shape[:2]) < _ORIGINAL_FROM
    images = keras.Input(image_shape, name="images")
    x = layers.Rescaling(2.0, -1.0, name="centre")(images)
    x = _convolution(x, 64, 3 if small else 11, "conv1", stride=2 if small else 4)
    x = _pool(x, small, "pool1")
    x = _convolution(x, 192, 3 if small else 5, "conv2")
    x = _pool(x, small, "pool2")
    x = _convolution(x, 384, 3, "conv3")
    x = _convolution(x, 256, 3, "conv4")
    x = _convolution(x, 256, 3, "conv5")
    x = layers.Flatten(name="flatten")(_pool(x, small, "pool5"))
    for name in ("fc6", "fc7"):
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
        x = layers.Dense(
            1024 if small else 4096,
            activation="relu",
            kernel_initializer="he_normal",
            name=name,
        )(x)
    return keras.Model(
        images, layers.Dense(num_classes, name="logits")(x), name="alexnet"
    )


def _convolution(
    x: keras.KerasTensor, channels: int, kernel: int, name: str, stride: int = 1
) -> keras.KerasTensor:
    return layers.Conv2D(
        channels,
        kernel,
        stride,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _pool(x: keras.KerasTensor, small: bool, name: str) -> keras.KerasTensor:
    return layers.MaxPooling2D(2 if small else 3, 2, name=name)(x)
