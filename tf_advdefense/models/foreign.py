"""Models as people have them, made what attacks need: [0, 1] images to logits.

    adapted = adapt(model, images, labels)
    adapted.model                # a keras.Model; weights are the given model's
    adapted.notes                # ("its softmax was removed",)

A softmax, sigmoid or tanh at the end is removed where Keras shows it, and inverted
where it does not. One logit becomes two. Images in [0, 255], in [-1, 1] or as a module
of keras.applications prepares them are what the model gets, while the perturbation
stays one of images in [0, 1]. The adapted model must classify the images at hand as
the given one does, or it is refused.
"""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense.images import as_float
from tf_advdefense.models import heads
from tf_advdefense.models import input_range as ranges
from tf_advdefense.models import interface
from tf_advdefense.models import outputs
from tf_advdefense.models import precision

# So many images tell ranges apart; large ones cost too much for more.
_SAMPLE, _LARGE_SAMPLE, _LARGE = 256, 96, 96 * 96
_BATCH, _LARGE_BATCH = 128, 16
_ROUNDING = 16  # In units of the model's own relative precision.


@dataclasses.dataclass(frozen=True)
class Adapted:
    """A classifier from images in [0, 1] to logits, and what was done for it.

    Attributes:
      model: the classifier.
      notes: what was adapted, in words that follow the model's name.
      warnings: what could not be, and makes attacks weaker than they ought to be.
    """

    model: keras.Model
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def adapt(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    input_range: tuple[float, float] | None = None,
    preprocess: str | None = None,
    name: str = "the model",
) -> Adapted:
    """A classifier from elsewhere, ready to be attacked.

    Args:
      model: a keras.Model; see `interface.single`.
      images: uint8, or float in [0, 1], `[n, height, width, channels]`: the first ones
        are looked at.
      labels: int `[n]`, their classes.
      input_range: (low, high) of the images that the model takes; None finds it.
      preprocess: a module of keras.applications whose `preprocess_input` makes them.
      name: of the model, for messages.

    Raises:
      ValueError: in one line, for a model that takes other images, has several inputs
        or outputs, or whose adapted version would classify otherwise.
    """
    if input_range and preprocess:
        raise ValueError(
            "Either `input_range` or `preprocess` tells what a model takes. Received: "
            f"both, {input_range} and {preprocess}."
        )
    single = interface.single(model, images.shape[1:], name)
    count = _LARGE_SAMPLE if _is_large(images) else _SAMPLE
    sample = as_float(images[:count])
    said = _said_of(single, sample)
    wanted: ranges.Wanted | None = preprocess or input_range
    right: dict[ranges.Wanted, int] = {}
    if wanted is None:
        is_right = lambda each, n: _right(single, said(each, n), labels[:n])
        wanted, right = ranges.find(is_right, len(sample), images.shape[-1])
    given = said(wanted, len(sample))
    kind = _kind(single, given)
    logits, removed = heads.without_activation(single)
    logits, head = _head(logits, removed, kind)
    whole = _behind(logits, wanted, images.shape[1:], model.name)
    _prove(whole, sample, given, kind, precision.precision_of(single), name)
    notes = [*head, *_range_notes(wanted, right, len(sample)), *_policy(single)]
    lost = () if removed else _lost(given, kind)
    warned = *lost, *interface.fixed_training(single)
    return Adapted(whole, tuple(notes), warned)


def _is_large(images):
    return images.shape[1] * images.shape[2] > _LARGE


# === What the model says of the images at hand ===


def _outputs_of(model: keras.Model, large: bool) -> Callable[[np.ndarray], np.ndarray]:
    """A function to its outputs, float32 `[n, classes]`, in its own precision."""
    call = functools.partial(model, training=False)
    # A trace takes seconds, and each call of large images then two thirds of the time.
    call = tf.function(call) if large else call
    size = _LARGE_BATCH if large else _BATCH

    def values(images: np.ndarray) -> np.ndarray:
        batches = range(0, len(images), size)
        parts = [call(tf.constant(images[i : i + size])) for i in batches]
        return np.concatenate([np.asarray(part, np.float32) for part in parts])

    return values


