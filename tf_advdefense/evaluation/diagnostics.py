"""Red flags: set-ups that make numbers meaningless, and signs of masked gradients.

    check_classifier(model, data, "mine.keras")   # raises in one line
    flags = red_flags(results, per_example)        # to be printed with the results

A classifier that fails `check_classifier` is not evaluated at all; a red flag is a
reason to distrust a number that was measured (Carlini et al. 2019, arXiv:1902.06705).
"""

from collections.abc import Iterable
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense.artifacts.former_formats import MINIMAL_NORM
from tf_advdefense.attacks.core.model_fn import served
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation.records import Flag
from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.statistics import correct_by_index
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.images import as_float

_SAMPLE = 8
_INVARIANCE = 1e-4  # Relative; float32 kernels of other shapes stay far below.
_SLACK = 0.005  # Half a point, below which an order may be chance.
# Hyperparameters that bound a minimal-norm attack, unless they have this value.
_UNBOUNDED = {"gamma": 1.0, "max_eps": None}


def check_classifier(model: keras.Model, data: Dataset, name: str) -> None:
    """Refuse a model whose robustness cannot be measured.

    Args:
      model: `keras.Model`.
      data: `datasets.Dataset` it is to be measured on.
      name: of the model, for the messages.

    Raises:
      ValueError: another image shape or class count, probabilities instead of logits,
        values that are not finite, or logits that depend on the rest of the batch.
    """
    shape = tuple(model.input_shape[1:])
    if any(s is not None and s != d for s, d in zip(shape, data.image_shape)) or (
        len(shape) != 3
    ):
        raise ValueError(
            f"A model must take the data set's images. Received: {name} takes "
            f"{list(shape)}, {data.name} has {list(data.image_shape)}. Choose its "
            "`dataset`, or resize with `image_size`."
        )
    images = as_float(data.test.images[:_SAMPLE])
    logits = _logits(model, images)
    if logits.ndim != 2 or logits.shape[1] != data.num_classes:
        raise ValueError(
            f"A model must have one logit per class. Received: {name} returns "
            f"{list(logits.shape)} for {len(images)} images, {data.name} has "
            f"{data.num_classes} classes. Choose the `dataset` it was trained on."
        )
    if not np.isfinite(logits).all():
        raise ValueError(
            f"Logits must be finite. Received: NaN or infinity from {name}."
        )
    if logits.min() >= 0 and np.allclose(logits.sum(1), 1, atol=1e-5):
        raise ValueError(
            f"A model must return logits. Received: {name} returns probabilities, "
            "whose gradients vanish. Remove its softmax, or save the model up to it."
        )
    _check_batch_independence(model, images, logits, name)


def _check_batch_independence(
    model: keras.Model, images: np.ndarray, logits: np.ndarray, name: str
) -> None:
    alone = np.concatenate([_logits(model, image[np.newaxis]) for image in images[:2]])
    difference = np.abs(alone - logits[:2]).max() / (1 + np.abs(logits).max())
    if difference > _INVARIANCE:
        raise ValueError(
            f"An image's logits must not depend on its batch. Received: {name} differs "
            f"by {difference:.1g} (relative) between one image alone and in a batch. "
            "BatchNorm in training mode, or randomness, would do that."
        )


def _logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(served(model)(tf.constant(images)))


def red_flags(results: Results, per_example: PerExample) -> list[Flag]:
    """Signs that an attack failed for a reason other than robustness.

    Args:
      results, per_example: as in `records`; the flags among the results are not read.
    """
    attacked = [r for r in results["records"] if r["attack"] != "clean"]
    classes = len(results["dataset"]["class_names"])
    found = [
        flag
        for record in results["records"]
        if record["attack"] == "clean"
        for flag in _of_clean(record, classes)
    ]
    found += [flag for record in attacked for flag in _of_record(record)]
    return (
        found
        + _not_monotone(attacked)
        + _transfer_beats_white_box(attacked, per_example)
    )


