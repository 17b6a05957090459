"""How many images fit into memory at a time.

    resolved("auto", [model], (224, 224, 3))      # 64

On a CPU that is counted, from the outputs of the model's layers, of which a gradient
keeps some: the same number on every machine of as much memory. On a GPU, whose memory
TensorFlow does not tell, it is tried.
"""

from collections.abc import Iterable
from collections.abc import Iterator
import math
import os
import pathlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core.craft import time_passes

# Larger batches gain nothing on a CPU, and hardly anything on a GPU.
_MOST, _MOST_ON_GPU = 128, 1024
# Of the outputs of all layers, what forward and gradient take at their peak: measured,
# 0.1 to 0.44 (ResNet50, MobileNetV2 at 224x224 and networks for 32x32).
_KEPT = 0.5
_IMAGES = 16  # Copies of the images that an attack holds, and more.
_SHARE = 0.5  # Of the memory; the rest is for TensorFlow, data and others.
_LIMIT = pathlib.Path("/sys/fs/cgroup/memory.max")  # Of a container.


def resolved(
    asked: int | str, models: Iterable[Any], image_shape: tuple[int, ...]
) -> int:
    """The batch size that is asked for, or what fits.

    Args:
      asked: a number, which is returned, or "auto": the largest power of two by which
        all of these models can be attacked.
      models: `keras.Model`s from images to logits, or lists of them that are attacked
        at once. One whose layers cannot be seen, of a SavedModel, is taken to fit.
      image_shape: (height, width, channels).
    """
    if asked != "auto":
        return int(asked)
    each = [one if isinstance(one, list) else [one] for one in models]
    if tf.config.list_physical_devices("GPU"):
        return min(_tried(some, image_shape) for some in each)
    return min(_counted(some, image_shape, _memory()) for some in each)


def _counted(models: list[Any], image_shape: tuple[int, ...], memory: int) -> int:
    values = _KEPT * sum(math.prod(s) for model in models for s in _outputs(model))
    bytes_each = 4 * (values + _IMAGES * math.prod(image_shape))
    return _power_of_two(min(_SHARE * memory / bytes_each, _MOST))


def _tried(models: list[Any], image_shape: tuple[int, ...]) -> int:
    size = _MOST_ON_GPU
    while size > 1:
        images = np.zeros((size, *image_shape), np.float32)
        try:
            time_passes(models, images, batch_size=size)
        except tf.errors.ResourceExhaustedError:
            size //= 2
        else:
            break
    return max(1, size // 2)  # What an attack holds beside a pass is to fit, too.


def _outputs(model: keras.Model) -> Iterator[tuple[int, ...]]:
    """The shapes of all layers' outputs, without the batch; those of inner models."""
    for operation in getattr(model, "operations", model.layers):  # Or of a Sequential.
        if isinstance(operation, keras.Model):
            yield from _outputs(operation)
            continue
        for node in operation._inbound_nodes:
            yield from (tuple(d or 1 for d in t.shape[1:]) for t in node.outputs)


def _memory() -> int:
    """Bytes of this machine, or of the container, if it has a limit."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _LIMIT.read_text().strip() if _LIMIT.exists() else "max"
    return min(there, int(limit)) if limit.isdigit() else there


def _power_of_two(number: float) -> int:
    return 2 ** max(0, int(math.log2(max(number, 1))))
