"""What `fit` is given, as the batches that defences take.

batch = as_batch((images, labels))         # {"image", "label"}
images, labels = first(dataset, 512)       # arrays
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense import distribution
from tf_advdefense.models.input_range import UNIT


def as_batch(
    data: Any, step: Any = None, input_range: tuple[float, float] = UNIT
) -> dict[str, tf.Tensor]:
    """A batch as a dict of `image`, `label` and, where given, `weight` and `draw`.

    Args:
      data: such a dict, which is returned as it is, or (x, y) or (x, y,
        sample_weight): images float `[n, height, width, channels]`, or uint8, and
        labels: classes `[n]` or `[n, 1]`, or their shares `[n, classes]`, such as
        one-hot ones, which the batch also holds as `target`, float32.
      step: None, or the number of updates so far: with it, the images of an (x, y) get
        numbers for random draws, `draw`, int64 `[n]`, that differ from step to step.
      input_range: (low, high) of float images; those of the batch are in [0, 1].

    Raises:
      ValueError: in one line, where labels are missing or no class numbers.
    """
    images, labels, weight = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(images, dict):
        return images
    if labels is None or labels.shape.rank > 2:
        raise ValueError(
            "`y` must hold a class number per image, or a row of classes' shares. "
            f"Received: {'none' if labels is None else f'shape {tuple(labels.shape)}'}."
        )
    batch = {"image": _unit(images, input_range), **_labels(labels)}
    if weight is not None:
        batch["weight"] = tf.cast(tf.reshape(weight, [-1]), tf.float32)
    if step is not None:
        numbers = distribution.positions(tf.shape(labels, out_type=tf.int64)[0])
        batch["draw"] = tf.cast(tf.convert_to_tensor(step), tf.int64) * 2**32 + numbers
    return batch


def _unit(images, input_range):
    """float32 images in [0, 1]."""
    low, high = (0, 255) if images.dtype == tf.uint8 else input_range
    images = tf.cast(images, tf.float32)
    return images if (low, high) == UNIT else (images - low) / (high - low)


def _labels(labels):
    """Classes, int64 [n], and what else they were given as."""
    if labels.shape.rank == 2 and labels.shape[-1] != 1:
        shares = tf.cast(labels, tf.float32)
        return {"label": tf.argmax(shares, axis=-1), "target": shares}
    return {"label": tf.cast(tf.reshape(labels, [-1]), tf.int64)}


def count(x: Any, settings: dict[str, Any]) -> int:
    """The batches in an epoch of `fit(x, **settings)`.

    Raises:
      ValueError: in one line, where that is not known beforehand.
    """
    if settings.get("steps_per_epoch"):
        return settings["steps_per_epoch"]
    if isinstance(x, np.ndarray | tf.Tensor):
        return -(-len(x) // (settings.get("batch_size") or 32))
    try:
        return len(x)
    except TypeError:
        raise ValueError(
            "The schedule needs the number of batches in an epoch. Received: a dataset "
            "of unknown length. Give `steps_per_epoch`, or an `optimizer`."
        ) from None


def first(
    data: Any, number: int, input_range: tuple[float, float] = UNIT
) -> tuple[np.ndarray, np.ndarray]:
    """The first `number` images (all, if fewer), in [0, 1], and labels, int `[n]`.

    Args:
      data: a tuple of arrays, or an iterable of batches as of `as_batch`.
      number: how many.
      input_range: of float images.
    """
    if isinstance(data, tuple | list):
        data = [tuple(map(tf.convert_to_tensor, (each[:number] for each in data[:2])))]
    images, labels, found = [], [], 0
    for each in data:
        batch = as_batch(each, input_range=input_range)
        images.append(np.asarray(batch["image"]))
        labels.append(np.asarray(batch["label"]))
        found += len(labels[-1])
        if found >= number:
            break
    return np.concatenate(images)[:number], np.concatenate(labels)[:number]
