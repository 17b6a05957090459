"""TensorFlow without what its runtime says on loading.

with quietly():
    import tensorflow
"""

from collections.abc import Iterator
import contextlib
import sys

from tf_advdefense.chatter import without_chatter


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """`chatter.without_chatter`, where TensorFlow is still to be loaded."""
    if "tensorflow" in sys.modules:
        yield
        return
    with without_chatter():
        yield
