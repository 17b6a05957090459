"""A data set in memory, and how its validation split is cut from train.

The cut depends on the content's fingerprint and on nothing else.
"""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from tf_advdefense.datasets import augmentation

_VALIDATION_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Split:
    """Images uint8 [n, h, w, c], labels int64 [n], and their index in TFDS' split."""

    images: np.ndarray
    labels: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, num_examples: int | None) -> "Split":
        """The first `num_examples` (all, if None or fewer)."""
        return _select(self, slice(num_examples))


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    Attributes:
      name: as it was asked for.
      class_names: in the order of the labels.
      fingerprint: the SHA-256 of its decoded content.
      train, validation, test: its splits.
      image_size: the side its images were resized to; None: they are as stored.
      color: as a folder's images were read, "rgb" or "grayscale"; None: as by default.
      directory: where it is stored; None: in memory only.
      notes: what its user should know of it: files that are not read.
    """

    name: str
    class_names: tuple[str, ...]
    fingerprint: str
    train: Split
    validation: Split
    test: Split
    image_size: int | None = None
    color: str | None = None
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
    **read: Any,
) -> Dataset:
    """The data set of what was read, with a tenth of train held out for validation.

    Args:
      name, class_names, train, test: see `Dataset`.
      **read: other fields of `Dataset`: how it was read.
    """
    fingerprint = fingerprint_of(class_names, train, test)
    held_out = _validation_mask(len(train), fingerprint)
    splits = (_select(train, ~held_out), _select(train, held_out), test)
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
    return _select(split, _permutation(len(split), fingerprint))


def _permutation(size, fingerprint):
    generator = np.random.Generator(np.random.PCG64(int(fingerprint, 16)))
    return generator.permutation(size)


def _select(split, which):
    return Split(*(a[which] for a in (split.images, split.labels, split.index)))
