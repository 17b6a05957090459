"""Builds a classifier by name: a registered one, or one of keras.applications."""

from collections.abc import Sequence
import difflib
import inspect
from typing import Any

import keras

from tf_advdefense.models.pretrained import pretrained
from tf_advdefense.models.registry import MODELS


def build_model(
    name: str,
    image_shape: Sequence[int],
    num_classes: int,
    *,
    weights: str | None = None,
    **model_args: Any,
) -> keras.Model:
    """Build a classifier, untrained or with weights of the zoo.

    Args:
      name: a key of `MODELS`, or `keras:NAME` for `keras.applications.NAME`.
      image_shape: (height, width, channels) of images in [0, 1].
      num_classes: number of logits, at least 2.
      weights: None, or the name of a network of the zoo, see `pretrained`.
      **model_args: the builder's own keyword arguments, such as `width`.

    Returns:
      A `keras.Model` from float32 [batch, height, width, channels] to logits
      float32 [batch, num_classes], whatever the mixed-precision policy.

    Raises:
      ValueError: unknown name or argument, or a shape the model cannot take.
    """
    if weights is not None:
        return pretrained(weights, name, image_shape, num_classes, model_args)
    if name.startswith("keras:"):
        model = _keras_application(name[6:], image_shape, num_classes, model_args)
    else:
        model = _registered(name, image_shape, num_classes, model_args)
    return _image_to_float32_logits(model)


def _registered(name, image_shape, num_classes, model_args):
    builder = MODELS.find(name)
    known = list(inspect.signature(builder).parameters)[2:]
    for argument in model_args:
        if argument not in known:
            near = difflib.get_close_matches(argument, known, 1, 0)
            raise ValueError(
                f"Model '{name}' has no argument '{argument}'. "
                f"Known: {', '.join(near or known) or 'none'}."
            )
    return builder(tuple(image_shape), num_classes, **model_args)


def _keras_application(name, image_shape, num_classes, model_args):
    builder = getattr(keras.applications, name, None)
    if not inspect.isfunction(builder):
        known = [
            n for n, f in vars(keras.applications).items() if inspect.isfunction(f)
        ]
        near = difflib.get_close_matches(name, known, 3, 0.4) or sorted(known)
        raise ValueError(f"Unknown model 'keras:{name}'. Known: {', '.join(near)}.")
    images = keras.Input(tuple(image_shape), name="images")
    # Models that bring their own preprocessing expect [0, 255]; without it, and
    # from scratch, all of them train on [-1, 1].
    if "include_preprocessing" in inspect.signature(builder).parameters:
        model_args = {"include_preprocessing": False, **model_args}
    try:
        return builder(
            weights=None,
            classes=num_classes,
            classifier_activation=None,
            input_tensor=keras.layers.Rescaling(2.0, -1.0, name="centre")(images),
            **model_args,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"keras:{name} cannot be built for images of shape "
            f"{tuple(image_shape)}: {' '.join(str(error).split())[:200]} "
            "Some models need larger images: see `image_size`."
        ) from error


def _image_to_float32_logits(model):
    """One input tensor (keras.applications list it) and logits in full precision."""
    logits = model.output
    if model.compute_dtype != "float32":
        logits = keras.layers.Activation(
            "linear", dtype="float32", name="float32_logits"
        )(logits)
    return keras.Model(model.inputs[0], logits, name=model.name)
