"""A split read into memory: every image decoded once.

split, notes = decoded(source, "test", Resize(32))
"""

import re

import numpy as np
import tensorflow as tf

from tf_advdefense.datasets.prepared import damaged
from tf_advdefense.datasets.resize import Resize
from tf_advdefense.datasets.sources import Source
from tf_advdefense.datasets.splits import Split

_BATCH = 1000


def decoded(
    source: Source, split: str, resize: Resize
) -> tuple[Split, tuple[str, ...]]:
    """The images of a split in TFDS' order, and what is to be said of them.

    Raises:
      ValueError: in one line, for images that are unreadable, fewer than there were, or
        of unequal sizes.
    """
    examples = source.examples(split).map(
        lambda e: (resize(e["image"]), e["label"], e.get("alpha", False)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    number, done, alpha = source.sizes[split], 0, 0
    images, labels = np.zeros(0, np.uint8), np.zeros(number, np.int64)
    try:
        for some, theirs, theirs_alpha in examples.batch(_BATCH).as_numpy_iterator():
            if not done:  # Once, at its full size: peak memory is what is returned.
                images = np.empty((number, *some.shape[1:]), np.uint8)
            if some.shape[1:] != images.shape[1:]:
                raise unequal(source.name, split, some.shape[1:], images.shape[1:])
            stop = done + len(some)
            if stop > number:
                break
            images[done:stop], labels[done:stop] = some, theirs
            done, alpha = stop, alpha + theirs_alpha.sum()
    except tf.errors.OpError as error:
        sizes = re.findall(r"\[(\d+),(\d+),\d+\]", error.message)
        if " batch" in error.message and len(sizes) == 2:
            raise unequal(source.name, split, *sizes) from error
        raise source.explained(split, done, error) from error
    if done != number:
        raise damaged(source.directory, split, f"{done} of {number} images")
    notes = ()
    if alpha:
        notes = (f"the alpha channel of {alpha} {split} images is left out",)
    return Split(images, labels, np.arange(number)), notes


def unequal(
    name: str, split: str, one: tuple, other: tuple | None = None
) -> ValueError:
    """An error that gives the (height, width, ...) of two images, or of most."""
    received = f"others than {one[0]}x{one[1]}"
    if other is not None:
        received = f"{one[0]}x{one[1]} and {other[0]}x{other[1]}"
    return ValueError(
        f"All images must have one size. Received: {received} in {name}/{split}. "
        "Resize them with `image_size=32`, say."
    )
