"""Encoded images on disk, any of them read by its position.

records = RecordFiles(paths, in_turn=16)     # of TFRecord files, as TFDS reads them
records = ArrayRecordFiles(paths)
records = Files(["a.png", "b.png"])
len(records), records.read([3, 0])           # bytes
"""

from collections.abc import Sequence
import functools
import os
import pathlib
from typing import Protocol

import numpy as np
import tensorflow as tf

from tf_advdefense import untrusted

_BLOCK = 16  # Records that TFDS takes from a file at a time.
_BATCH = 256  # Records read at a time where all are.


class Records(Protocol):
    """See the module."""

    def __len__(self) -> int:
        """How many there are."""

    def read(self, rows: np.ndarray) -> list[bytes]:
        """Those of these positions, in their order."""


class Files:
    """Each of these files is a record."""

    def __init__(self, paths: Sequence[str]):
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, rows: np.ndarray) -> list[bytes]:
        """The contents of files."""
        return [pathlib.Path(self._paths[row]).read_bytes() for row in rows]


class RecordFiles:
    """The records of TFRecord files, in the order in which TFDS reads these.

    Where each record lies is found once, by the lengths that stand before them.
    """

    def __init__(self, paths: Sequence[str], *, in_turn: int):
        """Finds the records, and reads none.

        Args:
          paths: of the files.
          in_turn: how many files are read in turn, 16 records of each.

        Raises:
          ValueError: a file ends within a record.
        """
        self._paths = [os.fspath(path) for path in paths]
        places = [np.array(list(untrusted.records(path))) for path in paths]
        places = [np.reshape(each, [-1, 2]) for each in places]
        self._lengths = [len(each) for each in places]
        file = np.repeat(np.arange(len(paths)), self._lengths)
        order = _interleaved(self._lengths, in_turn)
        self._file = file[order]
        self._start, self._size = np.concatenate(places)[order].T

    def __len__(self) -> int:
        return len(self._file)

    def read(self, rows: np.ndarray) -> list[bytes]:
        """The contents of records."""
        return [
            os.pread(self._descriptors[self._file[r]], self._size[r], self._start[r])
            for r in rows
        ]

    @functools.cached_property
    def _descriptors(self) -> list[int]:
        # Open as long as the process: a training reads from all of them at random.
        return [os.open(path, os.O_RDONLY) for path in self._paths]


class ArrayRecordFiles:
    """The records of ArrayRecord files, one file after the other."""

    def __init__(self, paths: Sequence[str]):
        # TFDS needs it for such files, and only there is it at hand.
        from array_record.python import array_record_data_source

        names = [os.fspath(path) for path in paths]
        self._source = array_record_data_source.ArrayRecordDataSource(names)

    def __len__(self) -> int:
        return len(self._source)

    def read(self, rows: np.ndarray) -> list[bytes]:
        """The contents of records."""
        return list(self._source.__getitems__(np.asarray(rows).tolist()))


def in_graph(records: Records, rows: tf.Tensor) -> tf.Tensor:
    """The records of rows int64 `[n]`, in a graph: one call of Python for all."""
    read = lambda rows: np.array(records.read(rows), object)
    found = tf.numpy_function(read, [rows], tf.string, stateful=False)
    return tf.ensure_shape(found, rows.shape)


def in_order(records: Records) -> tf.data.Dataset:
    """All records, one by one."""
    rows = tf.data.Dataset.range(len(records)).batch(_BATCH)
    return rows.map(lambda each: in_graph(records, each)).unbatch()


def _interleaved(lengths: Sequence[int], in_turn: int) -> np.ndarray:
    """The order in which `tf.data` interleaves files of so many records."""
    starts = np.cumsum([0, *lengths[:-1]])
    if in_turn == 1 or len(lengths) == 1:
        return np.arange(sum(lengths))
    ranges = tf.data.Dataset.from_tensor_slices((starts, starts + lengths))
    order = ranges.interleave(
        lambda start, stop: tf.data.Dataset.range(start, stop),
        cycle_length=in_turn,
        block_length=_BLOCK,
    )
    batches = order.batch(100_000).as_numpy_iterator()
    return np.concatenate(list(batches))
