"""Data sets that TFDS has prepared, and `digits`, which this package prepares.

prepared = open_prepared("cifar10", "~/tensorflow_datasets")
prepared.sizes                  # {"train": 50000, "test": 10000}
prepared.examples("test")       # tf.data of {"image", "label"}
"""

import hashlib
import os
import re
import shutil
import socket
from typing import Any
import urllib.parse
import urllib.request

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_advdefense import locks
from tf_advdefense import untrusted
from tf_advdefense.datasets import cache
from tf_advdefense.datasets import records
from tf_advdefense.datasets.digits import Digits

_REMEDIES = (
    "Give a directory where it is prepared with `data_dir` (or TFDS_DATA_DIR), use "
    "images of your own with `dataset=folder:PATH` or `dataset=npz:FILE`, or the "
    "embedded `dataset=digits`."
)
_CONNECT_SECONDS = 5.0
_IN_TURN = 16  # Files that TFDS reads at a time, where their order is not of meaning.
_LABELS = 4096  # Read at a time.


class DamagedData(ValueError):
    """Files of a data set are not what was prepared."""


class Prepared:
    """A data set that TFDS has prepared; see `sources.Source`."""

    notes: tuple[str, ...] = ()

    def __init__(self, builder: tfds.core.DatasetBuilder):
        self._builder = builder
        self._checked: set[str] = set()  # Splits, whose files are gone through once.
        self.name = builder.info.name
        self.directory = str(builder.data_path)
        self.class_names = tuple(builder.info.features["label"].names)
        self.sizes = {
            name: split.num_examples for name, split in builder.info.splits.items()
        }

    def examples(self, split: str) -> tf.data.Dataset:
        """`image` uint8 and `label` int64, in the order in which they are stored."""
        return self._read(split)

    def records(self, split: str) -> records.Records:
        """Its records, in the same order."""
        self._check(split)
        paths, info = self._paths(split), self._builder.info
        if info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
            return records.ArrayRecordFiles(paths)
        if info.file_format != tfds.core.FileFormat.TFRECORD:
            raise ValueError(
                "A data set must be prepared in the file format tfrecord or "
                f"array_record. Received: {self.name} in {info.file_format.value}. "
                "Prepare it again."
            )
        in_turn = 1 if info.disable_shuffling else _IN_TURN
        return records.RecordFiles(paths, in_turn=in_turn)

    def labels(self, split: str) -> np.ndarray:
        """int64 `[n]`, without decoding an image."""
        undecoded = self._read(split, {"image": tfds.decode.SkipDecoding()})
        batches = undecoded.map(lambda e: e["label"]).batch(_LABELS)
        try:
            found = list(batches.as_numpy_iterator())
        except tf.errors.OpError as error:
            raise self.explained(split, 0, error) from error
        return np.concatenate(found).astype(np.int64)

    def decode(self, record: tf.Tensor) -> tf.Tensor:
        """The image of a record."""
        return self._builder.info.features.deserialize_example(record)["image"]

    def described(self, split: str) -> Any:
        """What its metadata say of it."""
        info = self._builder.info.splits[split]
        return str(self._builder.version), info.shard_lengths, info.num_bytes

    def hashed(self, split: str) -> str:
        """The SHA-256 of its record files."""
        digest = hashlib.sha256(split.encode())
        for path in self._paths(split):
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def explained(self, split: str, start: int, error: tf.errors.OpError) -> Exception:
        """What it means that reading failed after `start` images."""
        if isinstance(error, tf.errors.InvalidArgumentError):  # From decoding.
            reason = error.message.splitlines()[0].split(": ")[-1]
            return ValueError(
                f"All images must be readable. Received one in {self.name}/{split} "
                f"that is not: {reason}"
            )
        return damaged(self.directory, split, error.message.splitlines()[0])

    def _read(self, split, decoders=None):
        self._check(split)
        info = self._builder.info
        if info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
            return self._builder.as_dataset(
                split=split, shuffle_files=False, decoders=decoders
            )
        # Of these TFDS makes no `tf.data.Dataset`.
        return records.in_order(self.records(split)).map(
            lambda record: info.features.deserialize_example(record, decoders=decoders),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def _paths(self, split):
        return self._builder.info.splits[split].filepaths

    def _check(self, split):
        if split in self._checked:
            return
        dtype = np.dtype(self._builder.info.features["image"].np_dtype)
        if dtype != np.uint8:
            raise ValueError(
                f"Images must be stored as uint8. Received: {dtype} in "
                f"data set {self.name}."
            )
        try:
            untrusted.check_files(self.directory, self._paths(split))
        except ValueError as error:
            raise damaged(self.directory, split, str(error)) from error
        self._checked.add(split)


def damaged(directory: str, split: str, reason: str) -> DamagedData:
    """An error about the files of a data set."""
    return DamagedData(
        "The files of a data set must be those that were prepared. Received: "
        f"{directory}, whose {split} images are not ({reason}). Prepare it "
        "again."
    )


def open_prepared(name: str, data_dir: str | None = None) -> Prepared:
    """A data set of TFDS by its name, or `digits`; prepared now where it is not yet.

    Raises:
      ValueError: no such data set, or not an image-classification one.
      FileNotFoundError: not prepared and not downloadable.
    """
    if name == "digits":
        return Prepared(_digits())
    return Prepared(_tfds(name, data_dir or os.environ.get("TFDS_DATA_DIR")))


# === digits ===


def _digits():
    tfds.disable_progress_bar()
    builder = _prepared(_digits_builder)
    if not builder.info.splits:
        raise DamagedData("`digits` is damaged: it has no splits")
    return builder


def _digits_builder():
    try:
        return Digits(data_dir=str(cache.directory()))
    except Exception as error:  # Of damaged metadata anything may come.
        raise DamagedData(f"`digits` is damaged: {_reason(error)}") from error


def forget_digits() -> None:
    """Removes what is kept of `digits`; it is made again when it is next read."""
    path = cache.directory() / "digits" / str(Digits.VERSION)
    with locks.held(path, wait=True):
        shutil.rmtree(path, ignore_errors=True)


# === TFDS ===


def _tfds(name, data_dir):
    directory = data_dir and os.path.expanduser(data_dir)
    if directory and not os.path.isdir(directory):
        raise FileNotFoundError(f"No data directory at {directory}. {_REMEDIES}")
    builder = _builder(name, directory)
    _check_features(builder.info.features, name)
    if builder.is_prepared():
        return builder
    _check_reachable(builder)
    return _prepared(lambda: _builder(name, directory))


def _builder(name, directory):
    try:
        if directory:
            untrusted.check_tfds(os.path.join(directory, re.split("[:/]", name)[0]))
        return tfds.builder(name, data_dir=directory)
    except tfds.core.registered.DatasetNotFoundError as error:
        raise ValueError(
            f"Unknown data set '{name}': it is neither in TFDS' catalogue nor prepared "
            f"in {directory or 'the TFDS directory'}. {_REMEDIES}"
        ) from error
    except (ValueError, AssertionError) as error:  # Its configuration or version.
        reason = _reason(error)
        raise ValueError(f"TFDS cannot open data set '{name}': {reason}") from error
    except Exception as error:  # Of damaged metadata anything may come.
        raise DamagedData(
            f"The metadata of data set '{name}' must be as TFDS wrote them. Received: "
            f"{directory or 'the TFDS directory'}, where they are not "
            f"({_reason(error)}). Prepare it again."
        ) from error


def _reason(error):
    """The first line of an error, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_features(features, name):
    if (
        "image" not in features
        or "label" not in features
        or not hasattr(features["label"], "num_classes")
    ):
        raise ValueError(
            "A data set must have the features `image` and `label` (one "
            f"class each). Received: dataset={name} with "
            f"{', '.join(features)}."
        )


def _check_reachable(builder):
    # TFDS retries an unreachable host for minutes, so ask the network first.
    host = urllib.parse.urlparse(builder.info.homepage).hostname
    if not _reachable(host):
        raise FileNotFoundError(
            f"Data set '{builder.info.full_name}' is not prepared in "
            f"{builder.data_path} and {host} cannot be reached to download it. "
            f"{_REMEDIES}"
        )


def _prepared(make):
    """A builder of `make`, prepared once, whoever else wants it at the same time."""
    builder = make()
    if not builder.is_prepared():
        with locks.held(builder.data_path, wait=True):
            builder = make()  # It knows what another has prepared by now.
            if not builder.is_prepared():
                builder.download_and_prepare()
    return builder


def _reachable(host):
    proxy = urllib.request.getproxies().get("https")
    address = urllib.parse.urlparse(proxy) if proxy else None
    target = (address.hostname, address.port or 443) if address else (host, 443)
    try:
        socket.create_connection(target, timeout=_CONNECT_SECONDS).close()
        return True
    except OSError:
        return False