def _of_clean(record: Record, classes: int) -> Iterator[Flag]:
    if is_at_chance(record["correct"], record["num_examples"], classes):
        yield _flag(
            "accuracy at chance",
            record["target"],
            f"{100 * record['accuracy']:.1f} % of {record['num_examples']} clean "
            f"images with {classes} classes: {CHANCE} No number of this model means "
            "anything",
        )


CHANCE = (
    "the model is untrained, its classes are in another order, or it takes images "
    "of another range than [0, 1], such as [0, 255]."
)


def is_at_chance(correct: int, total: int, classes: int) -> bool:
    """Whether so many correct clean images are no more than guessing may give."""
    return total > 0 and wilson(correct, total)[0] <= 1 / classes


def _of_record(record: Record) -> Iterator[Flag]:
    where = f"{record['attack']} on {record['target']}"
    if record["setting"] != "white-box":
        return
    if record["goal"] == MINIMAL_NORM and record["correct"] and not _bounded(record):
        yield _flag(
            "unbounded attack fails",
            where,
            f"{record['correct']} images are never fooled by an attack without "
            "a bound: its iterations may be too few, the model random or its "
            "gradients masked",
        )
    if record["fooled"] == 0 and record["clean_correct"] and record["eps"]:
        yield _flag(
            "attack without effect",
            where,
            f"no image is fooled at eps {record['eps_text']}",
        )


def _bounded(record: Record) -> bool:
    return any(
        record["params"].get(name, value) != value for name, value in _UNBOUNDED.items()
    )


def _not_monotone(records: Iterable[Record]) -> list[Flag]:
    """Accuracy that grows with eps: a larger ball holds the smaller one."""
    series: dict[tuple, list[Record]] = {}
    for record in records:
        if record["eps"] is not None:
            key = (
                record["target"],
                record["source"],
                record["attack"],
                record["setting"],
                record["num_examples"],
            )
            series.setdefault(key, []).append(record)
    return [flag for key, points in series.items() for flag in _rises(key, points)]


def _rises(key: tuple, points: list[Record]) -> Iterator[Flag]:
    target, source, attack = key[:3]
    points = sorted(points, key=lambda record: record["eps"] or 0.0)
    for low, high in zip(points, points[1:]):
        if high["accuracy"] > low["accuracy"] + _SLACK:
            yield _flag(
                "accuracy grows with eps",
                f"{attack} of {source} on {target}",
                f"{100 * low['accuracy']:.1f} % at eps {low['eps_text']}, "
                f"{100 * high['accuracy']:.1f} % at {high['eps_text']}, although the "
                "larger ball holds the smaller one",
            )


def _transfer_beats_white_box(
    records: Iterable[Record], per_example: PerExample
) -> list[Flag]:
    """Images that another model's examples fool, but not the model's own attack."""
    own = {
        (r["target"], r["attack"], r["eps"]): r
        for r in records
        if r["setting"] == "white-box"
    }
    found = []
    for record in records:
        white_box = own.get((record["target"], record["attack"], record["eps"]))
        if record["setting"] != "transfer" or white_box is None:
            continue
        resists = correct_by_index(per_example, white_box["key"]) or {}
        transferred = correct_by_index(per_example, record["key"]) or {}
        shared = {i: ok for i, ok in transferred.items() if resists.get(i)}
        beaten = list(shared.values()).count(False)
        if beaten > max(1, 0.01 * record["num_examples"]):
            found.append(
                _flag(
                    "transfer beats white-box",
                    f"{record['attack']} on {record['target']}",
                    f"{beaten} of {len(shared)} images that resist the model's own "
                    f"attack fall to examples of {record['source']}",
                )
            )
    return found


def _flag(flag: str, where: str, detail: str) -> Flag:
    return {"flag": flag, "where": where, "detail": detail}
