"""Arrays of images: 8-bit and float, padded batches, and the norms between two.

images = as_float(split.images)               # float32 [n, h, w, c] in [0, 1]
batch = padded(images[-5:], 128)              # float32 [128, h, w, c]
at_once(500, (224, 224, 3))                   # 16, where 500 of CIFAR's size are right
norms(adversarial, images)["l2"]              # float32 [n]
"""

from collections.abc import Sequence

import numpy as np

NORMS = ("l0", "l1", "l2", "linf")
_SOME = 32  # Images.
_SIDE = 32


def as_float(images: np.ndarray) -> np.ndarray:
    """uint8 or float images as float32 in [0, 1]."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images / np.float32(255)
    return images.astype(np.float32, copy=False)


def as_grey_levels(images: np.ndarray) -> np.ndarray:
    """Float images in [0, 1] as the nearest uint8."""
    levels = np.asarray(images) * 255
    return np.rint(levels, out=levels).astype(np.uint8)


def padded(rows: np.ndarray, batch_size: int) -> np.ndarray:
    """`rows` filled up to `batch_size` by repeating the first: one compiled shape."""
    missing = batch_size - len(rows)
    return np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)])


def fitting(batch_size: int, number: int) -> int:
    """The batch size, halved down to 8 as long as so many images fit into it.

    A few images then cost no more than twice as many, and batch sizes stay few.
    """
    while batch_size % 2 == 0 and batch_size >= 16 and number <= batch_size // 2:
        batch_size //= 2
    return batch_size


def at_once(number: int, image_shape: Sequence[int]) -> int:
    """How many images to take at a time where so many of 32x32 pixels do.

    Of larger ones as many as have the same pixels, but 16 in any case: 500 images of
    224x224 are gigabytes in the first layers of most networks.
    """
    height, width = image_shape[:2]
    return min(number, max(16, number * _SIDE**2 // (height * width)))


def norms(adv: np.ndarray, clean: np.ndarray) -> dict[str, np.ndarray]:
    """`l0` (changed values), `l1`, `l2` and `linf` of perturbations, float32 `[n]`."""
    # Some at a time: in float64 all at once would be many times the images.
    parts = [
        _norms(adv[i : i + _SOME], clean[i : i + _SOME])
        for i in range(0, max(1, len(adv)), _SOME)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _norms(adv: np.ndarray, clean: np.ndarray) -> dict[str, np.ndarray]:
    eta = np.abs(adv.astype(np.float64) - clean).reshape(len(adv), -1)
    values = {
        "l0": np.sum(eta > 0, axis=1),
        "l1": np.sum(eta, axis=1),
        "l2": np.sqrt(np.sum(eta**2, axis=1)),
        "linf": np.max(eta, axis=1),
    }
    return {name: value.astype(np.float32) for name, value in values.items()}
