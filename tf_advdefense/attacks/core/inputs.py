"""The arguments that all attacks share, checked: images, labels, indices, bounds."""

from typing import Any
import warnings

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core.gradient_check import check_gradient
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.model_fn import compiled_logits
from tf_advdefense.attacks.core.model_fn import num_classes
from tf_advdefense.attacks.core.model_fn import predict
from tf_advdefense.models.heads import shows_logits
from tf_advdefense.models.outputs import kind_of
from tf_advdefense.models.outputs import one_logit

_ENOUGH = 8  # Images, whose outputs are not all in a range by chance.
_LOOKS = {
    "probabilities": "probabilities",
    "sigmoids": "probabilities of one class each",
    "tanh": "those of a tanh",
    "one-sided": "those of a ReLU",
}


def check_inputs(
    model_fn: ModelFn, x: Any, y: Any, task: Any, index: Any, access: str = "gradients"
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Checked `(images float32, labels int64, indices int64)`; y None is predicted.

    Args:
      model_fn: of `inference`.
      x, y, index: images, labels and indices, or None for the latter two, as `Attack`
        takes them.
      task: an `attack.Task`.
      access: what is read off the model, as of `Attack`: "gradients", which its
        logits must then have, "scores", which must then be logits, or "decisions".

    Raises:
      ValueError: in one line, also at tracing. The images' values can only be
        checked eagerly.
    """
    x = tf.stop_gradient(tf.cast(x, tf.float32))
    _check_range(x, task.clip_min, task.clip_max)
    if y is None and task.targeted:
        raise ValueError(
            "A targeted attack needs `y`, the target classes. Received: y=None."
        )
    y = predict(model_fn, x) if y is None else _classes(model_fn, y, x)
    unseen = tf.executing_eagerly() and not model_fn.looked_at and len(x)
    if unseen and access != "decisions":
        model_fn.looked_at = True
        _warn_unless_logits(model_fn, x)
    index = tf.range(tf.shape(x)[0]) if index is None else _per_image("index", index, x)
    if access == "gradients":
        for member in model_fn.members:  # of a mean, one gradient would suffice
            check_gradient(member, x, y, task.targeted)
    return x, y, tf.cast(index, tf.int64)


def _warn_unless_logits(model_fn, x):
    """What looks like no logits makes attacks weak, without a word of theirs."""
    if shows_logits(model_fn.model):
        return
    values = one_logit(compiled_logits(model_fn, x).numpy())
    kind = kind_of(values, precision=1e-3)
    if kind == "logits" or (kind != "probabilities" and len(x) < _ENOUGH):
        return
    warnings.warn(
        f"The model's outputs look like {_LOOKS[kind]}, not logits, and attacks on "
        "them are weak. Give `tf_advdefense.adapt(model, images, labels).model`, or "
        "the model up to its logits.",
        stacklevel=4,
    )


def _check_range(x, clip_min, clip_max):
    if not clip_min < clip_max:
        raise ValueError(
            "`clip_min` must be below `clip_max`. "
            f"Received: clip_min={clip_min}, clip_max={clip_max}."
        )
    if not tf.executing_eagerly() or not tf.size(x):
        return
    known = tf.boolean_mask(x, ~tf.math.is_nan(x))  # a row of NaN spoils no other
    if not tf.size(known):
        return
    low, high = known.numpy().min(), known.numpy().max()
    if low < np.float32(clip_min) or high > np.float32(clip_max):
        raise ValueError(
            f"Images must lie in [{clip_min}, {clip_max}]. Received: values in "
            f"[{low:.9g}, {high:.9g}]. Divide 8-bit images by 255, and clip what "
            "rounding adds."
        )


def _classes(model_fn, y, x):
    y = _per_image("y", y, x)
    if not tf.executing_eagerly() or not tf.size(y):
        return y
    count = num_classes(model_fn, x)
    low, high = int(tf.reduce_min(y)), int(tf.reduce_max(y))
    if low < 0 or high >= count:
        raise ValueError(
            f"`y` must hold classes from 0 to {count - 1}. Received: values from {low} "
            f"to {high}."
        )
    return y


def _per_image(name, values, x):
    values = tf.convert_to_tensor(values)
    if not values.dtype.is_integer or not values.shape.is_compatible_with(x.shape[:1]):
        raise ValueError(
            f"`{name}` must hold one integer per image. Received: {values.dtype.name} "
            f"of shape {values.shape} for images of shape {x.shape}."
        )
    return tf.cast(values, tf.int64)
