"""Runs an attack on one padded batch, in a few fixed shapes that shrink.

An attack with stages (`init`, `advance`, `finish`) gives up its finished images between
two blocks of iterations: the batch shrinks to the next of a few fixed sizes, and
images of two batches never meet. A sequence of attacks gives each only the images that
are still robust. `engine` cuts the batches.
"""

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core.inputs import check_inputs
from tf_advdefense.images import padded


def run(model_fn, attack, batch, count, seed, settings, report):
    """A padded batch's adversarial images, and the passes that each has taken.

    Args:
      model_fn: of `model_fn.inference`.
      attack: an `Attack`.
      batch: images float32 `[n, ...]`, labels or targets and indices int `[n]`.
      count: how many images come before the padding.
      settings: `targeted`, `clip_min` and `clip_max`.
      report: called with the numbers of images done and, among them, of the fooled.

    Returns:
      arrays: images, forward and backward passes.
    """
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
                model_fn, part, rest, len(robust), seed, settings, lambda *_: None
            )
        )
        adv[robust] = found
        passes[:, robust] += taken
        robust = robust[~fooled]
        report(count - len(robust), count - len(robust))
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
        finished = state["done"].numpy()
        working = len(rows) - int(np.count_nonzero(finished))
        size = min((size for size in sizes if size >= working), default=0)
        for key, values in results.items():
            values[rows] = state[key] & finished if key == "fooled" else state[key]
        if size < len(rows):
            adv[rows] = attack.stages.finish(state, settings)
            state, rows = _shrink(state, rows, size)
        if not working:
            return adv, *results.values()
        report(count - working, int(np.sum(results["fooled"][:count])))
        state = attack.stages.advance(model_fn, state, settings)


def _batch_sizes(batch_size):
    """Sixteenths of the batch, of 8 images or more, and none."""
    sixteenths = {batch_size * k // 16 for k in range(1, 16)}
    return [0, batch_size, *(size for size in sixteenths if size >= 8)]


def _shrink(state, rows, size):
    """Unfinished images first; finished ones, which stay as they are, fill up."""
    keep = np.argsort(state["done"].numpy(), kind="stable")[:size]
    return {key: tf.gather(value, keep) for key, value in state.items()}, rows[keep]
