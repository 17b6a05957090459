"""The one runner: an attack on a batch, whose finished images leave it.

Direct calls, arrays (`craft`) and sequences all come here. Between two blocks of
iterations an attack gives up its finished images: the batch shrinks to the next of a
few fixed sizes, and images of two batches never meet. Of a sequence each attack gets
only the images that are still robust. Inside a tf.function, where sizes cannot depend
on values, every row stays until all are done.
"""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.model_fn import num_classes
from tf_advdefense.attacks.core.state import select
from tf_advdefense.images import padded


class Outcome(NamedTuple):
    """What became of the images of a batch."""

    images: tf.Tensor  # float32 [n, h, w, c]: finite, without gradient
    fooled: tf.Tensor  # bool [n]: as far as the attack itself knows
    forwards: tf.Tensor  # int [n]: forward passes taken
    backwards: tf.Tensor  # int [n]


def run(
    attack: Any,
    model_fn: ModelFn,
    x: tf.Tensor,
    y: tf.Tensor,
    keys: tf.Tensor,
    task: Any,
    count: int | None = None,
    report: Callable[[int, np.ndarray], None] = lambda done, fooled: None,
) -> Outcome:
    """The adversarial images of a batch, and the passes that each has taken.

    Args:
      attack: an `Attack`.
      model_fn: of `model_fn.inference`.
      x, y, keys: images, labels or targets and draw keys, checked; `[n, ...]`.
      task: an `attack.Task`.
      count: how many images come before padding; None for all.
      report: called with the number of images done and with which are fooled, bool
        `[count]`.
    """
    rows = _Rows(model_fn, x, y, keys)
    eager = tf.executing_eagerly()
    if eager and not len(x):
        return Outcome(
            x, *(tf.zeros([0], kind) for kind in (tf.bool, "int32", "int32"))
        )
    if attack.parts is not None:
        sequence = _sequence if eager else _traced_sequence
        parts = attack.parts(attack.hyper, num_classes(model_fn, x))
        outcome = sequence(parts, rows, task, count, report)
    elif eager:
        outcome = _shrinking(attack, rows, task, count, report)
    else:
        outcome = _traced(attack, rows, task)
    # Where a model overflows in the midst of an attack, values stay clean.
    adv = tf.where(tf.math.is_finite(outcome.images), outcome.images, x)
    return outcome._replace(images=tf.stop_gradient(adv))


class _Rows(NamedTuple):
    model_fn: ModelFn
    x: tf.Tensor
    y: tf.Tensor
    keys: tf.Tensor

    def take(self, which: np.ndarray, size: int) -> "_Rows":
        """These rows, padded to a batch of `size`."""
        kept = padded(which, size)
        return self._replace(
            **{key: tf.gather(getattr(self, key), kept) for key in ("x", "y", "keys")}
        )

    def begin(self, attack: Any, task: Any) -> Any:
        """The attack's state, and its passes where it does all its work at once."""
        state = attack.init(*self, attack.hyper, task)
        if attack.advance is None:
            classes = num_classes(self.model_fn, self.x)
            passes = attack.cost(self.x.shape[1:], classes)
            state = state._replace(progress=state.progress.spend(*passes))
        return state


def _shrinking(attack, rows, task, count, report):
    """Row after row is read off as it is done; the others go on in a smaller batch."""
    total = len(rows.x)
    count = total if count is None else count
    state = rows.begin(attack, task)
    state = _rest(state, tf.range(total) >= count)  # the padding
    sizes, place = batch_sizes(total), np.arange(total)
    adv, results = rows.x.numpy(), np.zeros((3, total), np.int64)
    while True:
        done, fooled, *passes = (part.numpy() for part in state.progress)
        results[:, place] = [fooled & done, *passes]
        working = len(place) - int(np.count_nonzero(done))
        size = min((size for size in sizes if size >= working), default=0)
        if size < len(place):
            adv[place] = attack.finish(state, attack.hyper, task)
            state, place = _shrink(state, place, done, size)
        if not working:
            fooled, *passes = results
            return Outcome(tf.constant(adv), fooled.astype(bool), *passes)
        report(count - working, results[0, :count].astype(bool))
        state = attack.advance(rows.model_fn, state, attack.hyper, task)


def batch_sizes(batch_size: int) -> list[int]:
    """Sixteenths of the batch, of 8 images or more, and none."""
    sixteenths = {batch_size * k // 16 for k in range(1, 16)}
    return [0, batch_size, *(size for size in sixteenths if size >= 8)]


def _shrink(state, place, done, size):
    """Unfinished rows first; finished ones, which stay as they are, fill up."""
    keep = np.argsort(done, kind="stable")[:size]
    return tf.nest.map_structure(lambda v: tf.gather(v, keep), state), place[keep]


def _sequence(parts, rows, task, count, report):
    """Part after part, each on the images that none before it has fooled."""
    total = len(rows.x)
    count = total if count is None else count
    adv, robust = rows.x.numpy(), np.arange(count)
    fooled, passes = np.zeros(total, bool), np.zeros((2, total), np.int64)
    for part in parts:
        size = min(size for size in batch_sizes(total) if size >= len(robust))
        if not size:
            break
        left = rows.take(robust, size)
        found, *taken = (
            np.asarray(each)[: len(robust)]
            for each in run(
                part, left.model_fn, left.x, left.y, left.keys, task, len(robust)
            )
        )
        adv[robust] = found
        fooled[robust], passes[:, robust] = taken[0], passes[:, robust] + taken[1:]
        robust = robust[~taken[0]]
        if len(robust):  # Else whoever asked for the batch knows more.
            report(count - len(robust), fooled[:count])
    return Outcome(tf.constant(adv), fooled, *passes)


def _traced(attack, rows, task, rest=None):
    """All rows stay until all are done; those of `rest` are done from the start."""
    state = rows.begin(attack, task)
    state = state if rest is None else _rest(state, rest)
    if attack.advance is not None:
        (state,) = tf.while_loop(
            lambda state: tf.reduce_any(~state.progress.done),
            lambda state: [attack.advance(rows.model_fn, state, attack.hyper, task)],
            [state],
        )
    _, *progress = state.progress
    return Outcome(attack.finish(state, attack.hyper, task), *progress)


def _traced_sequence(parts, rows, task, count, report):
    outcome = None
    for part in parts:
        before, outcome = (
            outcome,
            _traced(part, rows, task, None if outcome is None else outcome.fooled),
        )
        if before is not None:
            kept = select(before.fooled, before, outcome)
            outcome = kept._replace(
                fooled=before.fooled | outcome.fooled,
                forwards=before.forwards + outcome.forwards,
                backwards=before.backwards + outcome.backwards,
            )
    return outcome


def _rest(state, mask):
    """The state with these rows done."""
    progress = state.progress
    return state._replace(progress=progress._replace(done=progress.done | mask))
