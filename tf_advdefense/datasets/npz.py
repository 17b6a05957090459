"""Arrays in an .npz file, as Keras, MedMNIST and NumPy's users keep data sets.

    file = ArraysFile("photos.npz")
    file.sizes                      # {"train": 40, "test": 10}
    file.labels("test"), file.notes

Each split is a pair of arrays: `x_test` and `y_test`, or `test_images` and
`test_labels`, and the same of `train`; `images` and `labels` (or `x` and `y`) alone are
a test split. Its own validation split is not read, as with TFDS: one is cut from train.
`class_names` may name the classes; else they are numbers.
"""

import hashlib
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from tf_advdefense import untrusted
from tf_advdefense.datasets import records
from tf_advdefense.datasets.arrays import classes_of
from tf_advdefense.datasets.arrays import in_unit_range
from tf_advdefense.images import as_grey_levels

_NAMES = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "test": (
        ("x_test", "y_test"),
        ("test_images", "test_labels"),
        ("images", "labels"),
        ("x", "y"),
    ),
}
_LAYOUT = "x_test and y_test (and x_train and y_train), or images and labels"
_HAIR = 1e-3  # Of a pixel's step, what rounding to float32 may leave.


class Rows:
    """The bytes of each image of an array; see `records.Records`."""

    def __init__(self, images: np.ndarray):
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def read(self, rows: np.ndarray) -> list[bytes]:
        """Those of these images."""
        return [self._images[row].tobytes() for row in rows]


class ArraysFile:
    """An .npz file of images and labels; see `sources.Source`. It is read at once."""

    def __init__(self, path: str | os.PathLike[str]):
        """Reads it.

        Args:
          path: of the file.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: it does not hold what it must.
        """
        path = pathlib.Path(path).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"No file of arrays at {path}. It must hold {_LAYOUT}."
            )
        self.name, self.directory = path.name, str(path)
        try:
            arrays = untrusted.read_arrays(path)
        except ValueError as error:
            raise ValueError(
                f"A file of arrays must be as numpy.savez writes it. Received: {path} "
                f"({error})."
            ) from error
        self._splits, read = {}, {"class_names"}
        for split, pairs in _NAMES.items():
            for pair in pairs:
                if all(name in arrays for name in pair):
                    self._splits[split] = self._pair(arrays, *pair)
                    read |= {*pair}
                    break
        if "test" not in self._splits:
            raise ValueError(
                f"A file of arrays must hold {_LAYOUT}. Received: {path} with "
                f"{', '.join(arrays) or 'nothing'}."
            )
        shapes = {split: x.shape[1:] for split, (x, _) in self._splits.items()}
        if len({*shapes.values()}) > 1:
            raise ValueError(
                "All images must have one shape. Received: "
                f"{' and '.join(f'{shapes[s]} in {s}' for s in shapes)} of {path}."
            )
        self.class_names = self._classes(arrays.get("class_names"))
        self.sizes = {split: len(y) for split, (_, y) in self._splits.items()}
        others = sorted(set(arrays) - read)
        self.notes = (f"not read is {', '.join(others)}",) if others else ()

    def _pair(self, arrays, images, labels):
        """The images as uint8 and the labels as int64 of two arrays."""
        try:
            levels, numbers = in_unit_range(arrays[images]), classes_of(arrays[labels])
        except ValueError as error:
            where = f"{images} and {labels} of {self.directory}"
            raise ValueError(f"{error} This is in {where}.") from error
        if len(levels) != len(numbers) or not len(numbers):
            raise ValueError(
                f"{images} and {labels} must be as many, and not none. Received: "
                f"{len(levels)} and {len(numbers)} in {self.directory}."
            )
        if levels.dtype != np.uint8:
            unit, levels = levels, as_grey_levels(levels)
            if np.abs(255 * unit - levels).max() > _HAIR:
                raise ValueError(
                    "Images must have 8 bits a channel. Received: values between these "
                    f"in {images} of {self.directory}. Round them, or measure on them "
                    "from Python with `report(model, images, labels)`."
                )
        return levels, numbers

    def _classes(self, names):
        """The class names, as given or counted."""
        most = 1 + max(int(labels.max()) for _, labels in self._splits.values())
        found = tuple(map(str, range(most) if names is None else names))
        low = min(int(labels.min()) for _, labels in self._splits.values())
        if low < 0 or most > len(found):
            raise ValueError(
                f"Labels must be classes from 0 to {len(found) - 1}. Received: "
                f"{low} to {most - 1} in {self.directory}."
            )
        return found

    def examples(self, split: str) -> tf.data.Dataset:
        """`image` uint8 `[h, w, c]` and `label` int64, in the order of the arrays."""
        images = records.in_order(self.records(split)).map(self.decode)
        labels = tf.data.Dataset.from_tensor_slices(self.labels(split))
        both = tf.data.Dataset.zip(images, labels)
        return both.map(lambda image, label: {"image": image, "label": label})

    def records(self, split: str) -> Rows:
        """The bytes of its images."""
        return Rows(self._splits[split][0])

    def decode(self, record: tf.Tensor) -> tf.Tensor:
        """The image of these bytes."""
        shape = self._splits["test"][0].shape[1:]
        return tf.reshape(tf.io.decode_raw(record, tf.uint8), shape)

    def labels(self, split: str) -> np.ndarray:
        """int64 `[n]`."""
        return self._splits[split][1]

    def described(self, split: str) -> Any:
        """The content, which is in memory anyway."""
        return self.hashed(split)

    def hashed(self, split: str) -> str:
        """The SHA-256 of its arrays."""
        images, labels = self._splits[split]
        digest = hashlib.sha256(repr(images.shape).encode())
        digest.update(np.ascontiguousarray(images))
        digest.update(labels)
        return digest.hexdigest()

    def explained(self, split: str, start: int, error: tf.errors.OpError) -> Exception:
        """The error itself: what is wrong with arrays has been said on opening."""
        return ValueError(error.message.splitlines()[0])
