"""Looks at the input gradients of a model, where it is attacked, before it is.

    signs, masked = Looks().at("resnet50", model, model, split, batch_size=128)
    signs["zero_gradients"]

Two gradients of the log odds (`losses.log_odds`) for each image: at the image, and at
one with noise of half a grey level. Where the first is exactly zero no attack along it
moves. The cross-entropy is softplus of the log odds, so its gradient is theirs times
the probability of all other classes: of confident models too small for float32.
"""

from collections.abc import Sequence
import functools
from typing import Any

import numpy as np
from scipy.special import expit
import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.attacks.core.model_fn import served
from tf_advdefense.datasets import Split
from tf_advdefense.evaluation.records import Signs
from tf_advdefense.evaluation.signs import in_batches
from tf_advdefense.evaluation.signs import right
from tf_advdefense.images import as_float

_TINY = 1e-6
_NOISE = 0.5 / 255


class Looks:
    """Looks at gradients, at each image of each model once.

    Kept for one comparison, whose models do not change.
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, np.ndarray]] = {}

    def at(
        self, name: str, model: Any, attacked: Any, split: Split, batch_size: int
    ) -> tuple[Signs, np.ndarray]:
        """The signs of the images that are right when clean, and the mask `masked`.

        Args:
          name: of the model; equal names are the same model.
          model: to be judged.
          attacked: what an attacker climbs: `model`, or what stands in its place.
          split: the clean images.
        """
        known = self._rows.setdefault(name, {})
        new = np.array([i for i, at in enumerate(split.index) if at not in known], int)
        if len(new):
            part = split.at(new)
            rows = _look(model, inference(attacked), part, batch_size)
            known.update(zip(part.index.tolist(), rows))
        rows = np.stack([known[i] for i in split.index.tolist()])
        return _summed(rows)


# Columns of a look: whether the image is right, and right with noise; the log odds of
# all other classes, the largest entry of its gradient, the cosine to that with noise.
_RIGHT, _STEADY, _ODDS, _LARGEST, _COSINE = range(5)


def _look(model: Any, view: ModelFn, split: Split, batch_size: int) -> np.ndarray:
    # A batch at a time: of large images all at once would be gigabytes.
    parts = [
        _look_at(model, view, split.at(slice(i, i + batch_size)), batch_size)
        for i in range(0, len(split), batch_size)
    ]
    return np.concatenate(parts)


def _look_at(model: Any, view: ModelFn, split: Split, batch_size: int) -> np.ndarray:
    images = as_float(split.images)
    noisy = np.clip(images + _noise(split.index, images.shape[1:]), 0, 1)
    gradients = in_batches(
        functools.partial(_gradients, view),
        np.stack([images, noisy], axis=-1),
        split.labels,
        batch_size,
    )
    judged = [
        right(served(model), each, split.labels, batch_size)[:, np.newaxis]
        for each in (images, noisy)
    ]
    return np.concatenate([*judged, gradients], axis=1)


def _noise(index: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    keys = draws.row_keys(0, np.asarray(index))
    return _NOISE * (2 * draws.uniform(keys, 0, tuple(shape)).numpy() - 1)


def _gradients(view: ModelFn, pairs: tf.Tensor, labels: tf.Tensor) -> np.ndarray:
    """The last columns of a look, of images [n, ..., 2] without and with noise."""
    (odds, first), (_, second) = (_climb(view, pairs[..., i], labels) for i in (0, 1))
    first, second = (
        np.reshape(each, [len(labels), -1]).astype(np.float64)
        for each in (first, second)
    )
    return np.stack([odds, np.abs(first).max(1), _cosine(first, second)], axis=1)


@tf.function  # With autograph, as CleverHans' gradient: a model may use len(x).
def _climb(view: ModelFn, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return losses.climb(view, losses.log_odds, x, y, False)[1:]


def _cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of each pair of rows; NaN where one is zero, for no direction is no turn."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products = np.sum(first * second, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return products / np.where(lengths > 0, lengths, np.nan)


def _summed(rows: np.ndarray) -> tuple[Signs, np.ndarray]:
    right = rows[:, _RIGHT] > 0
    masked = right & (rows[:, _LARGEST] == 0)
    # The cross-entropy is softplus of the log odds: its gradient is theirs times this.
    share = expit(rows[:, _ODDS].astype(np.float32))
    ce = share * rows[:, _LARGEST]
    cosines = rows[right, _COSINE]
    found: Signs = {
        "seen": int(right.sum()),
        "zero_gradients": int(masked.sum()),
        "zero_ce_gradients": int((right & (ce == 0)).sum()),
        "tiny_ce_gradients": int((right & (ce < _TINY)).sum()),
        "median_log_odds": _median(-rows[right, _ODDS]),
        "cosine": _median(cosines[~np.isnan(cosines)]),
        "unstable": int((right & (rows[:, _STEADY] == 0)).sum()),
    }
    return found, masked


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None
