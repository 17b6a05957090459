"""Read a data set by name: into memory, or, if it is large, from the disk."""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import tensorflow as tf

from tf_advdefense.datasets import fingerprints
from tf_advdefense.datasets.decoded import decoded
from tf_advdefense.datasets.decoded import unequal
from tf_advdefense.datasets.prepared import DamagedData
from tf_advdefense.datasets.prepared import forget_digits
from tf_advdefense.datasets.resize import Resize
from tf_advdefense.datasets.sources import Source
from tf_advdefense.datasets.sources import open_source
from tf_advdefense.datasets.splits import Dataset
from tf_advdefense.datasets.splits import Split
from tf_advdefense.datasets.splits import mix_classes
from tf_advdefense.datasets.splits import split_up
from tf_advdefense.datasets.stored import Stored

# What `load` takes that decides what the images are.
READING = ("image_size", "color", "center_crop", "in_memory")
_LARGE = 2**30  # Bytes of decoded images.


def load(
    name: str = "cifar10",
    data_dir: str | None = None,
    image_size: int | None = None,
    color: str | None = None,
    test_only: bool = False,
    *,
    in_memory: str = "auto",
    center_crop: bool = False,
) -> Dataset:
    """A data set, decoded once into memory (CIFAR-10: 184 MB) or where it is needed.

    The validation split is a tenth of train, chosen by the fingerprint and nothing
    else; test stays test (`validation`, where a set of TFDS has no test). A set without
    train has empty train and validation splits: models can be measured on it.

    The images of a large set are `Stored`, and its fingerprint is that of its test
    files and of what is known of train without reading it; that of a set in memory is
    of all decoded images. Labels are in memory, and only the splits that are asked for
    are read.

    Args:
      name: TFDS name, `folder:PATH`, `npz:FILE` or `digits`.
      data_dir: TFDS directory of prepared sets.
      image_size: side of the square every image is resized to; None keeps the images
        as they are, which must then have one size.
      color: of a folder, "rgb", its default, or "grayscale", which makes one channel.
      test_only: leave train and validation empty; they are not even read where the
        fingerprint is known from a former reading.
      in_memory: "yes", "no", or "auto": yes, unless the decoded images are more than
        1 GiB.
      center_crop: see `Resize`.

    Returns:
      A `Dataset`.

    Raises:
      ValueError: unknown set, images of unequal size, no test split.
      FileNotFoundError: not prepared and not downloadable, or no such folder or file.
    """
    if in_memory not in ("auto", "yes", "no"):
        raise ValueError(
            f"`in_memory` must be auto, yes or no. Received: in_memory={in_memory}."
        )
    given = {
        "image_size": image_size,
        "color": color,
        "center_crop": center_crop,
        "in_memory": in_memory if in_memory != "auto" else None,
    }
    reading = {key: given[key] for key in READING if given[key]}
    asked = name, data_dir, reading, test_only
    try:
        return _loaded(*asked)
    except DamagedData:
        if name != "digits":
            raise
        forget_digits()  # What is kept here can be made again.
        return _loaded(*asked)


def _loaded(name, data_dir, reading, test_only):
    source = open_source(name, data_dir, reading.get("color"))
    resize = Resize(reading.get("image_size"), reading.get("center_crop", False))
    splits = [split for split in ("train",) if split in source.sizes]
    splits.append(_test_split(source, name))
    how: dict[str, Any] = {
        "reading": reading,
        "directory": source.directory,
        "notes": source.notes,
    }
    asked = name, source, splits, resize, test_only, how
    in_memory = reading.get("in_memory")
    if in_memory == "yes":
        return _in_memory(*asked)
    shape = _image_shape(source, splits[-1], resize)
    # Of all splits, whichever are asked for: they have one fingerprint.
    number = sum(source.sizes[split] for split in splits)
    if in_memory == "no" or number * np.prod(shape) > _LARGE:
        return _on_disk(*asked, shape)
    return _in_memory(*asked)


def _test_split(source, name):
    available = [s for s in ("test", "validation") if s in source.sizes]
    if not available:
        raise ValueError(
            "A data set must have the split `test`. "
            f"Received: dataset={name} with {', '.join(source.sizes)}."
        )
    return available[0]


def _image_shape(source: Source, split: str, resize: Resize) -> tuple[int, ...]:
    """That of the first image."""
    images = source.examples(split).take(1).map(lambda e: resize(e["image"]))
    try:
        for image in images.as_numpy_iterator():
            return tuple(image.shape)
    except tf.errors.OpError as error:
        raise source.explained(split, 0, error) from error
    return (0, 0, 0)


# === In memory ===


def _in_memory(name, source, splits, resize, test_only, how):
    test, notes = decoded(source, splits[-1], resize)
    how["notes"] += notes
    train = none = test.take(0)
    key = _key(source, splits, resize)
    known = fingerprints.known(key)
    if test_only and known:
        test = mix_classes(test, known)
        return Dataset(name, source.class_names, known, none, none, test, **how)
    if "train" in splits:
        train, notes = decoded(source, "train", resize)
        how["notes"] += notes
        shapes = train.images.shape[1:], test.images.shape[1:]
        if shapes[0] != shapes[1]:
            raise unequal(name, "train and test", *shapes)
    data = split_up(name, source.class_names, train, test, **how)
    fingerprints.remember(key, data.fingerprint)
    if test_only:
        data = dataclasses.replace(data, train=none, validation=none)
    return data


def _key(source: Source, splits: list[str], resize: Resize) -> str:
    """A hash of all that decides what is decoded."""
    # Another TensorFlow may decode, or resize, to other pixels.
    held = [source.class_names, resize, tf.__version__, *map(source.hashed, splits)]
    return hashlib.sha256(repr(held).encode()).hexdigest()


# === On disk ===


def _on_disk(name, source, splits, resize, test_only, how, shape):
    fingerprint = _fingerprint(source, splits, resize, how["reading"].get("color"))
    test = _stored(source, splits[-1], resize, shape)
    train = test.take(0)
    if "train" in splits and not test_only:
        train = _stored(source, "train", resize, shape)
    return split_up(
        name, source.class_names, train, test, fingerprint=fingerprint, **how
    )


def _fingerprint(
    source: Source, splits: list[str], resize: Resize, color: str | None
) -> str:
    held = [
        *(source.class_names, resize, color),
        *((split, source.described(split)) for split in splits),
        source.hashed(splits[-1]),
    ]
    return hashlib.sha256(repr(held).encode()).hexdigest()


def _stored(
    source: Source, split: str, resize: Resize, shape: tuple[int, ...]
) -> Split:
    def explained(row: int, error: tf.errors.OpError) -> Exception:
        if "not compatible with expected shape" in error.message:
            return unequal(source.name, split, shape)
        return source.explained(split, row, error)

    images = Stored(
        source.records(split),
        lambda record: resize(source.decode(record)),
        shape,
        explained=explained,
    )
    labels = source.labels(split)
    return Split(images, labels, np.arange(len(labels)))
