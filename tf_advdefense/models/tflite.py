"""Deployed models: TensorFlow Lite files as Keras models without a gradient.

    model = load_tflite("model.tflite")    # images in the model's range to its outputs
    is_deployed(model)                     # True

`interpreter` runs the file; what else a classifier needs, `foreign.adapt` sees to.
"""

from collections.abc import Sequence
import os
import pathlib
from typing import Any

import keras
import tensorflow as tf

from tf_advdefense.models.interpreter import Interpreted

SUFFIX = ".tflite"


def load_tflite(path: str | os.PathLike[str]) -> keras.Model:
    """A TensorFlow Lite classifier as a functional Keras model of one layer.

    Args:
      path: of the file, float or quantised in any way.

    Raises:
      OSError: it cannot be read.
      ValueError: in one line, as `interpreter.Interpreted`.
    """
    interpreted = Interpreted(pathlib.Path(path).read_bytes(), str(path))
    images = keras.Input(interpreted.image_shape, name="images")
    return keras.Model(images, Deployed(interpreted)(images), name="tflite")


def is_deployed(model: Any) -> bool:
    """Whether a Keras model is one of a TensorFlow Lite file, so without a gradient."""
    layers = model._flatten_layers() if isinstance(model, keras.Model) else ()
    return any(isinstance(layer, Deployed) for layer in layers)


class Deployed(keras.layers.Layer):
    """A TensorFlow Lite model as a layer, in compiled functions, too.

    Attributes:
      interpreted: what computes.
      ends_with: the activation that ends the model, or None; see `heads`.
    """

    def __init__(self, interpreted: Interpreted):
        super().__init__(name="tflite", dtype="float32", trainable=False)
        self.interpreted = interpreted
        self.ends_with = interpreted.activation

    def call(self, images: Any) -> Any:
        found = tf.numpy_function(self.interpreted, [images], tf.float32)
        return tf.ensure_shape(found, [images.shape[0], self.interpreted.width])

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple:
        return input_shape[0], self.interpreted.width

    def get_config(self) -> dict[str, Any]:
        # With the hash of the file, `artifacts.identity` knows the model by it.
        return {**super().get_config(), "sha256": self.interpreted.sha256}
