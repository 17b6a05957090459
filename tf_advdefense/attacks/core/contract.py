"""What all attacks share: the calling convention, and checks of hyperparameters.

    @contract(norms=(np.inf, 2))
    def my_attack(call, *, eps=8 / 255, norm=np.inf):
        return call.x + eps * tf.sign(...)

    adv = my_attack(model, images, labels, targeted=False, clip_min=0.0, clip_max=1.0,
                    seed=0, index=None, eps=4 / 255)

`contract` hands the function a `Call`, all but the hyperparameters, checked: float32
images, int64 labels, never None, int64 indices, the seed as an int64 scalar, and a
`model_fn` in inference mode; and it gives back a finite result that no gradient flows
through. Everything keyword-only is a hyperparameter: one whose default is a bool, a
whole number or a text takes only the like, and numbers of iterations or draws start at
1. A function's attribute `check`, called with all of them, may refuse values. With
`eps_per_image=True` the attack's eps may also be float `[batch]`, one per image.
"""

import collections
import difflib
import functools
import inspect
import numbers

import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core.inputs import check_inputs
from tf_advdefense.attacks.core.model_fn import inference

Call = collections.namedtuple(
    "Call", ("model_fn", "x", "y", "targeted", "clip_min", "clip_max", "seed", "index")
)


def contract(norms, gradient=True, eps_per_image=False):
    """Decorates an attack with the package's calling convention.

    The attack keeps all three as its attributes.

    Args:
      norms: the orders of the balls it knows, the default first; (None,) if none.
      gradient: whether it needs the gradient of the model's logits.
      eps_per_image: whether its eps may be a vector, one for each image.
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
            seed = tf.cast(seed, tf.int64)
            adv = core(
                Call(logits_fn, x, y, targeted, clip_min, clip_max, seed, index),
                **hyper,
            )
            # Where a model overflows in the midst of an attack, values stay clean.
            return tf.stop_gradient(tf.where(tf.math.is_finite(adv), adv, x))

        attack.norms, attack.gradient = norms, gradient
        attack.eps_per_image = eps_per_image
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
    """Raises ValueError for an unknown hyperparameter or a value that does not fit."""
    known = defaults(attack)
    for name, value in hyper.items():
        if name not in known:
            raise ValueError(
                f"`{attack.__name__}` has no hyperparameter {name!r}. "
                f"{nearest(name, known)}Known: {', '.join(known)}."
            )
        check_kind(name, value, known[name])
    values = {**known, **hyper}
    _check_ball(attack, values.get("eps"), values.get("norm", attack.norms[0]))
    if hasattr(attack, "check"):
        attack.check(**values)


def check_kind(name, value, default):
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


def _check_ball(attack, eps, norm):
    if norm not in attack.norms:
        raise ValueError(
            f"`norm` must be {' or '.join(str(known) for known in attack.norms)}. "
            f"Received: norm={norm!r}."
        )
    if eps is None:
        return
    rank = len(eps.shape) if tf.is_tensor(eps) else np.ndim(eps)
    if rank > attack.eps_per_image:
        one = "one number or one per image" if attack.eps_per_image else "one number"
        raise ValueError(
            f"`eps` of `{attack.__name__}` must be {one}. "
            f"Received: an array of {rank} dimension{'s' * (rank > 1)}."
        )
    if tf.is_symbolic_tensor(eps):
        return  # inside a tf.function, where values are not known yet
    values = np.atleast_1d(eps)
    if norm == np.inf:
        good = (values >= 0) & (values <= 1)
        rule = "in [0, 1]", " Write 8/255 for eight grey levels."
    else:
        good, rule = values >= 0, ("at least 0", "")
    if not np.all(good):
        raise ValueError(
            f"`eps` must be {rule[0]}. Received: eps={values[~good][0]}.{rule[1]}"
        )


def nearest(name, known):
    """A hint such as "Did you mean 'eps'? ", or nothing."""
    return "".join(
        f"Did you mean {match!r}? "
        for match in difflib.get_close_matches(name, known, n=1)
    )
