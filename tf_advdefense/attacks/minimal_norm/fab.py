"""The targeted Fast Adaptive Boundary attack, in three functions on per-image state.

    adv = fab_t(model, images, labels, norm=2)
    adv = fab_t(model, images, labels, eps=8 / 255)         # as AutoAttack runs it

Images are float32 `[batch, height, width, channels]` in [clip_min, clip_max]; the
result is the closest fooling image found, and the image itself where none was, where
none is within `eps`, or where the model is wrong already.
"""

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core import losses
from tf_advdefense.attacks.core.balls import lengths
from tf_advdefense.attacks.core.stages import Stages
from tf_advdefense.attacks.core.stages import column
from tf_advdefense.attacks.core.stages import compiled
from tf_advdefense.attacks.core.stages import counters
from tf_advdefense.attacks.core.stages import loop
from tf_advdefense.attacks.core.stages import select
from tf_advdefense.attacks.core.stages import staged
from tf_advdefense.attacks.core.stages import where
from tf_advdefense.attacks.minimal_norm.hyperplane import to_hyperplane

_BLOCK = 5  # iterations of `advance`
_RADII = {np.inf: 0.3, 2: 1.0, 1: 5.0}  # where eps is None and nothing fooled so far


def init(model_fn, x, y, seed, index, settings):
    """The state of images before their first iteration; ranks the targets."""
    logits = _logits(model_fn, x)
    fooled = losses.is_fooled(logits, y, settings["targeted"])
    like = tf.zeros_like(y, tf.float32)
    state = {
        "image": x,
        "label": y,
        "targets": _targets(logits, y, settings),
        "keys": draws.row_keys(seed, index),
        "run": tf.zeros_like(y, tf.int32),
        "iteration": tf.zeros_like(y, tf.int32),
        "point": x,
        "best": x,
        "best_distance": tf.where(fooled, like, like + np.inf),
        **counters(x),
    }
    state.update(done=fooled, fooled=fooled, forwards=state["forwards"] + 1)
    return state


@compiled
def advance(model_fn, state, settings):
    """Runs a few iterations on every image; rows that are `done` keep their state."""
    return loop(lambda state: _iterate(model_fn, state, settings), state, _BLOCK)


def finish(state, settings):
    """The closest fooling image of each row, or the row's own image."""
    return where(state["fooled"], state["best"], state["image"])


@tf.function(autograph=False)
def _logits(model_fn, x):
    return model_fn(x)


def _targets(logits, y, settings):
    """The classes to aim at, likeliest first, int64 `[n, targets]`."""
    if settings["targeted"]:
        return y[:, None]
    classes = logits.shape[-1]
    own = tf.one_hot(y, classes, on_value=True, off_value=False)
    count = min(settings["n_target_classes"], classes - 1)
    others = tf.where(own, -np.inf, logits)
    return tf.cast(tf.math.top_k(others, count).indices, tf.int64)


def _iterate(model_fn, state, settings):
    logits, value, gradient = _linearise(model_fn, state, settings)
    # The pass for the gradient tells the point's class, too.
    new = _record(state, state["point"], logits, settings)
    point = _step(state, value, gradient, settings)
    logits = model_fn(point)
    new = _record(new, point, logits, settings)
    fooled = losses.is_fooled(logits, state["label"], settings["targeted"])
    backwards = state["image"] + settings["beta"] * (point - state["image"])
    new["point"] = _clip(where(fooled, backwards, point), settings)
    new["iteration"] += 1
    new["forwards"] += 2
    new["backwards"] += 1
    ended = new["iteration"] >= settings["n_iter"]
    new = select(ended, _next_run(new, settings), new)
    if settings["eps"] is not None:
        new["done"] |= new["fooled"]
    return select(state["done"], state, new)


def _linearise(model_fn, state, settings):
    """Logits at the points, and by how much the target leads, with its gradient."""
    point, label = state["point"], state["label"]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(point)
        logits = model_fn(point)
        if settings["targeted"]:
            lead = -losses.margin(label, logits)
        else:
            turn = state["run"] // settings["n_restarts"]
            target = tf.gather(state["targets"], turn, batch_dims=1)
            lead = tf.gather(logits, target, batch_dims=1)
            lead -= tf.gather(logits, label, batch_dims=1)
    return logits, lead, tape.gradient(lead, point)


