"""Models as attacks see them: functions from images to float32 logits.

    model_fn = inference(model)               # BatchNorm and dropout at inference
    model_fn = inference([resnet, alexnet])   # several at once, see `joint`
    predict(model_fn, images)                 # classes, compiled
    predict(served(model), images)            # of the model itself, see `served`

A model that draws at random is attacked on its expectation, the same model with each
random layer replaced by the mean over draws that do not depend on the image.

Compiled functions are traced anew for every new object, so each model has one and the
same `ModelFn`, whoever asks. It is kept in the model itself and lives as long.
"""

from collections.abc import Callable
from collections.abc import Sequence
import functools
from typing import Any

import keras
import tensorflow as tf

from tf_advdefense.models import outputs
from tf_advdefense.models.heads import logits_model
from tf_advdefense.models.precision import in_float32

_KEPT = "_tf_advdefense_{}"  # the entry of a model's `vars` that holds its `ModelFn`


class ModelFn:
    """Images float32 `[n, height, width, channels]` to logits float32 `[n, classes]`.

    Attributes:
      model: the keras.Model, whose layers can be looked through, or None.
      members: the functions that a joint one is made of; of another one itself.
      is_expectation: whether it is the mean over the draws of a random model.
      looked_at: whether its outputs were found to be logits, or warned of.
      sound_shapes: of images for which `gradient_check` found its gradient finite.
    """

    def __init__(
        self,
        function: Callable,
        model: keras.Model | None = None,
        members: "Sequence[ModelFn]" = (),
        is_expectation: bool = False,
    ):
        self._function = function
        self.model = model
        self.members = tuple(members) or (self,)
        self.is_expectation: bool = is_expectation or any(
            member.is_expectation for member in members
        )
        self.looked_at = False
        self.sound_shapes: set[tf.TensorShape] = set()

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        logits = outputs.one_output(self._function(images))
        # Models of any floating kind are attacked in float32.
        return outputs.two_logits(tf.cast(logits, tf.float32))

    def as_one(self) -> "ModelFn":
        """The same function without its members: a joint model's own logits."""
        return ModelFn(self) if len(self.members) > 1 else self


def inference(model: Any) -> ModelFn:
    """The function that an attack sees, with BatchNorm and dropout at inference.

    Of a model with random layers, it is the expectation over their draws (EOT, Athalye
    et al. 2018, arXiv:1707.07397), itself not random.

    Args:
      model: a keras.Model, or any function from images to logits; or a list of them,
        which becomes one function (`joint`).
    """
    if isinstance(model, ModelFn):
        return model
    if isinstance(model, (list, tuple)):
        return joint(*map(inference, model))
    return _kept(model, "attacked", _attacked)


def served(model: Any) -> ModelFn:
    """What decides whether an image fools: the model itself, with draws of its own.

    The same function as that of `inference` unless layers of the model are `random`.

    Args:
      model: as of `inference`.
    """
    if isinstance(model, (list, tuple)):
        return joint(*map(served, model))
    if not is_random(model):
        return inference(model)
    return _kept(model, "served", _itself)


def _kept(model, name, make):
    """What `make(model)` gives, once and for all."""
    try:
        entries = vars(model)
    except TypeError:  # a built-in function, say, which is traced anew at each call
        return make(model)
    key = _KEPT.format(name)
    if key not in entries:
        entries[key] = make(model)
    return entries[key]


def _itself(model):
    if not isinstance(model, keras.Model):
        return ModelFn(model)
    return ModelFn(_in_inference(logits_model(model)), model)


def _attacked(model):
    if not is_random(model):
        return _itself(model)
    view = expectation(logits_model(model))
    return ModelFn(_in_inference(view), model, is_expectation=True)


def _in_inference(model):
    """A Keras model as a function, at inference and in float32."""

    def function(images):
        with in_float32(model):
            return model(images, training=False)

    return function


def is_random(model: Any) -> bool:
    """Whether a layer of a keras.Model declares that it draws at inference."""
    return isinstance(model, keras.Model) and any(
        getattr(layer, "random", False) for layer in model._flatten_layers()
    )


