"""Checks of a defence's hyperparameters."""

from collections.abc import Iterable
import math
import numbers
from typing import Any

from tf_advdefense.attacks.core.hyperparameters import check_kind
from tf_advdefense.defenses.choices import CHOICES
from tf_advdefense.registry import nearest

# Least value, whether it is allowed itself, and greatest value.
RANGES = {
    "temperature": (0, False, math.inf),
    "label_smoothing": (0, True, 1),
    "beta": (0, True, math.inf),
    "adv_weight": (0, False, 1),
    "eps": (0, True, 1),
    "eps_iter": (0, True, 1),
    "eps_linf": (0, True, 1),
    "eps_l2": (0, True, math.inf),
    "eps_l1": (0, True, math.inf),
}


def check(values: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Raises ValueError for values of another kind than the default or out of range."""
    for name, value in values.items():
        check_kind(name, value, defaults[name])
        if name in CHOICES and value not in CHOICES[name]:
            raise ValueError(
                f"`{name}` must be {' or '.join(CHOICES[name])}. "
                f"Received: {name}={value!r}."
            )
        if name in RANGES:
            _check_range(name, value, *RANGES[name])


def _check_range(name, value, low, closed, high):
    fits = isinstance(value, numbers.Real) and math.isfinite(value)
    if not fits or not low <= value <= high or (value == low and not closed):
        least = f"at least {low}" if closed else f"above {low}"
        most = "" if high == math.inf else f" and at most {high}"
        raise ValueError(f"`{name}` must be {least}{most}. Received: {name}={value!r}.")


def unknown(defense: str, name: str, known: Iterable[str]) -> ValueError:
    """The error for a hyperparameter that a defence lacks."""
    return ValueError(
        f"The defence '{defense}' has no hyperparameter {name!r}. "
        f"{nearest(name, known)}Known: {', '.join(known) or 'none'}."
    )
