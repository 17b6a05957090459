"""Residual networks (He et al. 2016, arXiv:1512.03385) for images in [0, 1].

    model = resnet50((32, 32, 3), 10)
    logits = model(images)            # float32 [batch, 10]

`resnet50` is the network of "Noise in the Network": the ImageNet stem (7x7
convolution of stride 2 and a max-pool) on whatever size the images have, so a
32x32 image reaches the last stage as a single pixel. `resnet50_cifar` keeps the
resolution in the stem instead, and `small_resnet` is what a CPU trains in minutes.
"""

from collections.abc import Callable
from collections.abc import Sequence

import keras
from keras import layers

from tf_advdefense.models.sizes import check_width

# BatchNorm's running statistics must follow the weights within a short
# training: Keras' default of 0.99 leaves them hundreds of steps behind.
_BN_MOMENTUM = 0.9
# oneDNN corrupts memory in the filter gradient of 1x1 convolutions of stride 2 with
# fewer input channels: there the stride comes first, by a pool of single pixels.
_ONEDNN_FROM = 16


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
        input_tensor=_centre(images),
        classes=num_classes,
        classifier_activation=None,
    )
    return keras.models.clone_model(model, clone_function=_trainable_from_scratch)


def _trainable_from_scratch(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    if isinstance(layer, layers.Conv2D):
        config["kernel_initializer"] = "he_normal"
    elif isinstance(layer, layers.BatchNormalization):
        config["momentum"] = _BN_MOMENTUM
        if layer.name.endswith("_3_bn"):
            config["gamma_initializer"] = "zeros"
    return type(layer).from_config(config)


def resnet50_cifar(image_shape: Sequence[int], num_classes: int) -> keras.Model:
    """ResNet50 with a 3x3 stride-1 stem and no max-pool, for small images.

    The four stages see 32, 16, 8 and 4 pixels of a 32x32 image. Strides lie in the
    3x3 convolutions ("v1.5"). Arguments and result as `resnet50`.
    """
    return _residual_network(
        image_shape,
        num_classes,
        stem=64,
        block=_bottleneck,
        stages=((64, 3), (128, 4), (256, 6), (512, 3)),
        name="resnet50_cifar",
    )


def small_resnet(
    image_shape: Sequence[int], num_classes: int, width: int = 32
) -> keras.Model:
    """One basic block at each of `width`, 2 and 4 times `width` channels.

    309,994 parameters at width 32 and 10 classes: a CPU trains it in minutes.
    Arguments and result as `resnet50`; `width` halves or doubles all channels.
    """
    check_width(width)
    return _residual_network(
        image_shape,
        num_classes,
        stem=width,
        block=_basic,
        stages=((width, 1), (2 * width, 1), (4 * width, 1)),
        name="small_resnet",
    )


def _residual_network(
    image_shape: Sequence[int],
    num_classes: int,
    stem: int,
    block: Callable,
    stages: Sequence[tuple[int, int]],
    name: str,
) -> keras.Model:
    """Stem, stages of (channels, blocks), global average, logits."""
    images = keras.Input(image_shape, name="images")
    x = _conv_bn(_centre(images), stem, 3, name="stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, (channels, depth) in enumerate(stages, start=1):
        for index in range(1, depth + 1):
            stride = 2 if stage > 1 and index == 1 else 1
            x = block(x, channels, stride, name=f"stage{stage}_block{index}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, layers.Dense(num_classes, name="logits")(x), name=name)


def _basic(
    x: keras.KerasTensor, channels: int, stride: int, name: str
) -> keras.KerasTensor:
    """Two 3x3 convolutions and the shortcut."""
    y = layers.ReLU(name=f"{name}_relu1")(
        _conv_bn(x, channels, 3, stride, name=f"{name}_conv1")
    )
    y = _conv_bn(y, channels, 3, zero_gamma=True, name=f"{name}_conv2")
    return _add_shortcut(x, y, stride, name)


def _bottleneck(
    x: keras.KerasTensor, channels: int, stride: int, name: str
) -> keras.KerasTensor:
    """1x1, 3x3 (with the stride), 1x1 to four times the channels, and the shortcut."""
    y = layers.ReLU(name=f"{name}_relu1")(
        _conv_bn(x, channels, 1, name=f"{name}_conv1")
    )
    y = layers.ReLU(name=f"{name}_relu2")(
        _conv_bn(y, channels, 3, stride, name=f"{name}_conv2")
    )
    y = _conv_bn(y, 4 * channels, 1, zero_gamma=True, name=f"{name}_conv3")
    return _add_shortcut(x, y, stride, name)


def _add_shortcut(
    x: keras.KerasTensor, y: keras.KerasTensor, stride: int, name: str
) -> keras.KerasTensor:
    if stride != 1 and x.shape[-1] < _ONEDNN_FROM:
        x = layers.MaxPooling2D(1, stride, name=f"{name}_stride")(x)
        stride = 1
    if stride != 1 or x.shape[-1] != y.shape[-1]:
        x = _conv_bn(x, y.shape[-1], 1, stride, name=f"{name}_shortcut")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def _conv_bn(
    x: keras.KerasTensor,
    channels: int,
    kernel: int,
    stride: int = 1,
    zero_gamma: bool = False,
    name: str | None = None,
) -> keras.KerasTensor:
    x = layers.Conv2D(
        channels,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return layers.BatchNormalization(
        momentum=_BN_MOMENTUM,
        epsilon=1e-5,
        gamma_initializer="zeros" if zero_gamma else "ones",
        name=f"{name}_bn",
    )(x)


def _centre(images: keras.KerasTensor) -> keras.KerasTensor:
    """[0, 1] to [-1, 1], inside the model, so that eps keeps its meaning outside."""
    return layers.Rescaling(2.0, -1.0, name="centre")(images)
