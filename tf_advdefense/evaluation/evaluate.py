"""Per-example correctness of a classifier, clean and under attack, with intervals.

    fields, arrays = under_attack(model, make_attack("cw"), data.test.take(128))
    fields["correct"], fields["interval"], arrays["l2"]

Every measurement is a dict of the fields that a record of `artifacts.results` needs,
and a dict of its per-example arrays. Robust accuracy counts the images that are
classified correctly clean *and* attacked.
"""

import time

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import craft as engine
from tf_advdefense.attacks.core.model_fn import predict
from tf_advdefense.attacks.core.model_fn import served
from tf_advdefense.evaluation.records import wilson
from tf_advdefense.images import NORMS
from tf_advdefense.images import as_float
from tf_advdefense.images import padded


def classify(model, images, batch_size=128):
    """Predicted classes, int64 [n], in inference mode and one compiled shape.

    Args:
      model: `keras.Model` to logits.
      images: uint8, or float32 in [0, 1], [n, height, width, channels].
      batch_size: the last batch is padded to it.
    """
    return _in_batches(predict, model, images, batch_size)


def least_likely(model, images, batch_size=128):
    """The class of the smallest logit, int64 [n]: a demanding target."""
    return _in_batches(_least_likely, model, images, batch_size)


@tf.function(autograph=False)
def _least_likely(model_fn, images):
    return tf.argmin(model_fn(images), axis=1)


def _in_batches(function, model, images, batch_size):
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


def measure(label, clean_prediction, prediction, distances=None):
    """The fields and arrays of a measurement, from predictions before and after.

    Args:
      label, clean_prediction, prediction: int [n].
      distances: None for clean images, or {"l0", "l1", "l2", "linf"}: float [n];
        means and medians are over the fooled: right when clean, wrong when attacked.

    Returns:
      (fields of `results.RECORD`, {"clean_ok", "ok": bool [n], and the norms}).
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
    kept = {
        norm: np.asarray(distances[norm], np.float32)
        for norm in ("l1", "l2", "linf")
        if norm in distances
    }
    return fields, {"clean_ok": clean_ok, "ok": ok, **kept}


def _statistics(name, function, distances, fooled):
    return {
        f"{name}_{norm}": float(function(distances[norm][fooled]))
        if norm in distances and fooled.any()
        else None
        for norm in NORMS
    }


def on_clean(model, split, batch_size=128):
    """Accuracy on the clean images of a `datasets.Split`."""
    started = time.perf_counter()
    prediction = classify(model, split.images, batch_size)
    fields, arrays = measure(split.labels, prediction, prediction)
    return _timed(fields, started), {**arrays, "index": split.index}


def on_set(model, examples, clean_images, batch_size=128):
    """Accuracy on an adversarial set made for whichever model.

    Args:
      examples: the arrays of `adversarial_sets.read_arrays`.
      clean_images: uint8 [n, ...], the images that the set was made from, in its order.
    """
    started = time.perf_counter()
    fields, arrays = measure(
        examples["label"],
        classify(model, clean_images, batch_size),
        classify(model, examples["image"], batch_size),
        {norm: examples[norm] for norm in NORMS},
    )
    return _timed(fields, started), {**arrays, "index": examples["clean_index"]}


def under_attack(
    model, attack, split, batch_size=128, seed=0, progress=None, attacked=None
):
    """White-box accuracy: `attack` on the model itself, leaving the true labels.

    Args:
      attacked: the model to craft on, where it is not `model`: for an oblivious attack,
        `transforms.without_transforms(model)`.

    `forwards` and `backwards` in the fields are the mean passes taken per image.
    """
    started = time.perf_counter()
    examples = engine.craft(
        attacked or model,
        attack,
        split.images,
        split.labels,
        split.index,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
    )
    if attacked is not None:
        examples["clean_prediction"] = classify(model, split.images, batch_size)
        examples["prediction"] = classify(model, examples["image"], batch_size)
    fields, arrays = measure(
        examples["label"],
        examples["clean_prediction"],
        examples["prediction"],
        {norm: examples[norm] for norm in NORMS},
    )
    passes = {key: float(examples[key].mean()) for key in ("forwards", "backwards")}
    return _timed({**fields, **passes}, started), {**arrays, "index": split.index}


def _timed(fields, started):
    seconds = round(time.perf_counter() - started, 1)
    return {"forwards": 0, "backwards": 0, **fields, "seconds": seconds}
