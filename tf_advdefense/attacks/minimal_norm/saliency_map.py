"""The saliency map attack (JSMA): few values, changed as far as they go.

    adv = jsma(model, images, targets, targeted=True)
    adv = jsma(model, images, labels, theta=-1.0, gamma=0.1)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; a feature
is one of their height x width x channels values. The result is the first image found
that fools the model, and the image itself where none was.

The original compares all pairs of features at once: a matrix of features x features
per image. `best_pair` finds the same pair from the few features that can be in it.
"""

from collections.abc import Sequence
import math
from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.attack import Passes
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.state import Progress
from tf_advdefense.attacks.core.state import begin
from tf_advdefense.attacks.core.state import compiled
from tf_advdefense.attacks.core.state import loop
from tf_advdefense.attacks.core.state import select
from tf_advdefense.attacks.core.state import where

_SPAN = 5  # iterations of a compiled block: 15 passes


class Hyper(NamedTuple):
    """Papernot et al. 2015 (arXiv:1511.07528), algorithms 2 and 3.

    Each iteration changes the pair of features that raises the target's logit and
    lowers the sum of all other logits by the largest product, both by `theta`, clipped
    to the bounds; each feature once, until the model is fooled.

    The paper and CleverHans 3 know targets only, and CleverHans draws one where none is
    given. Here an untargeted attack aims at the class that is the likeliest beside the
    label, chosen anew in each iteration, and ends when the model leaves the label.
    Different from CleverHans besides: an image without an admissible pair is given up
    (there, its first value moves on, twice as far); a negative `theta` lowers features,
    as in the paper (there, it raises them beyond the bounds); images that were not
    fooled come back unchanged; and of pairs with equal products another one may be
    chosen.

    Attributes:
      theta: the change of each chosen feature; a negative one lowers features.
      gamma: the largest share of the features to change, in (0, 1].
    """

    theta: float = 1.0
    gamma: float = 1.0


class State(NamedTuple):
    image: tf.Tensor  # float32 [n, h, w, c]
    label: tf.Tensor  # int64 [n]
    changed: tf.Tensor  # float32 [n, h, w, c]
    free: tf.Tensor  # bool [n, h * w * c]: features that may still be changed
    iteration: tf.Tensor  # int32 [n]
    progress: Progress


def init(
    model_fn: ModelFn,
    x: tf.Tensor,
    y: tf.Tensor,
    keys: tf.Tensor,
    hyper: Hyper,
    task: Task,
) -> State:
    """The state before the first iteration; `y` the labels, or the targets."""
    rising = hyper.theta > 0
    room = x < task.clip_max if rising else x > task.clip_min
    return State(
        image=x,
        label=y,
        changed=x,
        free=tf.reshape(room, [-1, x.shape[1:].num_elements()]),
        iteration=tf.zeros(tf.shape(x)[:1], tf.int32),
        progress=begin(x),
    )


@compiled
def advance(model_fn: ModelFn, state: State, hyper: Hyper, task: Task) -> State:
    """Runs a block of iterations on every image; rows that are `done` keep theirs."""
    return loop(lambda state: _iterate(model_fn, state, hyper, task), state, _SPAN)


def finish(state: State, hyper: Hyper, task: Task) -> tf.Tensor:
    """The fooling image of each row, or the row's own image."""
    return where(state.progress.fooled, state.changed, state.image)


def _iterate(model_fn, state, hyper, task):
    logits, gain, harm = _saliencies(model_fn, state, hyper, task)
    fooled = losses.is_fooled(logits, state.label, task.targeted)
    size = state.free.shape[1]
    # The last iteration only asks the model about the last change.
    last = state.iteration >= int(size * hyper.gamma / 2)
    free = state.free & ~(fooled | last | state.progress.done)[:, None]
    sign = 1.0 if hyper.theta > 0 else -1.0
    pair, found = best_pair(sign * gain, -sign * harm, free)
    chosen = tf.reduce_any(tf.one_hot(pair, size, True, False), axis=1)
    chosen &= found[:, None]
    progress = state.progress.spend(forwards=1, backwards=2)
    new = state._replace(
        changed=_change(state.changed, chosen, hyper, task),
        free=state.free & ~chosen,
        iteration=state.iteration + 1,
        progress=progress._replace(fooled=fooled, done=~found),
    )
    return select(state.progress.done, state, new)


