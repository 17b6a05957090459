"""Residual networks from their blocks: stem, stages, global average, logits.

    model = residual_network(shape, 10, stem=64, block=bottleneck,
                             stages=((64, 3), (128, 4), (256, 6), (512, 3)))

`basic` and `bottleneck` end with the activation (He et al. 2016a, arXiv:1512.03385);
in `preactivated` blocks normalisation and activation come before each convolution, and
nothing but the sum lies between one block and the next (2016b, arXiv:1603.05027).
"""

from collections.abc import Callable
from collections.abc import Sequence

import keras
from keras import layers

# BatchNorm's running statistics must follow the weights within a short
# training: Keras' default of 0.99 leaves them hundreds of steps behind.
BN_MOMENTUM = 0.9
# oneDNN corrupts memory in the filter gradient of 1x1 convolutions of stride 2 with
# fewer input channels: there the stride comes first, by a pool of single pixels.
_ONEDNN_FROM = 16

# block(x, channels, stride, activation, name)
Block = Callable[[keras.KerasTensor, int, int, str, str], keras.KerasTensor]


def residual_network(
    image_shape: Sequence[int],
    num_classes: int,
    *,
    stem: int,
    block: Block,
    stages: Sequence[tuple[int, int]],
    activation: str = "relu",
    name: str,
) -> keras.Model:
    """A network whose resolution is that of the images, halved from stage to stage.

    Args:
      image_shape: (height, width, channels) of images in [0, 1].
      num_classes: number of logits.
      stem: channels of the first 3x3 convolution.
      block: `basic`, `bottleneck` or `preactivated`.
      stages: (channels, number of blocks) of each.
      activation: a name of `keras.activations`.
      name: of the model.
    """
    _check_activation(activation)
    images = keras.Input(image_shape, name="images")
    x = _conv(centre(images), stem, 3, name="stem")
    if block is not preactivated:
        x = _bn_act(x, activation, "stem")
    for stage, (channels, depth) in enumerate(stages, start=1):
        for index in range(1, depth + 1):
            stride = 2 if stage > 1 and index == 1 else 1
            x = block(x, channels, stride, activation, f"stage{stage}_block{index}")
    if block is preactivated:
        x = _bn_act(x, activation, "last")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, layers.Dense(num_classes, name="logits")(x), name=name)


def basic(
    x: keras.KerasTensor, channels: int, stride: int, activation: str, name: str
) -> keras.KerasTensor:
    """Two 3x3 convolutions and the shortcut."""
    y = _conv(x, channels, 3, stride, name=f"{name}_conv1")
    y = _bn_act(y, activation, f"{name}_conv1")
    y = _conv(y, channels, 3, name=f"{name}_conv2")
    y = _bn(y, f"{name}_conv2", zero_gamma=True)
    return _added(x, y, stride, activation, name)


def bottleneck(
    x: keras.KerasTensor, channels: int, stride: int, activation: str, name: str
) -> keras.KerasTensor:
    """1x1, 3x3 (with the stride), 1x1 to four times the channels, and the shortcut."""
    y = _bn_act(
        _conv(x, channels, 1, name=f"{name}_conv1"), activation, f"{name}_conv1"
    )
    y = _conv(y, channels, 3, stride, name=f"{name}_conv2")
    y = _bn_act(y, activation, f"{name}_conv2")
    y = _conv(y, 4 * channels, 1, name=f"{name}_conv3")
    y = _bn(y, f"{name}_conv3", zero_gamma=True)
    return _added(x, y, stride, activation, name)


def preactivated(
    x: keras.KerasTensor, channels: int, stride: int, activation: str, name: str
) -> keras.KerasTensor:
    """Normalised and activated before both 3x3 convolutions; a shortcut of the same."""
    y = _bn_act(x, activation, f"{name}_1")
    if stride != 1 or x.shape[-1] != channels:
        x = _shortcut(y, channels, stride, name)
    y = _conv(y, channels, 3, stride, name=f"{name}_conv1")
    y = _conv(_bn_act(y, activation, f"{name}_2"), channels, 3, name=f"{name}_conv2")
    return layers.Add(name=f"{name}_add")([x, y])


def centre(images: keras.KerasTensor) -> keras.KerasTensor:
    """[0, 1] to [-1, 1], inside the model, so that eps keeps its meaning outside."""
    return layers.Rescaling(2.0, -1.0, name="centre")(images)


def _added(x, y, stride, activation, name):
    if stride != 1 or x.shape[-1] != y.shape[-1]:
        x = _bn(_shortcut(x, y.shape[-1], stride, name), f"{name}_shortcut")
    y = layers.Add(name=f"{name}_add")([x, y])
    return layers.Activation(activation, name=f"{name}_act")(y)


def _shortcut(x, channels, stride, name):
    if stride != 1 and x.shape[-1] < _ONEDNN_FROM:
        x = layers.MaxPooling2D(1, stride, name=f"{name}_stride")(x)
        stride = 1
    return _conv(x, channels, 1, stride, name=f"{name}_shortcut")


def _conv(x, channels, kernel, stride=1, *, name):
    return layers.Conv2D(
        channels,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _bn(x, name, zero_gamma=False):
    return layers.BatchNormalization(
        momentum=BN_MOMENTUM,
        epsilon=1e-5,
        gamma_initializer="zeros" if zero_gamma else "ones",
        name=f"{name}_bn",
    )(x)


def _bn_act(x, activation, name):
    return layers.Activation(activation, name=f"{name}_act")(_bn(x, name))


def _check_activation(name):
    try:
        keras.activations.get(name)
    except ValueError:
        raise ValueError(
            "`activation` must be a name of `keras.activations`, such as relu or silu. "
            f"Received: activation={name}."
        ) from None
