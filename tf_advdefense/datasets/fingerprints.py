"""Fingerprints of data sets that were decoded before, known by their record files.

    key = key_of(builder, ["train", "test"], image_size)
    fingerprint = known(key)                # None: never decoded here
    remember(key, fingerprint)

A fingerprint is of decoded images, and decoding all of CIFAR-10 takes seconds that
nobody needs who measures on its test images. Hashing the files they are in takes a
tenth of that, and changes with every byte of them.
"""

from collections.abc import Sequence
import hashlib
import os
import pathlib
import tempfile

import tensorflow as tf
import tensorflow_datasets as tfds

from tf_advdefense.datasets.sources import cache_directory


def key_of(
    builder: tfds.core.DatasetBuilder, splits: Sequence[str], image_size: int | None
) -> str | None:
    """The SHA-256 of all that decides what is decoded; None for an image folder."""
    if isinstance(builder, tfds.ImageFolder):
        return None
    labels = builder.info.features["label"].names
    # Another TensorFlow may decode, or resize, to other pixels.
    digest = hashlib.sha256(repr((labels, image_size, tf.__version__)).encode())
    for split in splits:
        digest.update(split.encode())
        for path in builder.info.splits[split].filepaths:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def known(key: str | None) -> str | None:
    """The fingerprint of what was decoded under a key before."""
    if key is None:
        return None
    try:
        fingerprint, _, check = _file(key).read_text().partition(" ")
    except (OSError, ValueError):
        return None
    return fingerprint if check == _check(fingerprint) else None


def remember(key: str | None, fingerprint: str) -> None:
    """For the next time; without a word where nothing can be written."""
    if key is None:
        return
    try:
        _file(key).parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=_file(key).parent)
        with open(handle, "w") as file:
            file.write(f"{fingerprint} {_check(fingerprint)}")
        os.replace(temporary, _file(key))
    except OSError:
        pass


def _check(fingerprint: str) -> str:
    """By which a damaged file is told."""
    return hashlib.sha256(fingerprint.encode()).hexdigest()


def _file(key: str) -> pathlib.Path:
    return cache_directory() / "fingerprints" / key
