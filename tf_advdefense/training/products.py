"""Convolutions computed as matrix products, for the gradients of their kernels.

    with as_products(model):
        loss = ...                      # traced or run with products
    gradients = tape.gradient(loss, model.trainable_variables)

On a CPU, oneDNN computes the kernel gradient of 1x1 convolutions, and of any on images
of one or two pixels a side, at a tenth to a quarter of the speed of the equal matrix
product. The paper's ResNet50 consists of them: at 32x32 its last two stages see two
pixels and one, and two thirds of its convolutions are 1x1 (times: `docs/speed.md`).

Only what is computed inside the block changes, and only in rounding: layers, weights
and whatever is saved or exported stay what they were.
"""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense.training.overrides import overridden

# Above these many pixels a side nothing is gained: there oneDNN keeps up, and a product
# of whole images multiplies more zeros than the convolution has padding.
_POINTWISE_SIDE = 8
_WHOLE_SIDE = 2
# With fewer input channels oneDNN crashes in the kernel gradient of strided 1x1
# convolutions of large images, 4 on 224x224, say. A slice and a product do not.
_SAFE_CHANNELS = 16


def as_products(model: keras.Model) -> contextlib.AbstractContextManager[None]:
    """Have the convolutions of `model` computed as products where that is faster.

    Nothing changes where there is a GPU.

    Args:
      model: whose `keras.layers.Conv2D`, nested ones included, are meant.
    """
    layers = [] if tf.config.list_physical_devices("GPU") else _convolutions(model)
    # Keras' own hook for another way to convolve.
    return overridden(layers, "convolution_op", _convolve)


def _convolutions(model):
    return [
        layer
        for layer in model._flatten_layers()
        if type(layer) is keras.layers.Conv2D
        and layer.data_format == "channels_last"
        and layer.groups == 1
        and tuple(layer.dilation_rate) == (1, 1)
    ]


def _convolve(layer, images, kernel):
    """`layer.convolution_op(images, kernel)`, by the product that fits."""
    side = max(size or np.inf for size in images.shape[1:3])
    strides = tuple(layer.strides)
    if tuple(layer.kernel_size) == (1, 1):
        crashes = strides != (1, 1) and images.shape[-1] < _SAFE_CHANNELS
        if side <= _POINTWISE_SIDE or crashes:
            return _pointwise(images, kernel, strides)
    if strides == (1, 1) and layer.padding == "same" and side <= _WHOLE_SIDE:
        return _of_whole_images(images, kernel)
    return type(layer).convolution_op(layer, images, kernel)


def _pointwise(images, kernel, strides):
    """A 1x1 convolution: one product over the channels of all pixels."""
    if strides != (1, 1):
        images = images[:, :: strides[0], :: strides[1]]
    channels, filters = kernel.shape[2:]
    kernel = tf.reshape(kernel, [channels, filters])
    results = tf.reshape(images, [-1, channels]) @ kernel
    return tf.reshape(results, [*tf.unstack(tf.shape(images)[:3]), filters])


def _of_whole_images(images, kernel):
    """A padded convolution of small images: one product over their pixels' channels."""
    height, width, channels = images.shape[1:]
    filters = kernel.shape[-1]
    pixels = height * width
    taps = tf.constant(_taps(height, width, *kernel.shape[:2]), kernel.dtype)
    kernel = tf.reshape(kernel, [-1, channels, filters])
    matrix = tf.reshape(
        tf.einsum("pqt,tcf->pcqf", taps, kernel), [pixels * channels, pixels * filters]
    )
    results = tf.reshape(images, [-1, pixels * channels]) @ matrix
    return tf.reshape(results, [-1, height, width, filters])


def _taps(height, width, rows, columns):
    """1 where pixel p of the input reaches pixel q of the output through tap t."""
    taps = np.zeros((height, width, height, width, rows, columns))
    for p in np.ndindex(height, width):
        for q in np.ndindex(height, width):
            # Tap 0 sees the pixel so far up and left as Keras pads there.
            row = p[0] - q[0] + (rows - 1) // 2
            column = p[1] - q[1] + (columns - 1) // 2
            if 0 <= row < rows and 0 <= column < columns:
                taps[p + q + (row, column)] = 1
    return taps.reshape(height * width, height * width, rows * columns)
