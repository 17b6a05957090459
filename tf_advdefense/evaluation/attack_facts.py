"""What records, sets and plans say of an attack: the one place that asks it.

facts(make_attack("hop_skip_jump"))
# {"goal": "minimal-norm", "access": "decisions"}
described(attack)["params"]           # every hyperparameter, as JSON has them
"""

from typing import Any

import numpy as np

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.hyperparameters import recorded
from tf_advdefense.images import as_float
from tf_advdefense.radii import radius_text


def facts(attack: Attack) -> dict[str, Any]:
    """What it is after (`goal`) and what it sees of the model (`access`)."""
    return {"goal": attack.goal, "access": attack.access}


def described(attack: Attack) -> dict[str, Any]:
    """The fields of `records.Record` that an attack determines."""
    return {
        "attack": attack.name,
        "title": attack.title,
        "norm": norm_text(attack.norm),
        **facts(attack),
        "eps": attack.eps,
        "params": json_hyper(attack),
    }


def default_eps(attack: Attack) -> float | None:
    """The radius that the attack has by default, or None."""
    return attack.defaults.get("eps")


def within_budget(attack: Attack, images: np.ndarray) -> Attack:
    """The attack with the hyperparameters that commands give it on such images.

    Args:
      images: uint8 or float `[n, height, width, channels]`. Where more than half of the
        values of the first are at a bound, as in MNIST, `budget_at_bounds` counts.
    """
    values = as_float(images[:256])
    at_bounds = np.mean((values == 0) | (values == 1)) > 0.5
    budget = attack.budget_at_bounds if at_bounds else attack.budget
    return attack.replace(**(budget or attack.budget))


def at_radius(attack: Attack, eps: float) -> Attack:
    """The attack at a radius, with steps that together reach the ball's surface.

    Steps of their default length that would all end inside it become those of Madry et
    al. (2017, arXiv:1706.06083): 2.5 eps / nb_iter each.
    """
    attack = attack.replace(eps=eps)
    params = attack.hyper._asdict()
    size, count = params.get("eps_iter"), params.get("nb_iter")
    if size is None or size != attack.defaults["eps_iter"] or size * count >= eps:
        return attack
    return attack.replace(eps_iter=min(eps, 2.5 * eps / count))


def eps_text(attack: Attack) -> str | None:
    """Its radius as people write it; None where it has none."""
    return None if attack.eps is None else radius_text(attack.eps)


def norm_text(norm: float | None) -> str | None:
    """`inf`, `2`, `1` or `0`, as results and sets write a norm; None without one."""
    return None if norm is None else format(norm, "g")


def json_hyper(attack: Attack) -> dict[str, Any]:
    """An attack's hyperparameters as JSON has them; see `recorded`."""
    return {
        name: norm_text(value) if name == "norm" else value
        for name, value in recorded(attack.hyper).items()
    }


def made(attack: str | Attack) -> Attack:
    """An attack of a name, with its default hyperparameters, or the attack itself."""
    return make_attack(attack) if isinstance(attack, str) else attack
