"""Models as attacks see them: functions from images to logits.

    model_fn = inference(model)               # BatchNorm and dropout at inference
    model_fn = inference([resnet, alexnet])   # several at once, see `joint`
    predict(model_fn, images)                 # classes, compiled
    predict(served(model), images)            # of the model itself, see `served`

A model that draws at random is attacked on its expectation: `inference` calls it where
`attacked()` is true, and its random layers then give the mean over draws that do not
depend on the image.

Compiled functions are traced anew for every new function: so there is one and the same
for each model, whoever asks.
"""

import contextvars
import functools
import weakref

import keras
import tensorflow as tf

_FUNCTIONS = weakref.WeakKeyDictionary()
_SERVED = weakref.WeakKeyDictionary()
_ATTACKED = contextvars.ContextVar("attacked", default=False)


def inference(model_fn):
    """One and the same function per model, with BatchNorm and dropout at inference.

    Of a model with random layers, it is what an attack should see: the expectation over
    their draws (EOT, Athalye et al. 2018, arXiv:1707.07397), itself not random.

    It does not keep the model alive: whoever uses it holds the model, too.

    Args:
      model_fn: a keras.Model, or any function from images to logits, returned as is
        where its logits are float32; or a list of them, one function then (`joint`).
    """
    if isinstance(model_fn, (list, tuple)):
        return joint(*(inference(member) for member in model_fn))
    if not isinstance(model_fn, keras.Model):
        return model_fn
    if model_fn not in _FUNCTIONS:
        model = weakref.ref(model_fn)  # a strong one would keep every model alive
        _FUNCTIONS[model_fn] = _under_attack(model)
        _FUNCTIONS[model_fn].model = model
        _FUNCTIONS[model_fn].random = is_random(model_fn)
    return _FUNCTIONS[model_fn]


def _under_attack(model):
    def logits(images):
        token = _ATTACKED.set(True)
        try:
            return in_float32(model()(images, training=False))
        finally:
            _ATTACKED.reset(token)

    return logits


def in_float32(logits):
    """Logits of any floating kind as float32, in which attacks calculate."""
    return tf.cast(logits, tf.float32)


def attacked():
    """Whether an attack asks: a layer that draws at random then gives its mean."""
    return _ATTACKED.get()


def served(model_fn):
    """What decides whether an image fools: the model itself, with draws of its own.

    The same function as that of `inference` unless layers of the model are `random`.

    Args:
      model_fn: as of `inference`.
    """
    if isinstance(model_fn, (list, tuple)):
        return joint(*(served(member) for member in model_fn))
    if not isinstance(model_fn, keras.Model) or not is_random(model_fn):
        return inference(model_fn)
    if model_fn not in _SERVED:
        model = weakref.ref(model_fn)
        _SERVED[model_fn] = lambda images: in_float32(model()(images, training=False))
        _SERVED[model_fn].model = model
    return _SERVED[model_fn]


def is_random(model):
    """Whether a layer of a keras.Model declares that it draws at inference."""
    return any(getattr(layer, "random", False) for layer in model._flatten_layers())


def is_expectation(model_fn):
    """Whether it is the mean over the draws of a random model."""
    return any(getattr(member, "random", False) for member in members(model_fn))


@functools.lru_cache(maxsize=8)  # The same function again: nothing is traced anew.
def joint(*model_fns):
    """Several models as one: its logits are the mean of their log-probabilities.

    Attacks on a loss do not attack these logits, but the mean of the models' losses
    (see `losses`); they find the models in `members`.
    """

    def model_fn(x):
        return joint_logits([member(x) for member in model_fns])

    model_fn.members = model_fns
    return model_fn


def stacked(model_fn, y):
    """`(model_fn, y)` with which CleverHans' functions attack the mean of the losses.

    They differentiate the sum of a vector of losses, and their steps do not depend on
    the losses' scale: so of a joint model they get the logits of its members one after
    the other along the batch axis, and as often the labels. Another model is unchanged.
    """
    models = members(model_fn)
    if len(models) == 1:
        return models[0], y
    return _stacked(models), tf.tile(y, [len(models)])


@functools.lru_cache(maxsize=8)
def _stacked(models):
    return lambda x: tf.concat([member(x) for member in models], axis=0)


def joint_logits(logits):
    """The mean log-probabilities of a list of logits, `[n, classes]` each."""
    return sum(tf.nn.log_softmax(each) for each in logits) / len(logits)


def members(model_fn):
    """The models of a joint one; any other model alone."""
    return getattr(model_fn, "members", (model_fn,))


def predict(model_fn, x):
    """The model's classes, int64 `[batch]`, compiled; `model_fn` from `inference`."""
    return tf.argmax(compiled_logits(model_fn, x), axis=1)


@tf.function  # With autograph, as CleverHans' gradient: a model may use len(x).
def compiled_logits(model_fn, x):
    return model_fn(x)
