"""Checks of hyperparameters: known names, the kind of their default, radius and norm.

A hyperparameter whose default is a bool, a whole number or a text takes only the like;
numbers of iterations or draws start at 1.
"""

from collections.abc import Iterable
import numbers
from typing import Any

import numpy as np
import tensorflow as tf

from tf_advdefense.registry import nearest


def recorded(hyper: Any) -> dict[str, Any]:
    """Hyperparameters as requests and records name them, by which they are recognised.

    Those in `later` of a NamedTuple came after such were kept. With their defaults they
    change nothing, and are left out, so that what was made before stays recognised.
    """
    later, defaults = getattr(hyper, "later", ()), hyper._field_defaults
    return {
        name: value
        for name, value in hyper._asdict().items()
        if name not in later or value != defaults[name]
    }


def check(attack: Any) -> None:
    """Raises ValueError, in one line, for a value that an attack cannot take."""
    for name, value in attack.hyper._asdict().items():
        default = attack.defaults[name]
        check_kind(name, value, default)
        if value is None and default is not None:
            raise ValueError(
                f"`{name}` must be a value like its default, {default!r}. "
                f"Received: {name}=None."
            )
    _check_ranges(attack)
    _check_ball(attack)
    attack.check(attack.hyper)


_MOST = 2**31 - 1  # Of iterations and draws, as TensorFlow counts them.
# Of hyperparameters that would switch an attack off beyond them: the least value, and
# whether it is allowed itself.
_LEAST = {
    "eps_iter": (0, False),
    "learning_rate": (0, False),
    "initial_const": (0, False),
    "confidence": (0, True),
    "decay_factor": (0, True),
    "delta": (0, False),
}


def _check_ranges(attack):
    for name, (least, allowed) in _LEAST.items():
        value = getattr(attack.hyper, name, None)
        if value is None or tf.is_tensor(value):
            continue
        if name == "eps_iter" and _is_zero(attack.eps):
            continue  # it is reduced to eps anyway
        if not np.all(np.isfinite(value)) or not np.all(
            np.greater_equal(value, least) if allowed else np.greater(value, least)
        ):
            rule = f"at least {least}" if allowed else f"above {least}"
            raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}.")


def _is_zero(eps):
    return not tf.is_tensor(eps) and np.all(np.equal(eps, 0))


def check_known(attack: Any, names: Iterable[str]) -> None:
    """Raises ValueError, in one line, for a hyperparameter that an attack lacks."""
    known = attack.defaults
    for name in names:
        if name not in known:
            raise ValueError(
                f"`{attack.name}` has no hyperparameter {name!r}. "
                f"{nearest(name, known)}Known: {', '.join(known) or 'none'}."
            )


def check_kind(name: str, value: Any, default: Any) -> None:
    """Values are of their default's kind; None stands for any but a text."""
    if isinstance(default, str | bool):
        fits = isinstance(value, type(default))
    elif isinstance(default, int):
        fits = isinstance(value, numbers.Integral) and 1 <= int(value) <= _MOST
    elif default is None or isinstance(default, float):
        fits = _is_numeric(value) or (default is None and isinstance(value, bool))
    else:
        fits = not isinstance(value, str)
    if not fits:
        least = f" from 1 to {_MOST:,}" if type(default) is int else ""
        raise ValueError(
            f"`{name}` must be a value like its default, {default!r}{least}. "
            f"Received: {name}={value!r}."
        )


def _is_numeric(value):
    """A real number, or several, such as one per image; None is checked elsewhere."""
    if value is None or tf.is_tensor(value):
        return True
    try:
        values = np.asarray(value)
    except ValueError:  # Lists of several lengths.
        return False
    return values.dtype.kind in "iuf" and values.size > 0


def _check_ball(attack) -> None:
    norm, eps = attack.norm, attack.eps
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
            f"`eps` of `{attack.name}` must be {one}. "
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
