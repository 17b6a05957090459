"""Per-example correctness of a classifier, clean and under attack, with intervals.

    fields, arrays = under_attack(model, make_attack("cw"), data.test.take(128))
    fields["correct"], fields["interval"], arrays["l2"]

Every measurement is a dict of fields of `records.Record` and a dict of per-example
arrays. Robust accuracy counts the images that are classified correctly clean *and*
attacked.
"""

from collections.abc import Callable
import time
from typing import Any
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.core.model_fn import predict
from tf_advdefense.attacks.core.model_fn import served
from tf_advdefense.datasets import Split
from tf_advdefense.evaluation import signs
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.images import NORMS
from tf_advdefense.images import as_float
from tf_advdefense.images import padded

Arrays = dict[str, np.ndarray]
Measured = tuple[dict[str, Any], Arrays]
Crafting = Callable[..., Arrays]  # `craft`, or what remembers what it made
# Of several models, the mean of their log-probabilities; see `core.model_fn`.
ModelFn: TypeAlias = keras.Model | Callable[[tf.Tensor], tf.Tensor] | list[keras.Model]


def classify(model: ModelFn, images: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """Predicted classes, int64 [n], in inference mode and one compiled shape.

    Args:
      model: `keras.Model` or function to logits.
      images: uint8, or float32 in [0, 1], [n, height, width, channels].
      batch_size: the last batch is padded to it.
    """
    return _in_batches(predict, model, images, batch_size)


def least_likely(
    model: ModelFn, images: np.ndarray, batch_size: int = 128
) -> np.ndarray:
    """The class of the smallest logit, int64 [n]: a demanding target."""
    return _in_batches(_least_likely, model, images, batch_size)


@tf.function(autograph=False)
def _least_likely(model_fn: Callable, images: tf.Tensor) -> tf.Tensor:
    return tf.argmin(model_fn(images), axis=1)


def _in_batches(
    function: Callable, model: ModelFn, images: np.ndarray, batch_size: int
) -> np.ndarray:
    model_fn = served(model)
    batches = (
        as_float(images[start : start + batch_size])
        for start in range(0, len(images), batch_size)
    )
    return np.concatenate(
        [
            function(model_fn, padded(batch, batch_size)).numpy()[: len(batch)]
            for batch in batches
        ]
    )


def measure(
    label: np.ndarray,
    clean_prediction: np.ndarray,
    prediction: np.ndarray,
    distances: Arrays | None = None,
) -> Measured:
    """The fields and arrays of a measurement, from predictions before and after.

    Args:
      label, clean_prediction, prediction: int [n].
      distances: None for clean images, or {"l0", "l1", "l2", "linf"}: float [n];
        means and medians are over the fooled: right when clean, wrong when attacked.

    Returns:
      (fields of `records.Record`, {"clean_ok", "ok": bool [n], and the norms}).
    """
    clean_ok = clean_prediction == label
    ok = clean_ok & (prediction == label)
    fooled = clean_ok & ~ok
    distances = distances or {}
    fields = {
        "num_examples": len(label),
        "clean_correct": int(clean_ok.sum()),
        "correct": int(ok.sum()),
        "accuracy": float(ok.mean()),
        "interval": list(wilson(int(ok.sum()), len(label))),
        "fooled": int(fooled.sum()),
        **_statistics("mean", np.mean, distances, fooled),
        **_statistics("median", np.median, distances, fooled),
    }
    kept: Arrays = {
        norm: np.asarray(distances[norm], np.float32)
        for norm in NORMS
        if norm in distances
    }
    return fields, {"clean_ok": clean_ok, "ok": ok, **kept}


def _statistics(
    name: str, function: Callable, distances: Arrays, fooled: np.ndarray
) -> dict[str, float | None]:
    return {
        f"{name}_{norm}": float(function(distances[norm][fooled]))
        if norm in distances and fooled.any()
        else None
        for norm in NORMS
    }


def _measure_examples(examples: Arrays) -> Measured:
    return measure(
        examples["label"],
        examples["clean_prediction"],
        examples["prediction"],
        {norm: examples[norm] for norm in NORMS},
    )


def on_clean(model: ModelFn, split: Split, batch_size: int = 128) -> Measured:
    """Accuracy on clean images; see `measure` for what is returned."""
    started = time.perf_counter()
    prediction = classify(model, split.images, batch_size)
    fields, arrays = measure(split.labels, prediction, prediction)
    fields["signs"] = {"untrained": signs.is_untrained(model)}
    arrays["label"] = split.labels.astype(np.int32)
    return _timed(fields, started), {**arrays, "index": split.index}


def on_set(
    model: ModelFn,
    examples: Arrays,
    clean_images: np.ndarray,
    batch_size: int = 128,
    attacked: ModelFn | None = None,
    of_parent: bool = False,
) -> Measured:
    """Accuracy on an adversarial set made for whichever model.

    Args:
      examples: the arrays of `adversarial_sets.read_arrays`.
      clean_images: uint8 [n, ...], the images that the set was made from, in its order.
      attacked: for a set that was made on this model, what was climbed: the model, or
        what stood in its place. Its `signs` are gathered, then.
      of_parent: whether it was made on the parent of this deployed model. Its `signs`
        tell how far the two agree, then; see `transferred`.
    """
    started = time.perf_counter()
    seen = _seen_by(model, examples, clean_images, batch_size)
    fields, arrays = _measure_examples(seen)
    found = signs.over_draws(model, seen, clean_images, batch_size)
    if attacked is not None:
        found |= signs.of_examples(model, attacked, seen, clean_images, batch_size)
    if of_parent:
        found |= signs.agreement(seen, examples)
    if found:
        fields["signs"] = found
    return _timed(fields, started), {**arrays, "index": examples["clean_index"]}


def under_attack(
    model: ModelFn,
    attack: Attack,
    split: Split,
    batch_size: int = 128,
    seed: int = 0,
    progress: Callable[[int, int, int], None] | None = None,
    attacked: ModelFn | None = None,
    crafting: Crafting = craft,
) -> Measured:
    """White-box accuracy: `attack` on the model itself, leaving the true labels.

    Args:
      progress: called with the numbers of images done, of all, and of the fooled.
      attacked: the model to craft on, where it is not `model`: for an oblivious attack,
        `transforms.without_transforms(model)`.
      crafting: makes the examples, as `craft` does.

    `forwards` and `backwards` in the fields are the mean passes taken per image.
    """

    def signs_of(seen: Arrays, examples: Arrays) -> Any:
        found = signs.of_examples(
            model, attacked or model, seen, split.images, batch_size, attack
        )
        return found | signs.over_draws(model, seen, split.images, batch_size)

    settings = {"batch_size": batch_size, "seed": seed, "progress": progress}
    crafted_on = attacked or model
    return _crafted(model, crafted_on, attack, split, crafting, signs_of, **settings)


def transferred(
    model: ModelFn,
    parent: ModelFn,
    attack: Attack,
    split: Split,
    batch_size: int = 128,
    seed: int = 0,
    progress: Callable[[int, int, int], None] | None = None,
    crafting: Crafting = craft,
) -> Measured:
    """Accuracy of a deployed model on examples of `attack`, white-box on its parent.

    Args:
      model: what is scored.
      parent: what is attacked.
      attack, split, batch_size, seed, progress, crafting: as of `under_attack`.

    `signs` tell on how many images the two predict alike, when clean and when attacked;
    passes are those of the attack.
    """
    settings = {"batch_size": batch_size, "seed": seed, "progress": progress}
    signs_of = signs.agreement
    return _crafted(model, parent, attack, split, crafting, signs_of, **settings)


def _crafted(
    model: ModelFn,
    attacked: ModelFn,
    attack: Attack,
    split: Split,
    crafting: Crafting,
    signs_of: Callable[[Arrays, Arrays], Any],
    **settings: Any,
) -> Measured:
    """A model on examples crafted on `attacked`, which may be another.

    `signs_of` is given the examples as `model` sees them, and as they were crafted.
    """
    started = time.perf_counter()
    images = split.images
    examples = crafting(attacked, attack, images, split.labels, split.index, **settings)
    seen = examples
    if attacked is not model:
        seen = _seen_by(model, examples, images, settings["batch_size"])
    fields, arrays = _measure_examples(seen)
    fields["signs"] = signs_of(seen, examples)
    return _live(fields, arrays, examples, started)


def _seen_by(
    model: ModelFn, examples: Arrays, clean_images: np.ndarray, batch_size: int
) -> Arrays:
    """The examples with what this model makes of them and of their clean copies."""
    return {
        **examples,
        "clean_prediction": classify(model, clean_images, batch_size),
        "prediction": classify(model, examples["image"], batch_size),
    }


def _live(
    fields: dict[str, Any], arrays: Arrays, examples: Arrays, started: float
) -> Measured:
    """A measurement with the passes of the attack that was run for it."""
    passes = {key: float(examples[key].mean()) for key in ("forwards", "backwards")}
    arrays["passes"] = (examples["forwards"] + examples["backwards"]).astype(np.int32)
    index = examples["clean_index"]
    return _timed({**fields, **passes}, started), {**arrays, "index": index}


def _timed(fields: dict[str, Any], started: float) -> dict[str, Any]:
    seconds = round(time.perf_counter() - started, 1)
    absent = {"forwards": 0, "backwards": 0, "signs": None}
    return {**absent, **fields, "seconds": seconds}
