"""Open a data set by name: any of TFDS, an image folder, arrays, or `digits`."""

from collections.abc import Mapping
from typing import Any
from typing import Protocol

import numpy as np
import tensorflow as tf

from tf_advdefense.datasets.folder import Folder
from tf_advdefense.datasets.npz import ArraysFile
from tf_advdefense.datasets.prepared import open_prepared
from tf_advdefense.datasets.records import Records


class Source(Protocol):
    """Where labelled images are read from.

    Attributes:
      name: of the data set, for messages.
      directory: where it is stored.
      class_names: in the order of the labels.
      sizes: of each split, how many images.
      notes: what its user should know of it.
    """

    name: str
    directory: str
    class_names: tuple[str, ...]
    sizes: Mapping[str, int]
    notes: tuple[str, ...]

    def examples(self, split: str) -> tf.data.Dataset:
        """`image` uint8 `[h, w, c]` and `label` int64, always in the same order."""

    def records(self, split: str) -> Records:
        """What `decode` makes these images of, in the same order."""

    def decode(self, record: tf.Tensor) -> tf.Tensor:
        """An image uint8 `[h, w, c]`, in a graph."""

    def labels(self, split: str) -> np.ndarray:
        """int64 `[n]`, without decoding an image."""

    def described(self, split: str) -> Any:
        """What is known of it without reading it; other content has another."""

    def hashed(self, split: str) -> str:
        """A hash of all that its images are decoded from."""

    def explained(self, split: str, start: int, error: tf.errors.OpError) -> Exception:
        """What to raise where `examples` failed after `start` images."""


def open_source(
    name: str, data_dir: str | None = None, color: str | None = None
) -> Source:
    """The source of a data set.

    Args:
      name: a TFDS name such as `cifar10`, `folder:PATH`, `npz:FILE`, or `digits`.
      data_dir: TFDS directory; default `TFDS_DATA_DIR`, then TFDS' own default.
      color: of a folder, "rgb", its default, or "grayscale": one channel.

    Raises:
      ValueError: no such data set, or not an image-classification one.
      FileNotFoundError: no such folder or file, or not prepared and not downloadable.
    """
    if name.startswith("folder:"):
        return Folder(name.removeprefix("folder:"), color)
    if color is not None:
        raise ValueError(
            "`color` is for image folders; other data sets have the channels that they "
            f"were stored with. Received: color={color} for {name}."
        )
    if name.startswith("npz:"):
        return ArraysFile(name.removeprefix("npz:"))
    return open_prepared(name, data_dir)
