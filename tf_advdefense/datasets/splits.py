"""A data set in memory, and how its validation split is cut from train.

The cut depends on the content's fingerprint and on nothing else.
"""

from collections.abc import Mapping
import dataclasses
import hashlib
from typing import Any

import numpy as np

from tf_advdefense.datasets import augmentation
from tf_advdefense.datasets.stored import Stored

_VALIDATION_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Split:
    """Images uint8 [n, h, w, c], labels int64 [n], and their index in TFDS' split.

    The images of a large set are `Stored`, with the looks of an array.
    """

    images: Any
    labels: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, num_examples: int | None) -> "Split":
        """The first `num_examples` (all, if None or fewer)."""
        return self.at(slice(num_examples))

    def at(self, which: Any) -> "Split":
        """The images of a slice, numbers or a mask; `Stored` ones stay on disk."""
        images = self.images
        images = images.at(which) if isinstance(images, Stored) else images[which]
        return Split(images, self.labels[which], self.index[which])


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    Attributes:
      name: as it was asked for.
      class_names: in the order of the labels.
      fingerprint: the SHA-256 of its decoded content.
      train, validation, test: its splits.
      reading: the arguments of `load` that decide what its images are, but defaults.
      directory: where it is stored; None: in memory only.
      notes: what its user should know of it: files that are not read.
    """

    name: str
    class_names: tuple[str, ...]
    fingerprint: str
    train: Split
    validation: Split
    test: Split
    reading: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    directory: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(height, width, channels)."""
        return self.train.images.shape[1:]

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def augmentation(self) -> augmentation.Augmentation:
        """The flips and crops that keep an image's class."""
        return augmentation.of(self.name, self.image_shape)

    def split(self, name: str) -> Split:
        """`train`, `validation` or `test`, which must hold images."""
        if name not in ("train", "validation", "test"):
            raise ValueError(
                f"`split` must be train, validation or test. Received: split={name}"
            )
        split: Split = getattr(self, name)
        if not len(split):
            raise ValueError(
                f"`split` must hold images. Received: split={name} of {self.name}, "
                "which has test images only."
            )
        return split


def split_up(
    name: str,
    class_names: tuple[str, ...],
    train: Split,
    test: Split,
    *,
    fingerprint: str | None = None,
    **read: Any,
) -> Dataset:
    """The data set of what was read, with a tenth of train held out for validation.

    Args:
      name, class_names, train, test: see `Dataset`.
      fingerprint: None: that of the images, which are all in memory.
      **read: other fields of `Dataset`: how it was read.
    """
    fingerprint = fingerprint or fingerprint_of(class_names, train, test)
    held_out = _validation_mask(len(train), fingerprint)
    splits = (train.at(~held_out), train.at(held_out), test)
    mixed = (mix_classes(split, fingerprint) for split in splits)
    return Dataset(name, class_names, fingerprint, *mixed, **read)


def fingerprint_of(class_names: tuple[str, ...], *splits: Split) -> str:
    """The SHA-256 of class names, images and labels."""
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


def mix_classes(split: Split, fingerprint: str) -> Split:
    """Permute a split stored class by class, so that its first images are a sample."""
    if np.any(np.diff(split.labels) < 0):
        return split
    return split.at(_permutation(len(split), fingerprint))


def _permutation(size, fingerprint):
    generator = np.random.Generator(np.random.PCG64(int(fingerprint, 16)))
    return generator.permutation(size)
