"""Residual networks (He et al. 2016, arXiv:1512.03385) for images in [0, 1].

    model = resnet50((32, 32, 3), 10)
    logits = model(images)            # float32 [batch, 10]

`resnet50` is the network of "Noise in the Network": the ImageNet stem (7x7
convolution of stride 2 and a max-pool) on whatever size the images have, so a
32x32 image reaches the last stage as a single pixel. `resnet50_cifar` keeps the
resolution in the stem instead, and `small_resnet` is what a CPU trains in minutes.
"""

from collections.abc import Sequence

import keras
from keras import layers

from tf_advdefense.models.residual import BN_MOMENTUM
from tf_advdefense.models.residual import basic
from tf_advdefense.models.residual import bottleneck
from tf_advdefense.models.residual import centre
from tf_advdefense.models.residual import preactivated
from tf_advdefense.models.residual import residual_network
from tf_advdefense.models.sizes import check_depth
from tf_advdefense.models.sizes import check_width


def resnet50(image_shape: Sequence[int], num_classes: int) -> keras.Model:
    """`keras.applications.ResNet50` from scratch, with an initialisation that trains.

    Args:
      image_shape: (height, width, channels).
      num_classes: number of logits.

    Returns:
      A `keras.Model` from images in [0, 1] to logits.

    Deviations from keras.applications: images are scaled to [-1, 1] inside (as
    the paper's are); He-normal kernels, BatchNorm momentum 0.9, and the last
    BatchNorm of each residual block starts at zero (Goyal et al. 2017,
    arXiv:1706.02677, section 5.1), without which training from scratch starts
    near divergence. The stride lies in a block's first 1x1 convolution.
    """
    images = keras.Input(image_shape, name="images")
    model = keras.applications.ResNet50(
        weights=None,
        input_tensor=centre(images),
        classes=num_classes,
        classifier_activation=None,
    )
    return keras.models.clone_model(model, clone_function=_trainable_from_scratch)


def _trainable_from_scratch(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    if isinstance(layer, layers.Conv2D):
        config["kernel_initializer"] = "he_normal"
    elif isinstance(layer, layers.BatchNormalization):
        config["momentum"] = BN_MOMENTUM
        if layer.name.endswith("_3_bn"):
            config["gamma_initializer"] = "zeros"
    return type(layer).from_config(config)


def resnet50_cifar(
    image_shape: Sequence[int], num_classes: int, activation: str = "relu"
) -> keras.Model:
    """ResNet50 with a 3x3 stride-1 stem and no max-pool, for small images.

    The four stages see 32, 16, 8 and 4 pixels of a 32x32 image. Strides lie in the
    3x3 convolutions ("v1.5"). Arguments and result as `resnet50`; `activation` is a
    name of `keras.activations`: smooth ones such as silu help adversarial training
    (Xie et al. 2020, arXiv:2006.14536).
    """
    return residual_network(
        image_shape,
        num_classes,
        stem=64,
        block=bottleneck,
        stages=((64, 3), (128, 4), (256, 6), (512, 3)),
        activation=activation,
        name="resnet50_cifar",
    )


def small_resnet(
    image_shape: Sequence[int],
    num_classes: int,
    width: int = 32,
    depth: int = 1,
    activation: str = "relu",
    preactivation: bool = False,
) -> keras.Model:
    """Stages of `width`, 2 and 4 times `width` channels: what a CPU trains in minutes.

    309,994 parameters at width 32, depth 1 and 10 classes.

    Args:
      image_shape, num_classes: as of `resnet50`.
      width: channels of the first stage.
      depth: basic blocks in each stage; the network has 6 depth + 2 layers.
      activation: as of `resnet50_cifar`.
      preactivation: see `residual.preactivated`.
    """
    check_width(width)
    check_depth(depth)
    return residual_network(
        image_shape,
        num_classes,
        stem=width,
        block=preactivated if preactivation else basic,
        stages=((width, depth), (2 * width, depth), (4 * width, depth)),
        activation=activation,
        name="small_resnet",
    )