def expectation(model: keras.Model) -> keras.Model:
    """The model with each random layer replaced by its mean over draws.

    Weights are shared. A random layer says so by an attribute `random`, and has a
    method `expectation` from its inputs to that mean; without it, it stays as it is.
    """

    def replace(layer):
        if isinstance(layer, keras.Model) and is_random(layer):
            return expectation(layer)
        random = getattr(layer, "random", False) and hasattr(layer, "expectation")
        return _Expectation(layer) if random else layer

    return keras.models.clone_model(model, clone_function=replace)


class Redrawn:
    """A random model whose draws can be taken anew, as by another seed.

    Args:
      model: whose random layers have a method `redrawn`, from inputs and the number of
        a draw to outputs; of other layers each pass is a draw of its own.

    Attributes:
      model_fn: the function; traced once for all draws.
    """

    def __init__(self, model: keras.Model):
        self._number = tf.Variable(0, dtype=tf.int64, trainable=False)
        number = self._number

        def replace(layer):
            random = getattr(layer, "random", False) and hasattr(layer, "redrawn")
            return _Numbered(layer, number) if random else layer

        view = keras.models.clone_model(logits_model(model), clone_function=replace)
        self.model_fn = ModelFn(_in_inference(view))

    def draw(self, number: int) -> ModelFn:
        """The function, from now on with the draws of this number."""
        self._number.assign(number)
        return self.model_fn


class _Numbered(keras.layers.Layer):
    """A random layer with the draws of a number."""

    def __init__(self, layer, number):
        super().__init__(name=layer.name, dtype="float32", trainable=False)
        self.layer, self._drawn = layer, lambda: number

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.layer.redrawn(inputs, self._drawn())


class _Expectation(keras.layers.Layer):
    """A random layer's mean over draws."""

    def __init__(self, layer):
        super().__init__(name=layer.name, dtype="float32", trainable=False)
        self.layer = layer

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.layer.expectation(inputs)


# The same function again for the same models: nothing is traced anew.
@functools.lru_cache(maxsize=8)
def joint(*model_fns: ModelFn) -> ModelFn:
    """Several models as one: its logits are the mean of their log-probabilities.

    Attacks on a loss do not attack these logits, but the mean of the models' losses
    (see `losses`); they find the models in `members`.
    """
    return ModelFn(
        lambda x: joint_logits([member(x) for member in model_fns]), members=model_fns
    )


def stacked(model_fn: ModelFn, y: tf.Tensor) -> tuple[ModelFn, tf.Tensor]:
    """`(model_fn, y)` with which CleverHans' functions attack the mean of the losses.

    They differentiate the sum of a vector of losses, and their steps do not depend on
    the losses' scale: so of a joint model they get the logits of its members one after
    the other along the batch axis, and as often the labels. Another model is unchanged.
    """
    members = model_fn.members
    if len(members) == 1:
        return members[0], y
    return _stacked(members), tf.tile(y, [len(members)])


@functools.lru_cache(maxsize=8)
def _stacked(members):
    return ModelFn(lambda x: tf.concat([member(x) for member in members], axis=0))


def joint_logits(logits: list[tf.Tensor]) -> tf.Tensor:
    """The mean log-probabilities of a list of logits, `[n, classes]` each."""
    return sum(tf.nn.log_softmax(each) for each in logits) / len(logits)


def predict(model_fn: ModelFn, x: tf.Tensor) -> tf.Tensor:
    """The model's classes, int64 `[batch]`, compiled; `model_fn` from `inference`."""
    return tf.argmax(compiled_logits(model_fn, x), axis=1)


@tf.function  # With autograph, as CleverHans' gradient: a model may use len(x).
def compiled_logits(model_fn: ModelFn, x: tf.Tensor) -> tf.Tensor:
    """The model's logits, float32 `[batch, classes]`."""
    return model_fn(x)


def num_classes(model_fn: ModelFn, x: tf.Tensor) -> int:
    """How many logits the model has for each image."""
    # Traced here, the model's forward pass is at hand for `predict`.
    traced = compiled_logits.get_concrete_function(model_fn, x)
    return traced.structured_outputs.shape[-1]
