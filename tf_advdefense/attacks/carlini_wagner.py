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
Adam step count of its own (there, the sum of the losses stops the whole batch); success
at distance zero ends the search; and the iterate that triggers the abort counts too.
"""

import tensorflow as tf

from tf_advdefense.attacks import losses
from tf_advdefense.attacks.stages import Stages
from tf_advdefense.attacks.stages import column
from tf_advdefense.attacks.stages import counters
from tf_advdefense.attacks.stages import loop
from tf_advdefense.attacks.stages import select
from tf_advdefense.attacks.stages import staged
from tf_advdefense.attacks.stages import where

_UNBOUNDED = 1e10  # the upper end of the binary search, and the distance of a failure
_ABORT = 0.9999  # a loss that did not fall below this part of the last checked one


def init(model_fn, x, y, seed, index, settings):
    """The state of images before their first iteration.

    Args:
      x, y: images float32 and labels int64, checked.
      settings: the hyperparameters, `targeted`, `clip_min` and `clip_max`, as a dict.
      model_fn, seed, index: of no use here; `init` of every attack takes them.
    """
    zeros, like = tf.zeros_like(x), tf.zeros(tf.shape(x)[:1])
    unit = (x - settings["clip_min"]) / (settings["clip_max"] - settings["clip_min"])
    return {
        "image": x,
        "label": y,
        "start": tf.atanh(0.999999 * (2 * unit - 1)),
        "best": x,
        "best_distance": like + _UNBOUNDED,
        "const": like + settings["initial_const"],
        "lower": like,
        "upper": like + _UNBOUNDED,
        "search_step": tf.cast(like, tf.int32),
        **counters(x),
        **_fresh_search(zeros, like),
    }


def _fresh_search(zeros, like):
    """What each search step starts with: Adam at rest, no success yet."""
    return {
        "modifier": zeros,
        "moment": zeros,
        "square": zeros,
        "iteration": tf.cast(like, tf.int32),
        "checked_loss": like + 1e6,
        "success": tf.cast(like, tf.bool),
    }


@tf.function(autograph=False)
def advance(model_fn, state, settings):
    """Runs a tenth of a search step, the span of the early abort, on every image.

    Returns:
      the new state; rows that are `done` keep theirs.
    """
    span = max(1, settings["max_iterations"] // 10)
    return loop(lambda state: _iterate(model_fn, state, settings), state, span)


def finish(state, settings):
    """The closest fooling image of each row, or the row's own image."""
    moved = (state["best_distance"] > 0) & (state["best_distance"] < _UNBOUNDED)
    best = tf.clip_by_value(state["best"], settings["clip_min"], settings["clip_max"])
    return where(moved, best, state["image"])


def _iterate(model_fn, state, settings):
    point, gradient = _evaluate(model_fn, state, settings)
    new = {**state, **_record(state, point), **_adam(state, gradient, settings)}
    new["forwards"] += 1
    new["backwards"] += 1
    new["fooled"] = new["best_distance"] < _UNBOUNDED
    stopped, new["checked_loss"] = _early_abort(state, point["loss"], settings)
    ended = stopped | (new["iteration"] >= settings["max_iterations"])
    new = select(ended, _next_search(new, settings), new)
    # No image is closer than the image itself.
    new["done"] |= new["best_distance"] <= 0
    return select(state["done"], state, new)


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
        lead = losses.margin(state["label"], model_fn(images))
        lead = -lead if settings["targeted"] else lead
        loss = state["const"] * tf.nn.relu(settings["confidence"] - lead) + distance
    point = {"images": images, "distance": distance, "loss": loss}
    point["success"] = lead > settings["confidence"]
    return point, tape.gradient(loss, modifier)


def _record(state, point):
    closer = point["success"] & (point["distance"] < state["best_distance"])
    return {
        "best": where(closer, point["images"], state["best"]),
        "best_distance": tf.where(closer, point["distance"], state["best_distance"]),
        "success": state["success"] | point["success"],
    }


def _adam(state, gradient, settings):
    """One step of Adam (arXiv:1412.6980, the form at the end of section 2)."""
    iteration = state["iteration"] + 1
    t = tf.cast(iteration, tf.float32)
    rate = settings["learning_rate"] * tf.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    moment = 0.9 * state["moment"] + 0.1 * gradient
    square = 0.999 * state["square"] + 0.001 * gradient**2
    step = column(rate, moment) * moment / (tf.sqrt(square) + 1e-8)
    return {
        "iteration": iteration,
        "moment": moment,
        "square": square,
        "modifier": state["modifier"] - step,
    }


def _early_abort(state, loss, settings):
    """Whether each row's loss stalled, and the loss to compare the next with."""
    span = max(1, settings["max_iterations"] // 10)
    check = state["iteration"] % span == 0
    stalled = check & (loss > _ABORT * state["checked_loss"])
    if not settings["abort_early"]:
        stalled = tf.zeros_like(check)
    return stalled, tf.where(check, loss, state["checked_loss"])


def _next_search(state, settings):
    """The state at the start of the next search step, with the constant adjusted."""
    success, const = state["success"], state["const"]
    upper = tf.where(success, tf.minimum(state["upper"], const), state["upper"])
    lower = tf.where(success, state["lower"], tf.maximum(state["lower"], const))
    const = tf.where(upper < 1e9, (lower + upper) / 2, const * 10)
    search_step = state["search_step"] + 1
    if settings["binary_search_steps"] >= 10:
        # The last step repeats the smallest constant that has succeeded.
        last = search_step == settings["binary_search_steps"] - 1
        const = tf.where(last, upper, const)
    return {
        **state,
        **_fresh_search(tf.zeros_like(state["image"]), tf.zeros_like(const)),
        "const": const,
        "lower": lower,
        "upper": upper,
        "search_step": search_step,
        "done": search_step >= settings["binary_search_steps"],
    }


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
        0.01 %.
      confidence: the margin by which the wrong logit must lead.
      initial_const: the first c; ten times as much after a failure, until a success.
      learning_rate: of Adam, in the space of arctanh.
    """
