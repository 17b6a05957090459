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
images of two batches never meet. An attack that is a sequence of such hands the images
that a part has not fooled to the next one.
"""

import functools
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
    x

    Raises:
      ValueError: in one line, for arrays that do not fit together or values out of
        range.
    """
    index = np.arange(len(images)) if index is None else np.asarray(index)
    _check_arrays(images, attack_labels, labels=labels, index=index, targets=targets)
    settings = dict(targeted=targets is not None, clip_min=clip_min, clip_max=clip_max)
    logits_fn = inference(model_fn)
    fooled = 0
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        clean = as_float(images[rows])
        pad = functools.partial(padded, batch_size=batch_size)

        def report(done, fooled=fooled, start=start):
            if progress is not None:
                progress(start + done, len(images), fooled)

        clean_prediction = predict(logits_fn, pad(clean)).numpy()[: len(clean)]
        goal = labels[rows] if attack_labels == "true" else clean_prediction
        goal = goal if targets is None else targets[rows]
        batch = (pad(clean), pad(goal), pad(index[rows]))
        adv, *passes = _run(logits_fn, attack, batch, len(clean), seed, settings, report)
        prediction = predict(logits_fn, adv).numpy()[: len(clean)]
        adv = adv[: len(clean)]
        reached = prediction == goal
        fooled += int(np.sum(reached if targets is not None else ~reached))
        report(len(clean), fooled)
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


def estimate(model_fn, attack, images, *, batch_size=128):
    """`(passes, seconds)` that an attack on all `images` takes at most.

    `passes` are forward and backward passes per image. One batch's compiled gradient
    and, for attacks that go forward more often than back, its forward pass are timed
    after a first, untimed call; attacks that stop per image mostly need much less.

    Raises:
      ValueError: in one line, for a model without the gradients that it needs.
    """
    x = tf.constant(padded(as_float(images[:batch_size]), batch_size))
    logits_fn = inference(model_fn)
    x, y, _ = check_inputs(
        logits_fn, x, None, False, 0.0, 1.0, None, gradient=attack.function.gradient
    )
    forwards, backwards = attack.passes
    seconds = backwards and backwards * _timed(
        lambda: compute_gradient(logits_fn, cross_entropy, x, y, False)
    )
    if forwards > backwards:
        seconds += (forwards - backwards) * _timed(lambda: predict(logits_fn, x))
    return attack.passes, seconds * -(-len(images) // batch_size)


def _timed(function):
    """The seconds of a second call."""
    function()
    start = time.perf_counter()
    function().numpy()
    return time.perf_counter() - start


def norms(adv, clean):
    """`l0` (changed values), `l1`, `l2` and `linf` of perturbations, float32 `[n]`."""
    eta = np.abs(adv.astype(np.float64) - clean).reshape(len(adv), -1)
    values = {
        "l0": np.sum(eta > 0, axis=1),
        "l1": np.sum(eta, axis=1),
        "l2": np.sqrt(np.sum(eta**2, axis=1)),
        "linf": np.max(eta, axis=1),
    }
    return {name: value.astype(np.float32) for name, value in values.items()}


def _run(model_fn, attack, batch, count, seed, settings, report):
    """A padded batch's adversarial images, and the passes that each has taken."""
    if attack.parts:
        return _run_parts(model_fn, attack, batch, count, seed, settings, report)
    if attack.stages is not None:
        return _run_stages(model_fn, attack, batch, count, seed, settings, report)[:3]
    x, y, index = batch
    adv = attack(model_fn, x, y, seed=seed, index=index, **settings)
    return adv.numpy(), *(np.full(len(x), passes) for passes in attack.passes)


def _run_parts(model_fn, attack, batch, count, seed, settings, report):
    """Part after part, each on the images that none before it has fooled."""
    adv, robust = batch[0].copy(), np.arange(count)
    passes = np.zeros((2, len(adv)), np.int64)
    for part in attack.parts:
        size = min(size for size in _batch_sizes(len(adv)) if size >= len(robust))
        if not size:
            break
        rest = [padded(column[robust], size) for column in batch]
        found, *taken, fooled = (
            each[: len(robust)]
            for each in _run_stages(
                model_fn, part, rest, len(robust), seed, settings, lambda done: None
            )
        )
        adv[robust] = found
        passes[:, robust] += taken
        robust = robust[~fooled]
        report(count - len(robust))
    return adv, *passes


def _run_stages(model_fn, attack, batch, count, seed, settings, report):
    """The images, their forward and backward passes, and which of them fool."""
    x, y, index = check_inputs(
        model_fn,
        *batch[:2],
        index=batch[2],
        gradient=attack.function.gradient,
        **settings,
    )
    settings = {**attack.hyper, **settings}
    state = attack.stages.init(model_fn, x, y, seed, index, settings)
    state["done"] |= tf.range(len(x)) >= count  # the padding
    sizes = _batch_sizes(len(x))
    rows, adv = np.arange(len(x)), x.numpy()
    results = {key: np.zeros(len(x), np.int64) for key in ("forwards", "backwards")}
    results["fooled"] = np.zeros(len(x), bool)
    while True:
        working = len(rows) - int(np.count_nonzero(state["done"]))
        size = min((size for size in sizes if size >= working), default=0)
        if size < len(rows):
            adv[rows] = attack.stages.finish(state, settings)
            for key in results:
                results[key][rows] = state[key]
            if working:  # the end is reported with the final count of the fooled
                report(count - working)
            state, rows = _shrink(state, rows, size)
        if not working:
            return adv, *results.values()
        state = attack.stages.advance(model_fn, state, settings)


def _batch_sizes(batch_size):
    """The shapes that are compiled: halves of the batch, down to 8 images, and none."""
    halves = [batch_size >> k for k in range(batch_size.bit_length())]
    return [0, batch_size] + [half for half in halves if half >= 8]


def _shrink(state, rows, size):
    """Unfinished images first; finished ones, which stay as they are, fill up."""
    keep = np.argsort(state["done"].numpy(), kind="stable")[:size]
    return {key: tf.gather(value, keep) for key, value in state.items()}, rows[keep]


def as_float(images):
    """uint8 or float images as float32 in [0, 1]."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images / np.float32(255)
    return images.astype(np.float32, copy=False)


def padded(rows, batch_size):
    """`rows` filled up to `batch_size` by repeating the first: one compiled shape."""
    missing = batch_size - len(rows)
    return np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)])


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