def _said_of(
    model: keras.Model, images: np.ndarray
) -> Callable[[ranges.Wanted, int], np.ndarray]:
    """Outputs of the first n images in a range, none of them computed twice."""
    seen: dict[ranges.Wanted, np.ndarray] = {}
    values = _outputs_of(model, _is_large(images))

    def said(wanted: ranges.Wanted, n: int) -> np.ndarray:
        start = len(seen.get(wanted, ()))
        if start < n:
            more = values(ranges.as_user(images[start:n], wanted))
            seen[wanted] = np.concatenate([seen[wanted], more]) if start else more
        return seen[wanted][:n]

    return said


def _right(model, values, labels):
    return _classes(values, _kind(model, values)) == np.asarray(labels)


def _classes(values: np.ndarray, kind: str) -> np.ndarray:
    if values.shape[1] > 1:
        return np.argmax(values, axis=1)
    return (values[:, 0] > _middle(kind)).astype(np.int64)


def _middle(kind: str) -> float:
    """Above it, the only output of a binary model is for its second class."""
    return 0.5 if kind == "sigmoids" else 0.0


def _kind(model, values):
    """What the outputs are, by the layer that makes them or else by their values."""
    named = {made: kind for kind, made in outputs.INVERTIBLE.items()}
    shown = heads.last_activation(model)
    if heads.shows_logits(model):
        return "logits"
    if shown in ("relu", "relu6"):
        return "one-sided"
    return named.get(shown) or outputs.kind_of(values, precision.precision_of(model))


# === Parts of the adapted model ===


def _head(model, removed, kind):
    """The model with logits at its end, and what was done; see `_kind`."""
    notes = []
    if removed:
        notes.append(f"its {removed} was removed")
    elif kind in outputs.INVERTIBLE:
        activation = outputs.INVERTIBLE[kind]
        model = _after(model, outputs.Inverse(activation))
        notes.append(f"its {activation} was inverted")
    if model.outputs[0].shape[-1] == 1:
        model = _after(model, outputs.two_logits)
        notes.append("its one logit became two")
    return model, notes


def _after(model, function):
    """A function of a model's output; names of its layers may be anything."""
    images = keras.Input(model.inputs[0].shape[1:], name="images")
    return keras.Model(images, function(model(images)), name=model.name)


def _behind(model, wanted, image_shape, name):
    layer = ranges.layer_for(wanted)
    if layer is None:
        return model
    images = keras.Input(tuple(image_shape), name="images")
    return keras.Model(images, model(layer(images)), name=name)


def _prove(adapted, images, given, kind, relative, name):
    """Each class of the adapted model must be one that the given model finds best."""
    with precision.in_float32(adapted):
        found = np.argmax(_outputs_of(adapted, _is_large(images))(images), axis=1)
    if given.shape[1] == 1:
        given = np.concatenate([2 * _middle(kind) - given, given], axis=1)
    best = given.max(axis=1)
    slack = _ROUNDING * relative * (1 + np.abs(best))
    wrong = given[np.arange(len(given)), found] < best - slack
    if wrong.any():
        raise ValueError(
            "An adapted model must classify as the model does. Received: "
            f"{int(wrong.sum())} of {len(wrong)} images otherwise classified of "
            f"{name}. Save the model up to its logits, for images in [0, 1]."
        )


# === What is said ===


def _range_notes(wanted, right, count):
    if wanted == ranges.UNIT:
        return
    said = f"it takes {ranges.text(wanted)}"
    if right:
        said += (
            f": {right[wanted]} of {count} are right there, {right[ranges.UNIT]} in "
            "[0, 1]"
        )
    yield said


def _policy(model):
    policy = precision.half_precision(model)
    if policy:
        yield f"it computes in {policy} and is attacked in float32"


def _lost(values: np.ndarray, kind: str) -> Iterator[str]:
    """What an activation that stayed took from the logits."""
    remedy = "Save the model up to its logits."
    if kind in outputs.INVERTIBLE:
        ends = {"probabilities": (0,), "sigmoids": (0, 1), "tanh": (-1, 1)}[kind]
        lost = np.isin(values, ends).any(axis=1).sum()
        if lost:
            yield (
                f"of {lost} of {len(values)} images an output is rounded to "
                f"{' or '.join(map(str, ends))}: what it was is lost, and attacks are "
                f"weaker. {remedy}"
            )
    if kind == "one-sided":
        yield (
            "its outputs are never negative, as a ReLU's: where all but one are 0, "
            f"attacks see no other class. {remedy}"
        )
