"""Read a data set by name into memory."""

import dataclasses

import numpy as np
import tensorflow as tf

from tf_advdefense.datasets import fingerprints
from tf_advdefense.datasets.sources import DamagedData
from tf_advdefense.datasets.sources import forget_digits
from tf_advdefense.datasets.sources import open_builder
from tf_advdefense.datasets.sources import stored
from tf_advdefense.datasets.splits import Dataset
from tf_advdefense.datasets.splits import Split
from tf_advdefense.datasets.splits import mix_classes
from tf_advdefense.datasets.splits import split_up


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
    builder = open_builder(name, data_dir, color)
    named = _test_split(builder, name)
    class_names = tuple(builder.info.features["label"].names)
    test = _read(builder, named, image_size)
    train = none = test.take(0)
    how = {"image_size": image_size, "color": color, "directory": stored(builder)}
    splits = [split for split in ("train", named) if split in builder.info.splits]
    key = fingerprints.key_of(builder, splits, image_size)
    known = fingerprints.known(key)
    if test_only and known:
        test = mix_classes(test, known)
        return Dataset(name, class_names, known, none, none, test, **how)
    if "train" in splits:
        train = _read(builder, "train", image_size)
    data = split_up(name, class_names, train, test, **how)
    fingerprints.remember(key, data.fingerprint)
    if test_only:
        data = dataclasses.replace(data, train=none, validation=none)
    return data


def _test_split(builder, name):
    available = [s for s in ("test", "validation") if s in builder.info.splits]
    if not available:
        raise ValueError(
            "A data set must have the split `test`. "
            f"Received: dataset={name} with "
            f"{', '.join(builder.info.splits)}."
        )
    return available[0]


def _read(builder, split, image_size):
    dtype = np.dtype(builder.info.features["image"].np_dtype)
    if dtype != np.uint8:
        raise ValueError(
            f"Images must be stored as uint8. Received: {dtype} in "
            f"data set {builder.info.name}."
        )
    examples = builder.as_dataset(split=split, shuffle_files=False)
    examples = examples.map(
        lambda e: (_resize(e["image"], image_size), e["label"]),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    try:
        batches = list(examples.batch(1000).as_numpy_iterator())
    except tf.errors.InvalidArgumentError as error:
        where = f"{builder.info.name}/{split}"
        if " batch" not in error.message:  # Not from batching, but from decoding.
            reason = error.message.splitlines()[0].split(": ")[-1]
            raise ValueError(
                f"All images must be readable. Received one in {where} "
                f"that is not: {reason}"
            ) from error
        raise ValueError(
            f"All images must have one size. Received: unequal sizes in {where}. "
            "Resize them with `image_size=32`, say."
        ) from error
    except tf.errors.OpError as error:
        raise _damaged(builder, split, error.message.splitlines()[0]) from error
    number = sum(len(labels) for _, labels in batches)
    if number != builder.info.splits[split].num_examples:
        wanted = builder.info.splits[split].num_examples
        raise _damaged(builder, split, f"{number} of {wanted} images")
    images, labels = (np.concatenate(part) for part in zip(*batches))
    return Split(images, labels.astype(np.int64), np.arange(len(labels)))


def _damaged(builder, split, reason):
    return DamagedData(
        "The files of a data set must be those that were prepared. Received: "
        f"{stored(builder)}, whose {split} images are not ({reason}). Prepare it again."
    )


def _resize(image, image_size):
    if image_size is None:
        return image
    resized = tf.image.resize(image, (image_size, image_size), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
