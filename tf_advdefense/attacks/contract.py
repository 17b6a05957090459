"""What all attacks share: the calling convention, its checks, and random draws.

    @contract(norms=(np.inf, 2))
    def my_attack(model_fn, x, y=None, targeted=False, clip_min=0.0, clip_max=1.0,
                  seed=0, index=None, *, eps=8 / 255, norm=np.inf):
        return x + eps * tf.sign(...)

`contract` hands the function checked tensors (float32 images, int64 labels, never
None, int64 indices, the seed as an int64 scalar) and a `model_fn` in inference mode,
and gives back a finite result that no gradient flows through. Everything keyword-only
is a hyperparameter: one whose default is a bool, a whole number or a text takes only
the like, and numbers of iterations or draws start at 1. A function's attribute `check`,
called with all of them, may refuse values.

`compute_gradient` is CleverHans' compiled gradient of the cross-entropy; it stays bound
to one function per model (`inference`), because a new one would be traced anew.
"""

import difflib
import functools
import inspect
import numbers
import weakref

from cleverhans.tf2.utils import compute_gradient
import keras
import numpy as np
import tensorflow as tf

_INFERENCE = weakref.WeakKeyDictionary()


def contract(norms, gradient=True):
    """Decorates an attack with the package's calling convention.

    Args:
      norms: the orders of the balls it knows, the default first; (None,) if none.
      gradient: it needs the gradient of the model's logits. The attack keeps this as
        its attribute `gradient`.
    """

    def decorate(core):
        @functools.wraps(core)
        def attack(
            model_fn,
            x,
            y=None,
            targeted=False,
            clip_min=0.0,
            clip_max=1.0,
            seed=0,
            index=None,
            **hyper,
        ):
            check_hyper(attack, hyper)
            logits_fn = inference(model_fn)
            x, y, index = check_inputs(
                logits_fn, x, y, targeted, clip_min, clip_max, index, gradient
            )
            adv = core(
                logits_fn,
                x,
                y,
                targeted,
                clip_min,
                clip_max,
                tf.cast(seed, tf.int64),
                index,
                **hyper,
            )
            # A model that overflows has NaN gradients: such values stay clean.
            return tf.stop_gradient(tf.where(tf.math.is_finite(adv), adv, x))

        attack.norms, attack.gradient = norms, gradient
        attack.__signature__ = inspect.Signature([*_CONVENTION, *_hyper(core)])
        return attack

    return decorate


def defaults(attack):
    """The hyperparameters of an attack function and their defaults, as a dict."""
    return {p.name: p.default for p in _hyper(attack)}


def _hyper(attack):
    parameters = inspect.signature(attack).parameters.values()
    return [p for p in parameters if p.kind is p.KEYWORD_ONLY]


def _convention(
    model_fn, x, y=None, targeted=False, clip_min=0.0, clip_max=1.0, seed=0, index=None
):
    """How every attack is called."""


_CONVENTION = inspect.signature(_convention).parameters.values()


def check_hyper(attack, hyper):
    """Raises ValueError for an unknown hyperparameter, or a value that it cannot take."""
    known = defaults(attack)
    for name, value in hyper.items():
        if name not in known:
            raise ValueError(
                f"`{attack.__name__}` has no hyperparameter {name!r}. "
                f"{nearest(name, known)}Known: {', '.join(known)}."
            )
        _check_kind(name, value, known[name])
    values = {**known, **hyper}
    _check_ball(values.get("eps", 0), values.get("norm", attack.norms[0]), attack.norms)
    if hasattr(attack, "check"):
        attack.check(**values)


def _check_kind(name, value, default):
    """Values are of their default's kind; None stands for any but a text."""
    if isinstance(default, str | bool):
        fits = isinstance(value, type(default))
    elif isinstance(default, int):
        fits = isinstance(value, numbers.Integral) and value >= 1
    else:
        fits = not isinstance(value, str)
    if not fits:
        least = " from 1 on" if type(default) is int else ""
        raise ValueError(
            f"`{name}` must be a value like its default, {default!r}{least}. "
            f"Received: {name}={value!r}."
        )


def _check_ball(eps, norm, norms):
    if norm not in norms:
        raise ValueError(
            f"`norm` must be {' or '.join(str(known) for known in norms)}. "
            f"Received: norm={norm!r}."
        )
    if eps is None:
        return
    if norm == np.inf and not 0 <= eps <= 1:
        raise ValueError(
            f"`eps` must be in [0, 1]. Received: eps={eps}. "
            "Write 8/255 for eight grey levels."
        )
    if not eps >= 0:
        raise ValueError(f"`eps` must be at least 0. Received: eps={eps}.")


