"""Images of one's own, as arrays or a `tf.data.Dataset`, as a data set to measure on.

data = from_arrays(images, labels)                       # test images only
data = from_arrays(dataset_of_x_and_y, class_names=("cat", "dog"))
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_advdefense.datasets.splits import Dataset
from tf_advdefense.datasets.splits import Split
from tf_advdefense.datasets.splits import fingerprint_of
from tf_advdefense.images import as_float

_HAIR = 1e-4  # What rounding may add to images in [0, 1].


def from_arrays(
    images: Any,
    labels: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    name: str = "arrays",
) -> Dataset:
    """A `Dataset` of test images, in the order in which they are given.

    Args:
      images: uint8 `[n, height, width, channels]`; or float, in [0, 1], in [0, 255] or,
        where some are negative, in [-1, 1]; `[n, height, width]` is grey. Or a
        `tf.data.Dataset` of (image, label), batched or not.
      labels: int `[n]` or `[n, 1]`, or one-hot `[n, classes]`.
      class_names: in the order of the labels; default: "0", "1", ...
      num_classes: how many there are; default: the largest label plus one.
      name: of the data set.

    Raises:
      ValueError: in one line, for other shapes, values or numbers of labels.
    """
    if isinstance(images, tf.data.Dataset):
        images, labels = _of_dataset(images)
    images, labels = in_unit_range(np.asarray(images)), classes_of(np.asarray(labels))
    if len(images) != len(labels) or not len(labels):
        raise ValueError(
            "`images` and `labels` must be as many, and not none. Received: "
            f"{len(images)} images and {len(labels)} labels."
        )
    most = max(int(labels.max()) + 1, num_classes or 0)
    names = tuple(class_names or map(str, range(most)))
    if labels.min() < 0 or labels.max() >= len(names):
        raise ValueError(
            f"`labels` must be classes from 0 to {len(names) - 1}. Received: "
            f"{labels.min()} to {labels.max()}."
        )
    test = Split(images, labels, np.arange(len(labels)))
    none = test.take(0)
    fingerprint = fingerprint_of(names, none, test)
    return Dataset(name, names, fingerprint, none, none, test)


def _of_dataset(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) < 2 or isinstance(spec[0], dict):
        raise ValueError(
            "A tf.data.Dataset must give (image, label). Received one of "
            f"{type(spec).__name__}; `map` it to pairs."
        )
    batched = len(spec[0].shape) == 4
    batches = dataset if batched else dataset.batch(256)
    parts = [(x, y) for x, y, *_ in batches.as_numpy_iterator()]
    if not parts:
        raise ValueError("A tf.data.Dataset must hold images. Received an empty one.")
    images, labels = (np.concatenate(part) for part in zip(*parts))
    return images, labels


def in_unit_range(images: np.ndarray) -> np.ndarray:
    """uint8 as they are, floats as float32 in [0, 1]."""
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.dtype.kind not in "fiu":
        raise ValueError(
            "`images` must be numbers [n, height, width, channels]. Received: "
            f"{images.dtype} of shape {images.shape}."
        )
    if images.dtype == np.uint8 or not len(images):
        return images
    low, high = float(images.min()), float(images.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("`images` must be finite. Received: NaN or infinite values.")
    if images.dtype.kind in "iu" and low >= 0 and high <= 255:
        return images.astype(np.uint8)
    for smallest, largest in ((0, 1), (-1, 1), (0, 255)):
        if low >= smallest - _HAIR and high <= largest + _HAIR:
            scaled = (as_float(images) - smallest) / np.float32(largest - smallest)
            return np.clip(scaled, 0, 1)
    raise ValueError(
        "`images` must lie in [0, 1], [0, 255] or [-1, 1]. Received: values from "
        f"{low:.4g} to {high:.4g}. Undo what was done to them (a mean subtracted?): "
        "the model's own preprocessing is `input_range` or `preprocess`."
    )


def classes_of(labels: np.ndarray) -> np.ndarray:
    """int64 [n], of one-hot rows the class."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        return np.argmax(labels, axis=1).astype(np.int64)
    flat = labels.reshape(-1) if labels.ndim == 2 else labels
    if flat.ndim != 1 or flat.dtype.kind not in "fiub" or np.any(flat != flat // 1):
        raise ValueError(
            "`labels` must be classes [n], or one-hot [n, classes]. Received: "
            f"{labels.dtype} of shape {labels.shape}."
        )
    return flat.astype(np.int64)