def _record(state, point, logits, settings):
    """The state with the points among the best, where they fool and are closer."""
    distance = lengths(point - state["image"], settings["norm"])
    fooled = losses.is_fooled(logits, state["label"], settings["targeted"])
    closer = fooled & (distance < state["best_distance"])
    nearest = tf.where(closer, distance, state["best_distance"])
    eps = settings["eps"]
    return {
        **state,
        "best": where(closer, point, state["best"]),
        "best_distance": nearest,
        "fooled": nearest < np.inf if eps is None else nearest <= eps,
    }


def _step(state, value, gradient, settings):
    """From the point to the hyperplane, drawn towards the image's own nearest point."""
    image, point, norm = state["image"], state["point"], settings["norm"]
    axes = list(range(1, len(image.shape)))
    from_image = value + tf.reduce_sum(gradient * (image - point), axes)
    bounds = (settings["clip_min"], settings["clip_max"])
    step = to_hyperplane(point, value, gradient, norm, *bounds)
    image_step = to_hyperplane(image, from_image, gradient, norm, *bounds)
    size, image_size = (tf.maximum(lengths(s, norm), 1e-8) for s in (step, image_step))
    bias = tf.minimum(size / (size + image_size), settings["alpha_max"])
    bias = column(bias, image)
    moved = (1 - bias) * (point + settings["eta"] * step)
    return _clip(moved + bias * (image + settings["eta"] * image_step), settings)


def _clip(point, settings):
    return tf.clip_by_value(point, settings["clip_min"], settings["clip_max"])


def _next_run(state, settings):
    """The state at the start of the next restart, or of the next target."""
    run = state["run"] + 1
    point = state["image"]
    if settings["n_restarts"] > 1:
        again = run % settings["n_restarts"] > 0
        point = where(again, _random_start(state, run, settings), point)
    runs = state["targets"].shape[1] * settings["n_restarts"]
    return {
        **state,
        "point": point,
        "iteration": tf.zeros_like(run),
        "done": state["done"] | (run >= runs),
        "run": tf.minimum(run, runs - 1),
    }


def _random_start(state, run, settings):
    """Points half as far from the images as the closest one so far, or as eps."""
    image, norm = state["image"], settings["norm"]
    shape = tuple(image.shape[1:])
    if norm == np.inf:
        eta = 2 * draws.uniform(state["keys"], run, shape) - 1
    else:
        eta = draws.normal(state["keys"], run, shape)
    eps = _RADII[norm] if settings["eps"] is None else settings["eps"]
    radius = tf.minimum(state["best_distance"], eps) / 2
    return _clip(image + column(radius / lengths(eta, norm), image) * eta, settings)


def cost(hyper):
    """The forward and backward passes per image at most, from the hyperparameters."""
    iterations = hyper["n_iter"] * hyper["n_target_classes"] * hyper["n_restarts"]
    return 2 * iterations + 1, iterations


@staged(norms=(np.inf, 2, 1), stages=Stages(init, advance, finish))
def fab_t(
    *,
    norm=np.inf,
    n_iter=100,
    alpha_max=0.1,
    eta=1.05,
    beta=0.9,
    n_target_classes=9,
    n_restarts=1,
    eps=None,
):
    """Croce and Hein 2020 (arXiv:1907.02044), algorithm 1; targets as in AutoAttack.

    Each iteration linearises the lead of a target over the label (arXiv:2003.01690),
    and goes to its zero; from a point that fools the model, in whatever way, back
    towards the image. The targets are the likeliest other classes of the clean image,
    one after the other. What differs from AutoAttack's version: the points of which it
    takes a gradient are tried as answers, too, at no pass more; without `eps` the
    closest of all targets is kept; restarts begin half as far as the closest answer so
    far, as in the paper, not at eps / 2 always; and more targets than there are classes
    mean all of them. With `targeted`, the one target is `y`, and its lead is that over
    the largest other logit.

    Args:
      norm: of the distance: np.inf, 2 or 1.
      n_iter: iterations per target and restart.
      alpha_max: how strongly the image's own projection pulls at most.
      eta: the factor of the steps, which overshoot the hyperplane.
      beta: what is kept of a perturbation that fools the model.
      n_target_classes: how many targets to try.
      n_restarts: runs per target; all but the first begin at a random point.
      eps: a radius; an image that is fooled within it is done, one that is not keeps
        its clean self. None finds the smallest distance.
    """
    for name, value, low, high in (
        ("alpha_max", alpha_max, 0, 1),
        ("eta", eta, 1, np.inf),
        ("beta", beta, 0, 1),
    ):
        if not low <= value <= high:
            raise ValueError(
                f"`{name}` must be in [{low}, {high}]. Received: {name}={value}."
            )
