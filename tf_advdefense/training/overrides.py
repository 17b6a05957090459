"""Layers that compute otherwise for a while.

with overridden(layers, "call", function):
    ...                             # layer.call(x) is function(layer, x)
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import functools
from typing import Any

import keras


@contextlib.contextmanager
def overridden(
    layers: Sequence[keras.Layer], method: str, function: Callable[..., Any]
) -> Iterator[None]:
    """Have these objects, not their classes, answer a method by a function.

    Args:
      layers: none of which is overridden by the same name already.
      method: its name.
      function: of the layer and the method's arguments.
    """
    for layer in layers:
        # Past Keras' own `__setattr__`, which would track it.
        vars(layer)[method] = functools.partial(function, layer)
    try:
        yield
    finally:
        for layer in layers:
            vars(layer).pop(method, None)
