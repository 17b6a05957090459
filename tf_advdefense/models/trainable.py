"""A model as its user has it, and the same up to its logits, to be trained.

    form = trainable(model)
    form.logits(images)                 # images in [0, 1]; the weights are the model's
    form.outputs(form.logits(images))   # what the model itself gives

Nothing is computed: what the model takes and gives is told by its graph, or by its
user. `foreign.adapt` finds out by looking at images what a trained model takes.
"""

import dataclasses
from typing import Any

import keras

from tf_advdefense.models import heads
from tf_advdefense.models import input_range as ranges
from tf_advdefense.models import interface
from tf_advdefense.models import outputs


@dataclasses.dataclass(frozen=True)
class Trainable:
    """A classifier in two forms with the same weights.

    Attributes:
      given: the user's model.
      logits: from images in [0, 1] to logits [n, classes], two for one output.
      input_range: (low, high) of the images that `given` takes.
      activation: that ends `given`; None where its outputs are logits.
    """

    given: keras.Model
    logits: keras.Model
    input_range: tuple[float, float]
    activation: str | None

    @property
    def is_binary(self) -> bool:
        """Whether `given` has one output, for the second of two classes."""
        return self.given.outputs[0].shape[-1] == 1

    def raw(self, logits: Any) -> Any:
        """Of logits of `logits` those that `given` has before its activation."""
        return logits[:, 1:] - logits[:, :1] if self.is_binary else logits

    def outputs(self, logits: Any) -> Any:
        """What `given` makes of them."""
        return keras.activations.get(self.activation)(self.raw(logits))


def trainable(
    model: keras.Model,
    input_range: tuple[float, float] = ranges.UNIT,
    from_logits: bool = False,
) -> Trainable:
    """Both forms of a classifier.

    Args:
      model: of one input, images [n, height, width, channels], and one output; built.
      input_range: (low, high) of the images that it takes.
      from_logits: whether its outputs are logits, where its last layer does not show.

    Raises:
      ValueError: in one line, for several inputs or outputs, an unbuilt model, or one
        that does not show what its outputs are.
    """
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"A model must know its input to be trained. Received: {model.name}, which "
            "is not built, or a subclass of keras.Model. Give it a `keras.Input`, or "
            "wrap it: keras.Model(images, model(images))."
        )
    single = interface.single(model, model.inputs[0].shape[1:], model.name)
    logits, removed = heads.without_activation(single)
    if removed is None and not from_logits and not heads.shows_logits(single):
        raise ValueError(
            "A model must show its logits to be trained: a last layer without an "
            f"activation, a softmax or a sigmoid. Received: {model.name}, which ends "
            f"with {heads.last_activation(single) or 'something else'}. If its outputs "
            "are logits, say so: `from_logits=True`."
        )
    images = keras.Input(model.inputs[0].shape[1:], name="images")
    layer = ranges.layer_for(input_range)
    taken = layer(images) if layer is not None else images
    found = outputs.two_logits(logits(taken))
    if layer is not None or found.shape[-1] != logits.outputs[0].shape[-1]:
        logits = keras.Model(images, found, name=model.name)
    return Trainable(model, logits, input_range, removed)
