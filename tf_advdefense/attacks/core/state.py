"""The state of an attack that stops per image: a NamedTuple of tensors, a row an image.

    class State(NamedTuple):
        image: tf.Tensor  # [n, h, w, c]
        ...
        progress: Progress

    @compiled
    def advance(model_fn, state, hyper, task):
        return loop(lambda state: _iterate(model_fn, state, hyper, task), state, 10)

A row never depends on another row, so that rows can be dropped between two calls of
`advance`, as `batch.run` does with those that are done.
"""

from collections.abc import Callable
import functools
from typing import Any
from typing import NamedTuple
from typing import TypeVar

import tensorflow as tf

State = TypeVar("State")


class Progress(NamedTuple):
    """What `batch.run` needs to know of the rows; a field of every state."""

    done: tf.Tensor  # bool [n]: nothing is left to do, and nothing is done any more
    fooled: tf.Tensor  # bool [n]: the answer so far fools the model
    forwards: tf.Tensor  # int32 [n]: forward passes taken
    backwards: tf.Tensor  # int32 [n]: backward passes taken

    def spend(self, forwards: int = 0, backwards: int = 0) -> "Progress":
        """The same after so many passes more of every row."""
        return self._replace(
            forwards=self.forwards + forwards, backwards=self.backwards + backwards
        )


def begin(x: tf.Tensor) -> Progress:
    """The progress of images that nothing has been done with."""
    zeros = tf.zeros(tf.shape(x)[:1], tf.int32)
    no = tf.zeros_like(zeros, tf.bool)
    return Progress(no, no, zeros, zeros)


def compiled(advance: Callable) -> Callable:
    """Decorates `advance(model_fn, state, ...) -> state`: a trace for all batch sizes.

    A trace per size would take seconds for a deep network, and allow few sizes.
    """
    traced = tf.function(advance, autograph=False)

    @functools.wraps(advance)
    def call(model_fn, state, *arguments, **named):
        rows = tf.nest.map_structure(
            lambda value: tf.TensorSpec([None, *value.shape[1:]], value.dtype), state
        )
        # Once traced so, TensorFlow takes this trace for every call that fits it.
        traced.get_concrete_function(model_fn, rows, *arguments, **named)
        new = traced(model_fn, state, *arguments, **named)
        # A loop around the call needs equal shapes.
        tf.nest.map_structure(lambda a, b: a.set_shape(b.shape), new, state)
        return new

    return call


def loop(iterate: Callable[[State], State], state: State, span: int) -> State:
    """`span` times `state = iterate(state)`, or fewer where all rows are done."""
    return tf.while_loop(
        lambda i, state: (i < span) & tf.reduce_any(~state.progress.done),
        lambda i, state: (i + 1, iterate(state)),
        (0, state),
    )[1]


def settled(model_fn: Any, fooled: tf.Tensor) -> tf.Tensor:
    """Rows whose search for a larger loss may end, as they fool, bool `[n]`.

    None where the model is the expectation of a random one: what barely fools that
    fools every other draw only.
    """
    return tf.zeros_like(fooled) if model_fn.is_expectation else fooled


def select(mask: tf.Tensor, state: Any, other: Any) -> Any:
    """Row by row the one state or the other."""
    choose = _choice(mask)
    return tf.nest.map_structure(choose, state, other)


def changed(mask: tf.Tensor, make: Callable[[], State], state: State) -> State:
    """`select(mask, make(), state)`, which makes nothing where no row asks for it."""
    fields: list[tf.Tensor] = tf.nest.flatten(state)
    places: list[int] = []

    def change():
        made, choose = tf.nest.flatten(make()), _choice(mask)
        places.extend(i for i, old in enumerate(fields) if made[i] is not old)
        return [choose(made[i], fields[i]) for i in places]

    # Of the fields, dozens, only those that change go through the branches.
    found = tf.cond(tf.reduce_any(mask), change, lambda: [fields[i] for i in places])
    for i, field in zip(places, found):
        fields[i] = field
    return tf.nest.pack_sequence_as(state, fields)


def _choice(mask):
    """`where` by one mask for many fields: few operations, and so soon traced."""
    of_rank = functools.cache(lambda rank: _of_rank(mask, rank))
    return lambda a, b: a if a is b else tf.where(of_rank(len(a.shape)), a, b)


def where(mask: tf.Tensor, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """`tf.where` by rows: never a blend, because NaN times zero is NaN."""
    return tf.where(column(mask, a), a, b)


def column(values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """`[n]` reshaped to broadcast over the axes of `like`, `[n, ...]`."""
    return _of_rank(values, len(like.shape))


def _of_rank(values, rank):
    return values if rank == 1 else tf.reshape(values, [-1] + [1] * (rank - 1))
