"""What `fit` is given, as the batches that defences take.

batch = as_batch((images, labels))         # {"image", "label"}
images, labels = first(dataset, 512)       # arrays
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf


def as_batch(data: Any, step: Any = None) -> dict[str, tf.Tensor]:
    """A batch as a dict of `image`, `label` and, where given, `weight` and `draw`.

    Args:
      data: such a dict, which is returned as it is, or (x, y) or (x, y,
        sample_weight): images float `[n, height, width, channels]` in [0, 1], or uint8,
        and labels int `[n]` or `[n, 1]`.
      step: None, or the number of updates so far: with it, the images of an (x, y) get
        numbers for random draws, `draw`, int64 `[n]`, that differ from step to step.

    Raises:
      ValueError: in one line, where labels are missing or no class numbers.
    """
    images, labels, weight = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(images, dict):
        return images
    rank = None if labels is None else labels.shape.rank
    if labels is None or rank > 1 and labels.shape[-1] != 1:
        raise ValueError(
            "`y` must hold one class number per image. Received: "
            f"{'none' if labels is None else f'shape {tuple(labels.shape)}'}."
        )
    if images.dtype == tf.uint8:
        images = tf.cast(images, tf.float32) / 255.0
    labels = tf.cast(tf.reshape(labels, [-1]), tf.int64)
    batch = {"image": tf.cast(images, tf.float32), "label": labels}
    if weight is not None:
        batch["weight"] = tf.cast(tf.reshape(weight, [-1]), tf.float32)
    if step is not None:
        numbers = tf.range(tf.shape(labels, out_type=tf.int64)[0])
        batch["draw"] = tf.cast(tf.convert_to_tensor(step), tf.int64) * 2**32 + numbers
    return batch


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


def first(data: Any, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `number` images (all, if fewer) and labels of validation data.

    Args:
      data: a pair of arrays, or an iterable of batches as of `as_batch`.
    """
    if isinstance(data, tuple | list):
        images, labels = data[:2]
        return np.asarray(images[:number]), np.ravel(labels[:number])
    images, labels, found = [], [], 0
    for each in data:
        batch = as_batch(each)
        images.append(np.asarray(batch["image"]))
        labels.append(np.asarray(batch["label"]))
        found += len(labels[-1])
        if found >= number:
            break
    return np.concatenate(images)[:number], np.concatenate(labels)[:number]
