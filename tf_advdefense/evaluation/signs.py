"""Signs that go with a measurement, for `red_flags` to read: `records.Signs`.

    of_examples(model, model, examples, clean_images, batch_size=128)["rounded"]

They cost three forward passes for each attacked image. Those of gradients are `looks`.
"""

from collections.abc import Callable
from collections.abc import Mapping
import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.model_fn import Redrawn
from tf_advdefense.attacks.core.model_fn import compiled_logits
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.attacks.core.model_fn import is_random
from tf_advdefense.attacks.core.model_fn import predict
from tf_advdefense.attacks.core.model_fn import served
from tf_advdefense.evaluation.records import Signs
from tf_advdefense.evaluation.statistics import wilson_of_shares
from tf_advdefense.images import as_float
from tf_advdefense.images import as_grey_levels
from tf_advdefense.images import padded

_DRAWS = 10  # Of a random model, beside those it is scored on.


def is_untrained(model: Any) -> bool:
    """Whether every bias and moving average is as a new model has it.

    Of models that have neither nothing can be said: False.
    """
    if not isinstance(model, keras.Model):
        return False
    initial = {"bias": 0, "beta": 0, "gamma": 1, "moving_mean": 0, "moving_variance": 1}
    values = [
        (np.asarray(weight), initial[weight.name])
        for weight in model.weights
        if weight.name in initial
    ]
    moved = [np.any(value != first) for value, first in values]
    return bool(moved) and not any(moved)


def of_examples(
    model: Any,
    attacked: Any,
    examples: Mapping[str, np.ndarray],
    clean_images: np.ndarray,
    batch_size: int,
    attack: Attack | None = None,
) -> Signs:
    """What examples of a white-box attack tell beyond whether they fool.

    Args:
      model: to be judged.
      attacked: what the attacker climbed: `model`, or what stands in its place.
      examples: of `craft` or `adversarial_sets.read_arrays`: `image`, `label`,
        `clean_prediction` and `prediction`.
      clean_images: uint8 or float32 [n, ...].
      attack: for a sequence, whose parts are told apart by `examples["forwards"]`.
    """
    label, image = examples["label"], examples["image"]
    clean_ok = examples["clean_prediction"] == label
    ok = examples["prediction"] == label
    view = inference(attacked)
    before, after = (
        _log_odds(view, each, label, batch_size) for each in (clean_images, image)
    )
    judge = served(model)
    rounded = right(judge, as_grey_levels(as_float(image)), label, batch_size)
    found: Signs = {
        "still_right": int(ok.sum()),
        "rounded": int((clean_ok & rounded).sum()),
        "raised": int((clean_ok & (after > before)).sum()),
        "missed": int((clean_ok & ok & (after > 0)).sum()),
    }
    if view is judge:  # What looks missed is a tie.
        found["missed"] = 0
    if attack is not None and attack.parts is not None:
        fooled = clean_ok & ~ok
        found["fooled_by"] = _by_part(attack, examples["forwards"][fooled], view, image)
    return found


def over_draws(
    model: Any, examples: Mapping[str, np.ndarray], clean: np.ndarray, batch_size: int
) -> Signs:
    """Of a random model how often an image is right, clean and attacked, over draws.

    Each draw classifies both copies. Empty for a model that does not draw.
    """
    if not is_random(model):
        return {}
    redrawn, shares = Redrawn(model), []
    for number in range(1, _DRAWS + 1):
        judge = redrawn.draw(number)
        both = [
            right(judge, images, examples["label"], batch_size)
            for images in (clean, examples["image"])
        ]
        shares.append(both[0] & both[1])
    each = np.mean(shares, axis=0)
    return {
        "draws": _DRAWS,
        "right_share": float(each.mean()),
        "right_interval": list(wilson_of_shares(each)),
    }


def agreement(
    seen: Mapping[str, np.ndarray], examples: Mapping[str, np.ndarray]
) -> Signs:
    """On how many images a deployed model predicts the same class as its parent.

    Args:
      seen: int `clean_prediction` and `prediction` [n] of the deployed model.
      examples: the same of its parent, on the same images in the same order.
    """
    clean, attacked = (
        int((seen[name] == examples[name]).sum())
        for name in ("clean_prediction", "prediction")
    )
    return {"alike_clean": clean, "alike": attacked}


def _by_part(
    attack: Attack, forwards: np.ndarray, view: ModelFn, images: np.ndarray
) -> dict[str, int]:
    """How many images each part of a sequence fooled, by the passes they took.

    An image leaves with the part that fools it, and each part before has spent all.
    """
    assert attack.parts is not None
    shape = images.shape[1:]
    classes = compiled_logits(view, as_float(images[:1])).shape[-1]
    parts = attack.parts(attack.hyper, classes)
    ends = list(itertools.accumulate(p.cost(shape, classes)[0] for p in parts))
    counts = np.bincount(np.searchsorted(ends, forwards), minlength=len(parts))
    return dict(zip([p.name for p in parts], counts.tolist()))


def _log_odds(
    view: ModelFn, images: np.ndarray, labels: np.ndarray, batch_size: int
) -> np.ndarray:
    """The log odds of all other classes against the label, float32 [n]."""
    return in_batches(
        lambda x, y: losses.log_odds(y, compiled_logits(view, x)),
        images,
        labels,
        batch_size,
    )


def right(
    model_fn: ModelFn, images: np.ndarray, labels: np.ndarray, batch_size: int
) -> np.ndarray:
    """Which images the model classifies rightly, bool [n]."""
    return in_batches(
        lambda x, y: predict(model_fn, x) == y, images, labels, batch_size
    )


def in_batches(
    function: Callable[[tf.Tensor, tf.Tensor], Any],
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
) -> np.ndarray:
    """`function(x, y)`, [batch_size, ...], of all rows; the last batch is padded."""
    found = []
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        x = padded(as_float(images[rows]), batch_size)
        y = padded(np.asarray(labels[rows]), batch_size)
        count = min(batch_size, len(images) - start)
        each = function(tf.constant(x), tf.constant(y, tf.int64))
        found.append(np.asarray(each)[:count])
    return np.concatenate(found)
