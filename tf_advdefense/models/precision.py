"""Models that compute in half precision, for a while in float32.

    with in_float32(model):
        logits = model(images, training=False)

Gradients of a confident model underflow in float16, so that attacks fail on it for
that reason alone: with confident logits PGD leaves 32 % where the same weights in
float32 keep none.
"""

from collections.abc import Iterator
import contextlib
from typing import Any

import keras
import numpy as np

_HALF = ("float16", "bfloat16")


def half_precision(model: Any) -> str | None:
    """The policy of the first layer that computes in 16 bits; None without one."""
    return next((layer.dtype_policy.name for layer in _half(model)), None)


def precision_of(model: Any) -> float:
    """The relative precision of the coarsest numbers that a model computes in."""
    kinds = {layer.compute_dtype for layer in _half(model)}
    if "bfloat16" in kinds:
        return 2.0**-8
    return float(np.finfo(np.float16 if kinds else np.float32).eps)


@contextlib.contextmanager
def in_float32(model: Any) -> Iterator[None]:
    """Within it, a model of half precision computes in float32, with its weights.

    Keras asks each layer for its policy as it is called, or traced; so another
    policy, for as long as that takes, makes a copy of the weights needless.
    """
    former = [(layer, layer.dtype_policy) for layer in _half(model)]
    try:
        for layer, policy in former:
            layer.dtype_policy = _wide(policy)
        yield
    finally:
        for layer, policy in former:
            layer.dtype_policy = policy


def _wide(policy: keras.DTypePolicy) -> keras.DTypePolicy:
    wide = keras.DTypePolicy("float32")
    # Weights stay what they are, and are cast where the two differ.
    wide._variable_dtype = policy.variable_dtype
    return wide


def _half(model: Any) -> list[keras.layers.Layer]:
    if not isinstance(model, keras.Model):
        return []
    return [each for each in model._flatten_layers() if each.compute_dtype in _HALF]
