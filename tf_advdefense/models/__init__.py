"""Keras image classifiers: images in [0, 1] to logits.

    model = build_model("resnet50", (32, 32, 3), 10)
    logits = model(images)                      # float32 [batch, 10]

Normalisation is a layer inside every model, so that eps always means the same
thing. `keras:NAME` builds any model of `keras.applications` without weights. To
add a model, write its builder in a file here and add a line to `MODELS`.
"""

import difflib
import inspect

import keras

from tf_advdefense.models.alexnet import alexnet
from tf_advdefense.models.resnet import resnet50
from tf_advdefense.models.resnet import resnet50_cifar
from tf_advdefense.models.resnet import small_resnet

# Builders: function(image_shape, num_classes, **model_args) -> keras.Model.
MODELS = {
    "resnet50": resnet50,
    "resnet50_cifar": resnet50_cifar,
    "alexnet": alexnet,
    "small_resnet": small_resnet,
}


def build_model(name, image_shape, num_classes, **model_args):
    """Build an untrained classifier.

    Args:
      name: a key of `MODELS`, or `keras:NAME` for `keras.applications.NAME`.
      image_shape: (height, width, channels) of images in [0, 1].
      num_classes: number of logits, at least 2.
      **model_args: the builder's own keyword arguments, such as `width`.

    Returns:
      A `keras.Model` from float32 [batch, height, width, channels] to logits
      float32 [batch, num_classes], whatever the mixed-precision policy.

    Raises:
      ValueError: unknown name or argument, or a shape the model cannot take.
    """
    if name.startswith("keras:"):
        model = _keras_application(name[6:], image_shape, num_classes, model_args)
    else:
        model = _registered(name, image_shape, num_classes, model_args)
    return _image_to_float32_logits(model)


def _registered(name, image_shape, num_classes, model_args):
    if name not in MODELS:
        raise ValueError(
            f"Unknown model '{name}'. Known: {', '.join(MODELS)}, or "
            "keras:NAME for a model of keras.applications."
        )
    known = list(inspect.signature(MODELS[name]).parameters)[2:]
    for argument in model_args:
        if argument not in known:
            near = difflib.get_close_matches(argument, known, 1, 0)
            raise ValueError(
                f"Model '{name}' has no argument '{argument}'. "
                f"Known: {', '.join(near or known) or 'none'}."
            )
    return MODELS[name](tuple(image_shape), num_classes, **model_args)


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
            "Some models need larger images: see --image_size."
        ) from error


def _image_to_float32_logits(model):
    """One input tensor (keras.applications list it) and logits in full precision."""
    logits = model.output
    if model.compute_dtype != "float32":
        logits = keras.layers.Activation(
            "linear", dtype="float32", name="float32_logits"
        )(logits)
    return keras.Model(model.inputs[0], logits, name=model.name)
