"""What all input transformations are: a Keras layer from images to images.

    transformed = BitDepth(bits=3)(images)

A transformation declares

    differentiable  its own gradient is of use; otherwise an attack gets the backward
                    pass differentiable approximation (BPDA, Athalye et al. 2018,
                    arXiv:1802.00420, section 4.1): the gradient of the identity, or
                    of the layer's `surrogate`, a smooth function from images to images
    random          it draws; attacks then take the expectation, see `transformed`
    draws           whose mean the defence itself takes at inference

and draws by row: from a key per image, never from a generator. Without keys, an image's
own values and a seed are its key: an image is transformed alike in any batch, at any
place in it, and the next image that an attack tries otherwise.
"""

import inspect
import math
import numbers
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.registry import nearest


class Transform(keras.layers.Layer):
    """Images float32 `[n, height, width, channels]` in [0, 1] to such of equal shape.

    A transformation implements `transform(images, keys)`; the keyword-only arguments of
    its `__init__`, whose defaults are numbers, are its parameters, and its attributes.
    """

    differentiable = False
    random = False
    draws = 1
    surrogate = None
    adapted = True

    def __init__(self, **kwargs):
        super().__init__(dtype="float32", **kwargs)

    def transform(self, images: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """The images, transformed; draws depend on the keys, int64 `[n]`, alone."""
        raise NotImplementedError

    def call(self, images: tf.Tensor, keys: tf.Tensor | None = None) -> tf.Tensor:
        keys = image_keys(images) if keys is None else keys
        value = self.transform(images, keys)
        if self.differentiable:
            return value
        return straight_through(value, (self.surrogate or tf.identity)(images))

    def adapt(self, images: np.ndarray, seed: int = 0) -> None:
        """Takes what it needs from clean training images, where `adapted` is False."""

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {"name": self.name, **self.parameters}

    @property
    def parameters(self) -> dict[str, int | float]:
        """Its parameters and their values, as a dict."""
        return {name: getattr(self, name) for name in parameters(type(self))}


def parameters(transform: type) -> dict[str, int | float]:
    """The names of a transformation's parameters and their defaults, as a dict."""
    found = inspect.signature(transform.__init__).parameters.values()
    return {p.name: p.default for p in found if p.kind is p.KEYWORD_ONLY}


def straight_through(value: tf.Tensor, path: tf.Tensor) -> tf.Tensor:
    """`value`, bit for bit, with the gradient of `path`.

    Plain operations, and not a custom gradient: these a SavedModel keeps anyway.
    """
    return tf.stop_gradient(value) + (path - tf.stop_gradient(path))


def image_keys(images: tf.Tensor, seed: int = 0) -> tf.Tensor:
    """A key per image, int64 `[n]`, from nothing but its values and a seed."""
    size = math.prod(images.shape[1:])
    bits = tf.bitcast(tf.reshape(images, [-1, size]), tf.int32)
    return row_keys(seed, tf.reduce_sum(row_keys(bits, range(size)), axis=1))


def check_parameters(name: str, transform: type, values: dict[str, Any]) -> None:
    """Raises ValueError, in one line, for a parameter that is unknown or no number."""
    known = parameters(transform)
    for key, value in values.items():
        if key not in known:
            raise ValueError(
                f"Transformation {name!r} has no parameter {key!r}. "
                f"{nearest(key, known)}Known: {', '.join(known)}."
            )
        whole = isinstance(known[key], int)
        kind = numbers.Integral if whole else numbers.Real
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(
                f"`{key}` of {name!r} must be a {'whole ' * whole}number like its "
                f"default, {known[key]}. Received: {key}={value!r}."
            )


def check_range(received: str, low: float, high: float, **named: float) -> None:
    """Raises ValueError, in one line, unless low <= value <= high."""
    for name, value in named.items():
        if not low <= value <= high:
            raise ValueError(
                f"`{name}` of {received!r} must be in [{low}, {high}]. "
                f"Received: {name}={value}."
            )
