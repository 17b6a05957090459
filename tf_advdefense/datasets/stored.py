"""Images that stay on disk, with the looks of an array.

images = Stored(records, decode, (224, 224, 3))
len(images), images.shape, images[:128], images[[7, 3]]     # decodes these
images.at(rows)                                             # decodes none
images.batches(tf.data.Dataset.from_tensors([7, 3]))        # decodes in a graph
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_advdefense.datasets.records import Records
from tf_advdefense.datasets.records import in_graph

_PARALLEL = tf.data.AUTOTUNE


class Stored:
    """uint8 `[n, height, width, channels]`, decoded where they are asked for.

    Memory is taken for what is being decoded alone.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(
        self,
        records: Records,
        decode: Callable[[tf.Tensor], tf.Tensor],
        image_shape: Sequence[int],
        rows: np.ndarray | None = None,
        explained: Callable[[int, tf.errors.OpError], Exception] | None = None,
    ):
        """Reads nothing.

        Args:
          records: that the images are encoded in.
          decode: function of a graph, from a record to a uint8 image of `image_shape`.
          image_shape: (height, width, channels).
          rows: int `[n]`, the records of these images; default: all.
          explained: what to raise where a record, by its row, cannot be decoded.
        """
        self._records, self._decode, self._explained = records, decode, explained
        self._rows = np.arange(len(records)) if rows is None else rows
        self.shape = (len(self._rows), *image_shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, which: Any) -> np.ndarray:
        """The image of a number, or the images of a slice, numbers or a mask."""
        rows = self._rows[which]
        if np.ndim(rows) == 0:
            return self._decoded(rows[np.newaxis])[0]
        return self._decoded(rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        images = self[:]
        return images if dtype is None else images.astype(dtype)

    def at(self, which: Any) -> "Stored":
        """The images of a slice, numbers or a mask, still on disk."""
        rows = self._rows[which]
        return Stored(
            self._records, self._decode, self.shape[1:], rows, self._explained
        )

    def batches(self, numbers: tf.data.Dataset) -> tf.data.Dataset:
        """Batches of the images of these numbers.

        Args:
          numbers: of int64 `[size]`, all of one static size.

        Returns:
          Of uint8 `[size, height, width, channels]`.
        """
        size = numbers.element_spec.shape[0]
        return self._batches(numbers, size, drop_remainder=True)

    def in_order(self, size: int) -> tf.data.Dataset:
        """All images in batches of `size`, the last of which may be smaller."""
        numbers = tf.data.Dataset.range(len(self)).batch(size)
        batches = self._batches(numbers, size, drop_remainder=False)
        # Keras warns of a dataset whose end it did not foresee.
        number = tf.data.experimental.assert_cardinality(-(-len(self) // size))
        return batches.apply(number)

    def _decoded(self, rows: np.ndarray) -> np.ndarray:
        if not len(rows):
            return np.zeros((0, *self.shape[1:]), np.uint8)
        records = tf.data.Dataset.from_tensor_slices(self._records.read(rows))
        try:
            return next(self._images(records).batch(len(rows)).as_numpy_iterator())
        except tf.errors.OpError as error:
            if self._explained is None:
                raise
            raise self._explained(int(rows[0]), error) from error

    def _batches(self, numbers, size, drop_remainder):
        records = numbers.map(
            lambda each: in_graph(self._records, tf.gather(self._rows, each))
        )
        return self._images(records.unbatch()).batch(size, drop_remainder)

    def _images(self, records: tf.data.Dataset) -> tf.data.Dataset:
        return records.map(
            lambda record: tf.ensure_shape(self._decode(record), self.shape[1:]),
            num_parallel_calls=_PARALLEL,
            deterministic=True,
        )
