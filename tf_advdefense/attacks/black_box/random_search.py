"""Searches that query one image after another and keep the best: `noise` and `square`.

Both look for the largest margin of a wrong class over the right one, by the model's
scores, and end for an image with the first query that fools the model, unless that is
random (`state.settled`).
"""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.balls import radii
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.state import Progress
from tf_advdefense.attacks.core.state import begin
from tf_advdefense.attacks.core.state import select
from tf_advdefense.attacks.core.state import settled
from tf_advdefense.attacks.core.state import where


class State(NamedTuple):
    image: tf.Tensor  # float32 [n, h, w, c]
    label: tf.Tensor  # int64 [n]
    key: tf.Tensor  # int64 [n]: of the random draws
    best: tf.Tensor  # float32 [n, h, w, c]: fools, or else has the largest margin
    margin: tf.Tensor  # float32 [n]: of `best`; targeted, that of the target
    eps: tf.Tensor  # float32 [n]
    progress: Progress


def init(
    model_fn: ModelFn,
    x: tf.Tensor,
    y: tf.Tensor,
    keys: tf.Tensor,
    hyper: Any,
    task: Task,
) -> State:
    """The state of images before their first query."""
    return State(
        image=x,
        label=y,
        key=keys,
        best=x,
        margin=tf.fill(tf.shape(x)[:1], -np.inf),
        # In the state: a sweep over eps is traced once.
        eps=radii(hyper.eps, x),
        progress=begin(x),
    )


def keep_best(
    model_fn: Callable,
    state: State,
    candidate: tf.Tensor,
    margin: tf.Tensor,
    queries: int,
    task: Task,
) -> State:
    """The state after a query of each row's `candidate`.

    Args:
      model_fn: of `model_fn.inference`.
      state: before the query.
      candidate: float32 `[n, height, width, channels]`.
      margin: float32 `[n]`, which the candidate's has to exceed to be kept.
      queries: after how many a row is done.
      task: whether labels are targets.
    """
    logits, found = losses.evaluate(model_fn, losses.margin, candidate, state.label)
    found = -found if task.targeted else found
    fooled = losses.is_fooled(logits, state.label, task.targeted)
    better = losses.is_better(fooled, found, state.progress.fooled, margin)
    progress = state.progress.spend(forwards=1)
    new = state._replace(
        best=where(better, candidate, state.best),
        margin=tf.where(better, found, margin),
        progress=progress._replace(
            fooled=progress.fooled | fooled,
            done=settled(model_fn, fooled) | (progress.forwards >= queries),
        ),
    )
    return select(state.progress.done, state, new)


def finish(state: State, hyper: Any, task: Task) -> tf.Tensor:
    """The image that fools the model, or the one that came closest to it."""
    return state.best
