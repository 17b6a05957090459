"""Read a data set by name into memory."""

import dataclasses
import hashlib
import re
from typing import Any

import numpy as np
import tensorflow as tf

from tf_advdefense.datasets import fingerprints
from tf_advdefense.datasets.prepared import DamagedData
from tf_advdefense.datasets.prepared import damaged
from tf_advdefense.datasets.prepared import forget_digits
from tf_advdefense.datasets.sources import Source
from tf_advdefense.datasets.sources import open_source
from tf_advdefense.datasets.splits import Dataset
from tf_advdefense.datasets.splits import Split
from tf_advdefense.datasets.splits import mix_classes
from tf_advdefense.datasets.splits import split_up

_BATCH = 1000


def load(
    name: str = "cifar10",
    data_dir: str | None = None,
    image_size: int | None = None,
    color: str | None = None,
    test_only: bool = False,
) -> Dataset:
    """Decode a data set once into memory (CIFAR-10: 184 MB).

    The validation split is a tenth of train, chosen by the content's fingerprint and
    nothing else; test stays test (`validation`, where a set of TFDS has no test). A set
    without train has empty train and validation splits: models can be measured on it.

    Args:
      name: TFDS name, `folder:PATH` or `digits`.
      data_dir: TFDS directory of prepared sets.
      image_size: side of the square every image is resized to; None keeps the images
        as they are, which must then have one size.
      color: of a folder, "rgb", its default, or "grayscale", which makes one channel.
      test_only: leave train and validation empty; they are not even read where the
        fingerprint is known from a former reading.

    Returns:
      A `Dataset`.

    Raises:
      ValueError: unknown set, images of unequal size, no test split.
      FileNotFoundError: not prepared and not downloadable, or no such folder.
    """
    try:
        return _loaded(name, data_dir, image_size, color, test_only)
    except DamagedData:
        if name != "digits":
            raise
        forget_digits()  # What is kept here can be made again.
        return _loaded(name, data_dir, image_size, color, test_only)


def _loaded(name, data_dir, image_size, color, test_only):
    source = open_source(name, data_dir, color)
    named = _test_split(source, name)
    test, notes = _read(source, named, image_size)
    train = none = test.take(0)
    how: dict[str, Any] = {
        "image_size": image_size,
        "color": color,
        "directory": source.directory,
        "notes": (*source.notes, *notes),
    }
    splits = [split for split in ("train", named) if split in source.sizes]
    key = _key(source, splits, image_size)
    known = fingerprints.known(key)
    if test_only and known:
        test = mix_classes(test, known)
        return Dataset(name, source.class_names, known, none, none, test, **how)
    if "train" in splits:
        train, notes = _read(source, "train", image_size)
        how["notes"] += notes
        _check_alike(name, train, test)
    data = split_up(name, source.class_names, train, test, **how)
    fingerprints.remember(key, data.fingerprint)
    if test_only:
        data = dataclasses.replace(data, train=none, validation=none)
    return data


def _key(source: Source, splits: list[str], image_size: int | None) -> str | None:
    key = source.key(splits)
    return key and hashlib.sha256(f"{key} {image_size}".encode()).hexdigest()


def _test_split(source, name):
    available = [s for s in ("test", "validation") if s in source.sizes]
    if not available:
        raise ValueError(
            "A data set must have the split `test`. "
            f"Received: dataset={name} with {', '.join(source.sizes)}."
        )
    return available[0]


def _read(
    source: Source, split: str, image_size: int | None
) -> tuple[Split, tuple[str, ...]]:
    """The images of a split, and what is to be said of them."""
    examples = source.examples(split).map(
        lambda e: (
            _resize(e["image"], image_size),
            e["label"],
            e.get("alpha", False),
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    batches: list[tuple[np.ndarray, ...]] = []
    try:
        for batch in examples.batch(_BATCH).as_numpy_iterator():
            batches.append(batch)
    except tf.errors.OpError as error:
        sizes = re.findall(r"\[(\d+),(\d+),\d+\]", error.message)
        if " batch" in error.message and len(sizes) == 2:
            raise _unequal(f"{source.name}/{split}", *sizes) from error
        raise source.explained(split, _BATCH * len(batches), error) from error
    number = sum(len(labels) for _, labels, _ in batches)
    if number != source.sizes[split]:
        reason = f"{number} of {source.sizes[split]} images"
        raise damaged(source.directory, split, reason)
    images, labels, alpha = (np.concatenate(part) for part in zip(*batches))
    notes = ()
    if alpha.any():
        notes = (f"the alpha channel of {alpha.sum()} {split} images is left out",)
    return Split(images, labels.astype(np.int64), np.arange(len(labels))), notes


def _check_alike(name: str, train: Split, test: Split) -> None:
    """Images of both splits must have one size."""
    shapes = train.images.shape[1:], test.images.shape[1:]
    if shapes[0] != shapes[1]:
        raise _unequal(f"train and test of {name}", *shapes)


def _unequal(where, one, other):
    return ValueError(
        f"All images must have one size. Received: {one[0]}x{one[1]} and "
        f"{other[0]}x{other[1]} in {where}. Resize them with `image_size=32`, say."
    )


def _resize(image, image_size):
    if image_size is None:
        return image
    resized = tf.image.resize(image, (image_size, image_size), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
