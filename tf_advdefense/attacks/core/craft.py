"""Runs any attack over arrays, batch by batch, in shapes that never vary.

    for batch in craft_batches(model, make_attack("cw"), images, labels):
        print(batch["clean_index"], batch["prediction"], batch["l2"])
    seconds = estimate(make_attack("cw"), len(images), time_passes(model, images))

Images are uint8 or float32 in [0, 1], `[n, height, width, channels]`, in any array that
slices like NumPy's; 8-bit images become float32 one batch at a time. Batches are cut at
multiples of `batch_size` from the array's start and the last one is padded by repeating
its first image: nothing is traced after the first batch, and arrays that begin at
such a multiple of a longer one give the same bytes as the longer one.

Within a batch, finished images leave, in `driver`.
"""

import functools
import time

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core.batch import run
from tf_advdefense.attacks.core.gradient_check import compute_gradient
from tf_advdefense.attacks.core.gradient_check import cross_entropy
from tf_advdefense.attacks.core.inputs import check_inputs
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.attacks.core.model_fn import predict
from tf_advdefense.attacks.core.model_fn import served
from tf_advdefense.images import as_float
from tf_advdefense.images import norms
from tf_advdefense.images import padded


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
      `l0` (changed values), `l1`, `l2` and `linf` (float32), and `forwards` and
      `backwards` (int64, the passes taken).

    Raises:
      ValueError: in one line, for arrays that do not fit together or values out of
        range.
    """
    index = np.arange(len(images)) if index is None else np.asarray(index)
    _check_arrays(images, attack_labels, labels=labels, index=index, targets=targets)
    settings = dict(targeted=targets is not None, clip_min=clip_min, clip_max=clip_max)
    logits_fn, served_fn = inference(model_fn), served(model_fn)
    fooled = 0
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        clean = as_float(images[rows])
        pad = functools.partial(padded, batch_size=batch_size)

        def report(done, fooled, before=fooled, start=start):
            if progress is not None:
                progress(start + done, len(images), before + fooled)

        clean_prediction = predict(served_fn, pad(clean)).numpy()[: len(clean)]
        goal = labels[rows] if attack_labels == "true" else clean_prediction
        goal = goal if targets is None else targets[rows]
        batch = (pad(clean), pad(goal), pad(index[rows]))
        adv, *passes = run(logits_fn, attack, batch, len(clean), seed, settings, report)
        prediction = predict(served_fn, adv).numpy()[: len(clean)]
        adv = adv[: len(clean)]
        reached = prediction == goal
        count = int(np.sum(reached if targets is not None else ~reached))
        report(len(clean), count)
        fooled += count
        yield {
            "image": adv,
            "label": np.asarray(labels[rows], np.int64),
            "clean_index": np.asarray(index[rows], np.int64),
            "clean_prediction": clean_prediction,
            "prediction": prediction,
            **norms(adv, clean),
            "forwards": passes[0][: len(clean)],
            "backwards": passes[1][: len(clean)],
        }


def craft(model_fn, attack, images, labels, index=None, **settings):
    """`craft_batches` in one dict of arrays, for as many images as memory holds."""
    batches = list(craft_batches(model_fn, attack, images, labels, index, **settings))
    return {key: np.concatenate([b[key] for b in batches]) for key in batches[0]}


def time_passes(model_fn, images, *, batch_size=128, gradient=True):
    """Seconds of a batch's forward pass and of its input gradient, compiled.

    Each is timed after a first, untimed call; without `gradient`, which a model may
    lack, the second is 0.

    Raises:
      ValueError: in one line, for a model without the gradient.
    """
    x = tf.constant(padded(as_float(images[:batch_size]), batch_size))
    logits_fn = inference(model_fn)
    x, y, _ = check_inputs(logits_fn, x, None, False, 0.0, 1.0, None, gradient)
    forward = _second_call(lambda: predict(logits_fn, x))
    if not gradient:
        return forward, 0.0
    return forward, _second_call(
        lambda: compute_gradient(logits_fn, cross_entropy, x, y, False)
    )


def _second_call(function):
    function()
    start = time.perf_counter()
    function().numpy()
    return time.perf_counter() - start


def estimate(attack, num_images, seconds, *, batch_size=128):
    """The seconds that an attack takes at most, by `seconds` of `time_passes`.

    Attacks that stop per image mostly need much less.
    """
    forwards, backwards = attack.passes
    batches = -(-num_images // batch_size)
    return batches * (
        backwards * seconds[1] + max(0, forwards - backwards) * seconds[0]
    )


def _check_arrays(images, attack_labels, **columns):
    if attack_labels not in ("true", "predicted"):
        raise ValueError(
            "`attack_labels` must be 'true' or 'predicted'. "
            f"Received: attack_labels={attack_labels!r}."
        )
    for name, column in columns.items():
        if column is not None and np.shape(column) != (len(images),):
            raise ValueError(
                f"`{name}` must have one entry per image. Received: shape "
                f"{np.shape(column)} for {len(images)} images."
            )
