"""One batch of float images in, one tensor out: models of other shapes, if they can.

model = single(model, (32, 32, 3), "mine.keras")
"""

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_advdefense.models import outputs

_PARTS = ("inputs", "outputs")


def single(model: keras.Model, image_shape: Sequence[int], name: str) -> keras.Model:
    """A functional model from float32 images to one floating tensor; see `outputs`.

    An unbuilt or subclassed model is built for these images, lists and dicts of one
    input or output are opened, and integer images are taken as float32.

    Args:
      model: a keras.Model.
      image_shape: (height, width, channels).
      name: of the model, for messages.

    Raises:
      ValueError: in one line, for several inputs or outputs, or other images.
    """
    if not getattr(model, "inputs", None):
        model = _built(model, image_shape, name)
    check_one_input([each.name for each in model.inputs], name)
    check_shape(model.inputs[0].shape[1:], image_shape, name)
    return with_one_output(_with_float_images(model))


def with_one_output(model: keras.Model) -> keras.Model:
    """The functional model with its one input and output alone, or itself."""
    structures = (getattr(model, f"_{part}_struct", None) for part in _PARTS)
    given, returned = structures
    found = outputs.one_output(model.outputs if returned is None else returned)
    opened = any(isinstance(part, (dict, list, tuple)) for part in (given, returned))
    return keras.Model(model.inputs[0], found, name=model.name) if opened else model


def fixed_training(model: keras.Model) -> Iterator[str]:
    """A sentence on layers that were called with training=True, which Keras ignores."""
    fixed = [
        layer.name
        for layer in getattr(model, "layers", [])
        for node in layer._inbound_nodes
        if node.arguments.kwargs.get("training") is True
    ]
    if fixed:
        yield (
            f"training=True of {', '.join(fixed)} is overridden by inference mode, as "
            "in `predict`; a SavedModel of the same model keeps it"
        )


def check_one_input(inputs: Sequence[str], name: str) -> None:
    """Refuse, with a ValueError in one line, a model of several inputs, by names."""
    if len(inputs) > 1:
        raise ValueError(
            f"A classifier must take images alone. Received: {name} with the inputs "
            f"{', '.join(inputs)}. Fix the others inside the model."
        )


def check_shape(
    shape: Sequence[int | None], image_shape: Sequence[int], name: str
) -> None:
    """Refuse, with a ValueError in one line, a model of other images than these."""
    other = any(s is not None and s != d for s, d in zip(shape, image_shape))
    if other or len(shape) != len(image_shape):
        raise ValueError(
            f"A model must take the data set's images. Received: {name} takes "
            f"{list(shape)}, the images are {list(image_shape)}. Choose its "
            "`dataset`, resize with `image_size`, or read them as `color=grayscale`."
        )


def _built(model: Any, image_shape: Sequence[int], name: str) -> keras.Model:
    images = keras.Input(tuple(image_shape), name="images")
    try:
        found = outputs.one_output(model(images, training=False))
    except ValueError as error:
        if str(error).startswith(("A classifier", "Logits")):
            raise
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"A model must take the data set's images. Received: {name}, which cannot "
            f"be built for {list(image_shape)}: {reason}"
        ) from error
    return keras.Model(images, found, name=model.name)


def _with_float_images(model: keras.Model) -> keras.Model:
    """Integer images, which have no gradient, are taken as floating ones."""
    given = model.inputs[0]
    if tf.as_dtype(given.dtype).is_floating:
        return model
    images = keras.Input(given.shape[1:], name=given.name)
    return keras.models.clone_model(
        model, input_tensors=images, clone_function=lambda layer: layer
    )