def _saliencies(model_fn, state, hyper, task):
    """The logits, and the gradients of the target's and of the sum of all others.

    Both gradients are `[n, features]`: two backward passes, whatever the classes.
    """
    with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:
        tape.watch(state.changed)
        logits = model_fn(state.changed)
    target = state.label
    if not task.targeted:
        own = tf.one_hot(target, logits.shape[-1], True, False)
        target = tf.argmax(tf.where(own, logits.dtype.min, logits), axis=1)
    target = tf.one_hot(target, logits.shape[-1], dtype=logits.dtype)
    gain, harm = (
        tape.gradient(logits, state.changed, output_gradients=classes)
        for classes in (target, 1 - target)
    )
    flat = [-1, state.free.shape[1]]
    return logits, tf.reshape(gain, flat), tf.reshape(harm, flat)


def _change(images, chosen, hyper, task):
    moved = tf.clip_by_value(images + hyper.theta, task.clip_min, task.clip_max)
    return tf.where(tf.reshape(chosen, tf.shape(images)), moved, images)


def best_pair(
    a: tf.Tensor, b: tf.Tensor, free: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The pair of free features with the largest product of sums, both positive.

    Maximises (a_p + a_q) * (b_p + b_q) exactly, without a features x features matrix.
    The product grows with all four. Where two features are at least as good as p in
    both a and b, one of them may take p's place beside q: so both p and q can be sought
    among the features of which fewer than two precede them in the order of a with no
    smaller b. These candidates are a handful where a and b are unrelated or rise
    together, and at worst all; each of them is compared with all features.

    Args:
      a, b: float32 `[n, features]`; what is not finite is not free.
      free: bool `[n, features]`.

    Returns:
      `(pair, found)`: int32 `[n, 2]`, and bool `[n]`, whether there is such a pair.
    """
    free &= tf.math.is_finite(a) & tf.math.is_finite(b)
    a, b = (tf.where(free, values, -float("inf")) for values in (a, b))
    order = tf.argsort(a, axis=1, direction="DESCENDING", stable=True)
    a, b = (tf.gather(values, order, batch_dims=1) for values in (a, b))

    def compare(candidates, largest, pair):
        """The next candidate of each row with all of its features."""
        p = tf.argmax(tf.cast(candidates, tf.int32), axis=1, output_type=tf.int32)
        at_p = tf.one_hot(p, a.shape[1], True, False)
        sum_a, sum_b = (v + tf.gather(v, p, batch_dims=1)[:, None] for v in (a, b))
        product = tf.where((sum_a > 0) & (sum_b > 0) & ~at_p, sum_a * sum_b, -1.0)
        q = tf.argmax(product, axis=1, output_type=tf.int32)
        value = tf.gather(product, q, batch_dims=1)
        better = value > largest
        pair = tf.where(better[:, None], tf.stack([p, q], axis=1), pair)
        return candidates & ~at_p, tf.where(better, value, largest), pair

    none = -tf.ones_like(a[:, 0])
    _, largest, pair = tf.while_loop(
        lambda candidates, *_: tf.reduce_any(candidates),
        compare,
        (b > second_largest_before(b), none, tf.zeros_like(order[:, :2])),
    )
    return tf.gather(order, pair, batch_dims=1), largest >= 0


def second_largest_before(values: tf.Tensor) -> tf.Tensor:
    """At each place of a row the second largest of the values before it, or -inf."""
    first, second = _shifted(values, 1), tf.fill(tf.shape(values), -float("inf"))
    width = 1  # the largest two of so many places before, doubled until it is all
    while width < values.shape[1]:
        other = _shifted(first, width)
        second = tf.maximum(second, _shifted(second, width))
        second = tf.maximum(second, tf.minimum(first, other))
        first = tf.maximum(first, other)
        width *= 2
    return second


def _shifted(values, places):
    """Moved to the right; -inf comes in."""
    padding = [[0, 0], [places, 0]]
    return tf.pad(values[:, :-places], padding, constant_values=-float("inf"))


def check(hyper: Hyper) -> None:
    """Refuses a change of nothing, and a share out of range."""
    if not hyper.theta or hyper.theta != hyper.theta:
        raise ValueError(f"`theta` must not be 0. Received: theta={hyper.theta}.")
    if not 0 < hyper.gamma <= 1:
        raise ValueError(f"`gamma` must be in (0, 1]. Received: gamma={hyper.gamma}.")


def passes(hyper: Hyper, image_shape: Sequence[int], num_classes: int) -> Passes:
    """A pass and two gradients for each pair of features, and a look at the last."""
    iterations = int(math.prod(image_shape) * hyper.gamma / 2) + 1
    return iterations, 2 * iterations


jsma = Attack(
    name="jsma",
    title="JSMA",
    paper="arXiv:1511.07528",
    norms=(0,),
    goal="minimal-norm",
    access="gradients",
    hyper=Hyper(),
    init=init,
    advance=advance,
    finish=finish,
    passes=passes,
    check=check,
    # A tenth of an image's values fools an undefended network; where that does not, all
    # of them take ten times as long.
    budget={"gamma": 0.1},
)