def nearest(name, known):
    """A hint such as "Did you mean 'eps'? ", or nothing."""
    return "".join(
        f"Did you mean {match!r}? "
        for match in difflib.get_close_matches(name, known, n=1)
    )


def inference(model_fn):
    """One and the same function per model, with BatchNorm and dropout at inference.

    It does not keep the model alive: whoever uses it holds the model, too.

    Args:
      model_fn: a keras.Model, or any function from images to logits, returned as is; or
        a list of them, which becomes one function (`joint`).
    """
    if isinstance(model_fn, (list, tuple)):
        return joint(*(inference(member) for member in model_fn))
    if not isinstance(model_fn, keras.Model):
        return model_fn
    if model_fn not in _INFERENCE:
        model = weakref.ref(model_fn)  # a strong one would keep every model alive
        _INFERENCE[model_fn] = lambda images: model()(images, training=False)
    return _INFERENCE[model_fn]


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


def joint_logits(logits):
    """The mean log-probabilities of a list of logits, `[n, classes]` each."""
    return sum(tf.nn.log_softmax(each) for each in logits) / len(logits)


def members(model_fn):
    """The models of a joint one; any other model alone."""
    return getattr(model_fn, "members", (model_fn,))


@tf.function(autograph=False)
def predict(model_fn, x):
    """The model's classes, int64 `[batch]`, compiled; `model_fn` from `inference`."""
    return tf.argmax(model_fn(x), axis=1)


def check_inputs(
    model_fn, x, y, targeted, clip_min, clip_max, index, gradient=True
):
    """Checked `(images float32, labels int64, indices int64)`; y None is predicted.

    Raises:
      ValueError: in one line, also at tracing. The images' values can only be
        checked eagerly.
    """
    x = tf.stop_gradient(tf.cast(x, tf.float32))
    _check_range(x, clip_min, clip_max)
    if y is None and targeted:
        raise ValueError(
            "A targeted attack needs `y`, the target classes. Received: y=None."
        )
    y = predict(model_fn, x) if y is None else _per_image("y", y, x)
    index = tf.range(tf.shape(x)[0]) if index is None else _per_image("index", index, x)
    if gradient:
        _check_gradient(model_fn, x, y, targeted)
    return x, y, tf.cast(index, tf.int64)


def _check_range(x, clip_min, clip_max):
    if not clip_min < clip_max:
        raise ValueError(
            "`clip_min` must be below `clip_max`. "
            f"Received: clip_min={clip_min}, clip_max={clip_max}."
        )
    if not tf.executing_eagerly() or not tf.size(x):
        return
    low, high = float(tf.reduce_min(x)), float(tf.reduce_max(x))
    if low < clip_min or high > clip_max:
        raise ValueError(
            f"Images must lie in [{clip_min}, {clip_max}]. Received: values in "
            f"[{low:g}, {high:g}]. Divide 8-bit images by 255."
        )


def _per_image(name, values, x):
    values = tf.convert_to_tensor(values)
    if not values.dtype.is_integer or not values.shape.is_compatible_with(x.shape[:1]):
        raise ValueError(
            f"`{name}` must hold one integer per image. Received: {values.dtype.name} "
            f"of shape {values.shape} for images of shape {x.shape}."
        )
    return tf.cast(values, tf.int64)


def _check_gradient(model_fn, x, y, targeted):
    # Tracing only, and of the very function that most attacks call next.
    try:
        traced = compute_gradient.get_concrete_function(
            model_fn, cross_entropy, x, y, targeted
        )
    except Exception as error:
        # A LookupError, but autograph raises it as a type and text of its own.
        if "gradient registry has no entry" not in str(error):
            raise
        raise ValueError(_NO_GRADIENT) from error
    if traced.structured_outputs is None:
        raise ValueError(_NO_GRADIENT)


cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits

_NO_GRADIENT = (
    "The model's logits must have a gradient with respect to its images. Received: "
    "none. Attack the model without its rounding or casting step, or approximate it."
)


def draw_per_image(draw, seed, index):
    """Stacks `draw([seed, i])` over the indices: the same in any batch and order.

    Args:
      draw: from an int64 `[2]` seed of `tf.random.stateless_*` to a float32 tensor.
      seed: int64, a scalar.
      index: int64 `[batch]`, the images' indices in their data set.
    """
    seeds = tf.stack([tf.fill(tf.shape(index), seed), index], axis=1)
    return tf.map_fn(draw, seeds, fn_output_signature=tf.float32)
