"""The Carlini-Wagner L2 attack, in three functions on per-image state.

    adv = cw(model, images, labels)
    adv = cw(model, images, targets, targeted=True, max_iterations=200, confidence=1.0)

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is the closest fooling image found, and the image itself where none was, or where
the model is fooled already. `init` makes the state, a dict of tensors with a row per
image; `advance` runs a compiled block of iterations; `finish` reads the images off. A
row never depends on another row, so rows can be dropped between two blocks, as
`engine.craft_batches` does with those that are `done`.

The algorithm is CleverHans 3's, because its TF2 version fails on Keras 3 and searches
upwards only. Different from it: each image has an early abort, a search step and an
Adam step count of its own (there, the sum of the losses stops the whole batch), and the
abort asks for 1 % instead of 0.01 % (`constant_search`); success at distance zero ends
the search; and the iterate that triggers the abort counts too.
"""

import tensorflow as tf

from tf_advdefense.attacks.core import adam
from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import compiled
from tf_advdefense.attacks.core.stages import loop
from tf_advdefense.attacks.core.stages import staged
from tf_advdefense.attacks.minimal_norm import constant_search


def init(model_fn, x, y, seed, index, settings):
    """The state of images before their first iteration.

    Args:
      x, y: images float32 and labels int64, checked.
      settings: the hyperparameters, `targeted`, `clip_min` and `clip_max`, as a dict.
      model_fn, seed, index: of no use here; `init` of every attack takes them.
    """
    unit = (x - settings["clip_min"]) / (settings["clip_max"] - settings["clip_min"])
    return {
        "start": tf.atanh(0.999999 * (2 * unit - 1)),
        **constant_search.begin(x, y, settings),
        **_unmoved(x),
    }


def _unmoved(x):
    return {"modifier": tf.zeros_like(x), **adam.at_rest(x)}


@compiled
def advance(model_fn, state, settings):
    """Runs a block of iterations on every image; rows that are `done` keep theirs."""
    iterate = lambda state: _iterate(model_fn, state, settings)
    return loop(iterate, state, constant_search.BLOCK)


finish = constant_search.closest


def _iterate(model_fn, state, settings):
    point, gradient = _evaluate(model_fn, state, settings)
    closest = (point["images"], point["distance"], point["success"])
    rate = settings["learning_rate"]
    step, moments = adam.step(state, gradient, state["iteration"] + 1, rate)
    new = {
        **state,
        **constant_search.record(state, *closest),
        **moments,
        "modifier": state["modifier"] - step,
        "forwards": state["forwards"] + 1,
        "backwards": state["backwards"] + 1,
    }
    restart = _unmoved(state["image"])
    return constant_search.settle(state, new, point["loss"], restart, settings)


def _evaluate(model_fn, state, settings):
    """The current images, their losses and distances, and the losses' gradient."""
    clip_min, scale = settings["clip_min"], settings["clip_max"] - settings["clip_min"]
    modifier = state["modifier"]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(modifier)
        images = (tf.tanh(state["start"] + modifier) + 1) / 2 * scale + clip_min
        # Distances start at the image after its own round trip through tanh.
        origin = (tf.tanh(state["start"]) + 1) / 2 * scale + clip_min
        axes = list(range(1, len(images.shape)))
        distance = tf.reduce_sum((images - origin) ** 2, axes)
        penalty, success = constant_search.objective(model_fn, images, state, settings)
        loss = penalty + distance
    point = {"images": images, "distance": distance, "loss": loss, "success": success}
    return point, tape.gradient(loss, modifier)


@staged(norms=(2,), stages=Stages(init, advance, finish))
def cw(
    *,
    binary_search_steps=5,
    max_iterations=1000,
    abort_early=True,
    confidence=0.0,
    initial_const=1e-2,
    learning_rate=5e-3,
):
    """Carlini and Wagner 2016 (arXiv:1608.04644), sections V and VI.A, f_6.

    Args:
      binary_search_steps: how often the constant c of `distance^2 + c * f` is tried.
      max_iterations: Adam steps for each of them.
      abort_early: leave a search step when a tenth of it lowers the loss by less than
        1 %.
      confidence: the margin by which the wrong logit must lead.
      initial_const: the first c; ten times as much after a failure, until a success.
      learning_rate: of Adam, in the space of arctanh.
    """
