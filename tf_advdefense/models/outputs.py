"""What a model returns: which of its outputs are the logits, and what else they may be.

    one_output({"logits": z, "features": f})          # z
    two_logits(z)                                     # [-z/2, z/2] of one logit
    kind_of(model(images), precision=1e-7)            # "logits", "probabilities", ...

Everything here takes tensors of TensorFlow and of Keras' graphs alike, but for
`kind_of`, which looks at values.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

# Kinds of values that can be turned into logits, to the activation that made them.
INVERTIBLE = {"probabilities": "softmax", "sigmoids": "sigmoid", "tanh": "tanh"}
_SATURATED = 0.99  # A tanh over many values comes this close to 1.
_EXACT_ZEROS = 0.02  # A share of them that a sigmoid hardly has, and a ReLU does.


def one_output(outputs: Any) -> Any:
    """The tensor of logits among what a model returns.

    Args:
      outputs: a tensor, or a list or dict of them: then the only one, the one named
        `logits`, or the only floating one of a dict.

    Raises:
      ValueError: there are several, or it is not floating.
    """
    found = outputs
    if isinstance(outputs, dict):
        floating = [each for each in outputs.values() if _is_floating(each)]
        if "logits" in outputs:
            found = outputs["logits"]
        elif len(floating) == 1:
            found = floating[0]
        elif len(outputs) == 1:
            (found,) = outputs.values()
    elif isinstance(outputs, (list, tuple)) and len(outputs) == 1:
        (found,) = outputs
    if isinstance(found, (dict, list, tuple)):
        raise ValueError(
            "A classifier must have one output, or one named `logits`. Received: "
            f"{_listed(found)}. Take it out: keras.Model(model.input, OUTPUT)."
        )
    if not _is_floating(found):
        raise ValueError(
            "Logits must be floating-point numbers. Received: "
            f"{tf.as_dtype(found.dtype).name}, such as class indices or names. Save "
            "the model up to its logits."
        )
    return found


def _is_floating(tensor):
    return hasattr(tensor, "dtype") and tf.as_dtype(tensor.dtype).is_floating


def _listed(outputs):
    if isinstance(outputs, dict):
        return f"{len(outputs)} outputs, {', '.join(sorted(map(str, outputs)))}"
    return f"{len(outputs)} outputs"


def two_logits(logits: Any) -> Any:
    """Of one logit per image, `[n, 1]`, those of two classes, `[n, 2]`; else itself.

    Either class gets half, so that a gradient of one logit alone is none of zeros.
    """
    if len(logits.shape) != 2 or logits.shape[1] != 1:
        return logits
    return keras.ops.concatenate([-0.5 * logits, 0.5 * logits], axis=1)


def kind_of(outputs: np.ndarray, precision: float) -> str:
    """What the values of `outputs` look like.

    Args:
      outputs: float `[n, classes]`, of many images.
      precision: the relative precision of the numbers that they were computed in.

    Returns:
      "probabilities", "sigmoids" (one per class, or the only one of a binary model),
      "tanh", "one-sided" (such as those of a ReLU), or "logits", which is the rest.
    """
    values = np.asarray(outputs, np.float32)
    low, high = values.min(initial=0), values.max(initial=0)
    if low >= 0 and high <= 1 + precision:
        if values.shape[1] == 1:
            return "sigmoids"
        if np.allclose(values.sum(axis=1), 1, rtol=0, atol=1e-5 + precision):
            return "probabilities"
        return "sigmoids" if np.mean(values == 0) < _EXACT_ZEROS else "one-sided"
    if low >= 0:
        return "one-sided"
    bounded = low >= -1 and high <= 1
    return "tanh" if bounded and max(-low, high) > _SATURATED else "logits"


def one_logit(logits: np.ndarray) -> np.ndarray:
    """The one logit per image that `two_logits` made two of; of others, themselves."""
    twins = logits.shape[1] == 2 and np.array_equal(logits[:, 0], -logits[:, 1])
    return 2 * logits[:, 1:] if twins else logits


@keras.saving.register_keras_serializable("tf_advdefense")
class Inverse(keras.layers.Layer):
    """Logits from what an activation made of them, in float32.

    Attributes:
      activation: "softmax" (the logarithm), "sigmoid" or "tanh". Values that were
        rounded to the end of its range are taken for the last ones before it.
    """

    def __init__(self, activation: str, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.activation = activation

    def call(self, inputs: Any) -> Any:
        values = tf.cast(inputs, tf.float32)
        tiny, last = np.finfo(np.float32).tiny, np.float32(1 - 2**-24)
        if self.activation == "softmax":
            return tf.math.log(tf.maximum(values, tiny))
        if self.activation == "tanh":
            return tf.math.atanh(tf.clip_by_value(values, -last, last))
        values = tf.clip_by_value(values, tiny, last)
        return tf.math.log(values) - tf.math.log1p(-values)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": self.activation}
