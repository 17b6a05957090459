"""Image-classification data sets with a fixed train, validation and test split.

    data = load("cifar10", data_dir="~/tensorflow_datasets")
    data.test.images[:8], data.test.labels[:8], data.class_names, data.fingerprint

Names: any image-classification set of TFDS, `folder:PATH` (as `tfds.ImageFolder`
reads it) and the embedded `digits`. Shape, class names and sizes come from the data
set itself. To add a source, write its builder and a line in `sources.open_builder`.
"""

import dataclasses
import hashlib

import numpy as np
import tensorflow as tf

from tf_advdefense.datasets import augmentation
from tf_advdefense.datasets.sources import open_builder

_VALIDATION_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Split:
    """Images uint8 [n, h, w, c], labels int64 [n], and their index in TFDS' split."""

    images: np.ndarray
    labels: np.ndarray
    index: np.ndarray

    def __len__(self):
        return len(self.labels)

    def take(self, num_examples):
        """The first `num_examples` (all, if None or fewer)."""
        return _select(self, slice(num_examples))


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set in memory; `fingerprint` is the SHA-256 of its decoded content."""

    name: str
    class_names: tuple
    fingerprint: str
    train: Split
    validation: Split
    test: Split

    @property
    def image_shape(self):
        return self.train.images.shape[1:]

    @property
    def num_classes(self):
        return len(self.class_names)

    @property
    def augmentation(self):
        """The flips and crops that keep an image's class."""
        return augmentation.of(self.name, self.image_shape)

    def split(self, name):
        """`train`, `validation` or `test`."""
        if name not in ("train", "validation", "test"):
            raise ValueError(
                f"`split` must be train, validation or test. Received: split={name}"
            )
        return getattr(self, name)


def load(name="cifar10", data_dir=None, image_size=None):
    """Decode a data set once into memory (CIFAR-10: 184 MB).

    The validation split is a tenth of train, chosen by the content's fingerprint and
    nothing else; test stays test (`validation`, where a set of TFDS has no test).

    Args:
      name: TFDS name, `folder:PATH` or `digits`.
      data_dir: TFDS directory of prepared sets.
      image_size: side of the square every image is resized to; None keeps the images
        as they are, which must then have one size.

    Returns:
      A `Dataset`.

    Raises:
      ValueError: unknown set, images of unequal size, no test split.
      FileNotFoundError: not prepared and not downloadable, or no such folder.
    """
    builder = open_builder(name, data_dir)
    train = _read(builder, "train", image_size)
    test = _read(builder, _test_split(builder, name), image_size)
    class_names = tuple(builder.info.features["label"].names)
    fingerprint = _fingerprint(class_names, train, test)
    held_out = _validation_mask(len(train), fingerprint)
    splits = (_select(train, ~held_out), _select(train, held_out), test)
    return Dataset(
        name,
        class_names,
        fingerprint,
        *(_mix_classes(split, fingerprint) for split in splits),
    )


def _test_split(builder, name):
    available = [s for s in ("test", "validation") if s in builder.info.splits]
    if "train" not in builder.info.splits or not available:
        raise ValueError(
            "A data set must have the splits `train` and `test`. "
            f"Received: --dataset={name} with "
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
            "Resize them with --image_size=32, say."
        ) from error
    images, labels = (np.concatenate(part) for part in zip(*batches))
    return Split(images, labels.astype(np.int64), np.arange(len(labels)))


def _resize(image, image_size):
    if image_size is None:
        return image
    resized = tf.image.resize(image, (image_size, image_size), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def _fingerprint(class_names, *splits):
    digest = hashlib.sha256("\n".join(class_names).encode())
    for split in splits:
        digest.update(repr(split.images.shape).encode())
        digest.update(np.ascontiguousarray(split.images))
        digest.update(split.labels)
    return digest.hexdigest()


def _validation_mask(num_examples, fingerprint):
    mask = np.zeros(num_examples, bool)
    size = max(1, round(_VALIDATION_SHARE * num_examples))
    mask[_permutation(num_examples, fingerprint)[:size]] = True
    return mask


def _mix_classes(split, fingerprint):
    """Permute a split stored class by class, so that its first images are a sample."""
    if np.any(np.diff(split.labels) < 0):
        return split
    return _select(split, _permutation(len(split), fingerprint))


def _permutation(size, fingerprint):
    generator = np.random.Generator(np.random.PCG64(int(fingerprint, 16)))
    return generator.permutation(size)


def _select(split, which):
    return Split(*(a[which] for a in (split.images, split.labels, split.index)))
