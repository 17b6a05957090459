"""Attacks that stop per image: three functions on per-image state, and their loop.

    @staged(norms=(2,), stages=Stages(init, advance, finish))
    def my_attack(*, nb_iter=50):
        "Author 2016 (arXiv:...), algorithm 1."

`init(model_fn, x, y, seed, index, settings)` makes the state, a dict of tensors with a
row per image; `advance(model_fn, state, settings)`, `compiled`, runs a block of
iterations; `finish(state, settings)` reads the adversarial images off. A row never
depends on another row, so rows can be dropped between two blocks, as `engine` does with
those that are `done`. Every state has

    done       bool [n]   nothing is left to do; `advance` leaves such a row as it is
    fooled     bool [n]   the row's answer so far fools the model
    forwards   int32 [n]  forward passes the row has taken
    backwards  int32 [n]  backward passes it has taken

`settings` holds the hyperparameters, `targeted`, `clip_min` and `clip_max` as Python
values; the decorated function has no other work than to check them.
"""

import collections
import functools

import tensorflow as tf

from tf_advdefense.attacks.core.contract import contract
from tf_advdefense.attacks.core.contract import defaults
from tf_advdefense.attacks.core.model_fn import is_expectation

Stages = collections.namedtuple("Stages", ("init", "advance", "finish"))


def staged(norms, stages, **convention):
    """Decorates the hyperparameters of an attack that stops per image.

    Args:
      norms, convention: arguments of `contract`.
      stages: its `Stages`, which the attack keeps as its attribute `stages`.
    """

    def decorate(check):
        @contract(norms, **convention)
        @functools.wraps(check)
        def core(call, **hyper):
            return run(stages, call, {**defaults(check), **hyper})

        core.stages = stages
        core.check = check
        return core

    return decorate


def compiled(function):
    """Decorates `function(model_fn, state, ...) -> state`: a trace for all batch sizes.

    A trace per size would take seconds for a deep network, and allow few sizes.
    """
    traced = tf.function(function, autograph=False)

    @functools.wraps(function)
    def call(model_fn, state, *settings, **named):
        rows = {
            key: tf.TensorSpec([None, *value.shape[1:]], value.dtype)
            for key, value in state.items()
        }
        # Once traced so, TensorFlow takes this trace for every call that fits it.
        traced.get_concrete_function(model_fn, rows, *settings, **named)
        new = traced(model_fn, state, *settings, **named)
        for key, value in new.items():  # a loop around the call needs equal shapes
            value.set_shape(state[key].shape)
        return new

    return call


def run(stages, call, hyper):
    """The adversarial images of a `Call`; every row stays until all are done."""
    shared = ("targeted", "clip_min", "clip_max")
    settings = {**hyper, **{name: getattr(call, name) for name in shared}}
    inputs = call.model_fn, call.x, call.y, call.seed, call.index
    (state,) = tf.while_loop(
        lambda state: tf.reduce_any(~state["done"]),
        lambda state: [stages.advance(call.model_fn, state, settings)],
        [stages.init(*inputs, settings)],
    )
    return stages.finish(state, settings)


def counters(x):
    """The part of a state that all attacks have, before their first iteration."""
    zeros = tf.zeros(tf.shape(x)[:1], tf.int32)
    no = tf.zeros_like(zeros, tf.bool)
    return {"done": no, "fooled": no, "forwards": zeros, "backwards": zeros}


def loop(iterate, state, span):
    """`span` times `state = iterate(state)`, or fewer where all rows are done."""
    return tf.while_loop(
        lambda i, state: (i < span) & tf.reduce_any(~state["done"]),
        lambda i, state: (i + 1, iterate(state)),
        (0, state),
    )[1]


def settled(model_fn, fooled):
    """Rows whose search for a larger loss may end, as they fool, bool `[n]`.

    None where the model is the expectation of a random one: what barely fools that
    fools every other draw only.
    """
    return tf.zeros_like(fooled) if is_expectation(model_fn) else fooled


def select(mask, state, other):
    """Row by row the one state or the other."""
    return {key: where(mask, state[key], other[key]) for key in state}


def where(mask, a, b):
    """`tf.where` by rows: never a blend, because NaN times zero is NaN."""
    return tf.where(column(mask, a), a, b)


def column(values, like):
    """`[n]` reshaped to broadcast over the axes of `like`, `[n, ...]`."""
    return tf.reshape(values, [-1] + [1] * (len(like.shape) - 1))
