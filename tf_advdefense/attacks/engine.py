"""Runs any attack over arrays, batch by batch, in shapes that never vary.

    for batch in craft_batches(model, make_attack("cw"), images, labels):
        print(batch["clean_index"], batch["prediction"], batch["l2"])
    passes, seconds = estimate(model, make_attack("cw"), images, batch_size=128)

Images are uint8 or float32 in [0, 1], `[n, height, width, channels]`, in any array that
slices like NumPy's; 8-bit images become float32 one batch at a time. Batches are cut at
multiples of `batch_size` from the array's start and the last one is padded by repeating
its first image: nothing is traced after the first batch, and arrays that begin at
such a multiple of a longer one give the same bytes as the longer one.

An attack with stages (`init`, `advance`, `finish`) gives up its finished images between
two blocks of iterations: the batch shrinks to the next of a few fixed sizes, and
images of two batches never meet.
"""

import time

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.contract import check_inputs
from tf_advdefense.attacks.contract import compute_gradient
from tf_advdefense.attacks.contract import cross_entropy
from tf_advdefense.attacks.contract import inference
from tf_advdefense.attacks.contract import predict


def craft_batches(
    model_fn,
    attack,
    images,
    labels,
    index=None,
    *,
    targets=None,
    attack_labels="true",
    batch_size=128,
    clip_min=0.0,
    clip_max=1.0,
    seed=0,
    progress=None,
):
    """Yields the adversarial examples of one batch after the other.

    Args:
      model_fn: a keras.Model, or a function, from images to logits.
      attack: an `Attack`.
      images: uint8 or float32 `[n, height, width, channels]`.
      labels: int `[n]`, the true classes.
      index: int `[n]`, the images' indices in their data set, by default their
        positions; random draws depend on them.
      targets: int `[n]`, the classes to reach; None for an untargeted attack.
      attack_labels: "true" or "predicted", the labels an untargeted attack leaves.
      progress: called with the numbers of images done, of all images, and of images
        that fooled the model so far.

    Yields:
      dicts of arrays with a row per image: `image` (float32, adversarial), `label`,
      `clean_index`, `clean_prediction` and `prediction` (int64), the perturbation's
      `l0` (changed values), `l1`, `l2` and `linf` (float32), and `passes` (int64,
      the input gradients taken).

    Raises:
      ValueError: in one line, for arrays that do not fit together or values out of
        range.
    """
    model_fn = inference(model_fn)
    total, fooled = len(images), 0
    index = np.arange(total) if index is None else np.asarray(index)
    _check_rows(total, labels=labels, index=index, targets=targets)
    settings = dict(targeted=targets is not None, clip_min=clip_min, clip_max=clip_max)
    for start in range(0, total, batch_size):
        rows = slice(start, min(start + batch_size, total))
        count = rows.stop - start
        x = _padded(_as_float(images[rows]), batch_size)
        clean_prediction = predict(model_fn, x)
        y = _goal(clean_prediction, labels[rows], targets, rows, attack_labels)
        y = _padded(y, batch_size)
        report = _reporter(progress, start, total, fooled)
        adv, passes = _run(
            model_fn,
            attack,
            x,
            y,
            _padded(index[rows], batch_size),
            count,
            seed,
            settings,
            report,
        )
        prediction = predict(model_fn, adv)
