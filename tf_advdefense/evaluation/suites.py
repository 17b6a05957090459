"""Which attacks answer threat models: suites by name, attacks by name, and attacks.

    chosen("standard", [ThreatModel("inf", 8 / 255, "8/255")], images)
    # [("8/255", autoattack(eps=0.0314, norm=inf, ...))]
    chosen(["fgsm", "cw"], threats, images, arguments={"confidence": 1.0})

The suites: "quick", a minute's first look (Auto-PGD on the cross-entropy, PGD on the
margin), and "standard", AutoAttack, the field's.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import TypeAlias

import numpy as np

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.evaluation.attack_facts import at_radius
from tf_advdefense.evaluation.attack_facts import eps_text
from tf_advdefense.evaluation.attack_facts import within_budget
from tf_advdefense.evaluation.threat_models import ThreatModel

SUITES: dict[str, tuple[Attack, ...]] = {
    "quick": (
        make_attack("apgd_ce"),
        make_attack("pgd", loss="margin", rand_init=True),
    ),
    "standard": (make_attack("autoattack"),),
}
Asked: TypeAlias = str | Attack | Sequence[str | Attack]
Chosen: TypeAlias = tuple[str | None, Attack]


def chosen(
    asked: Asked,
    threats: Sequence[ThreatModel],
    images: np.ndarray,
    *,
    full: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> list[Chosen]:
    """Pairs of a radius as it is written, or None, and an attack.

    Args:
      asked: the name of a suite, names of attacks, or attacks. What is named is run in
        every ball, and an attack that looks for a small norm in every norm, that it can
        work in; where there is none, as it is by default. Attacks are run as they are.
      threats: the balls.
      images: uint8 [n, ...], by which budgets are chosen.
      full: with the attacks' defaults instead of the budget of commands.
      arguments: hyperparameters for those of the named that have them.

    Raises:
      ValueError: in one line, for unknown names, a hyperparameter that none has, a
        value out of range, or nothing asked for.
    """
    each = [asked] if isinstance(asked, str | Attack) else list(asked)
    if not each:
        raise ValueError(
            f"`attacks` must name a suite ({', '.join(SUITES)}) or attacks. "
            "Received: none."
        )
    named = [a for name in each if isinstance(name, str) for a in _members(name)]
    if not full:
        named = [within_budget(attack, images) for attack in named]
    named = _given(named, arguments or {})
    found: list[Chosen] = []
    for attack in named:
        found += _in_balls(attack, threats)
    return found + [(eps_text(a), a) for a in each if isinstance(a, Attack)]


def _members(name: str) -> Sequence[Attack]:
    return SUITES[name] if name in SUITES else [make_attack(name)]


def _given(attacks: Sequence[Attack], arguments: Mapping[str, Any]) -> list[Attack]:
    """The attacks with those of the arguments that they have."""
    for name in arguments:
        if name in ("eps", "norm") or not any(name in a.defaults for a in attacks):
            raise ValueError(
                "`attack_args` must name hyperparameters of one of the attacks "
                f"({', '.join(a.name for a in attacks)}), and radii and norms are the "
                f"threat model's. Received: attack_args={name}."
            )
    return [
        attack.replace(**{k: v for k, v in arguments.items() if k in attack.defaults})
        for attack in attacks
    ]


def _in_balls(attack: Attack, threats: Sequence[ThreatModel]) -> list[Chosen]:
    """The attack in every ball that it can work in, or as it is where in none."""
    fitting = [each for each in threats if float(each.norm) in attack.norms]
    if not fitting:
        return [(eps_text(attack), attack)]
    if attack.goal != "fixed-eps":
        norms = dict.fromkeys(float(each.norm) for each in fitting)
        return [(None, _in_norm(attack, norm)) for norm in norms]
    return [
        (each.eps_text, at_radius(_in_norm(attack, float(each.norm)), each.eps))
        for each in fitting
    ]


def _in_norm(attack: Attack, norm: float) -> Attack:
    return attack.replace(norm=norm) if "norm" in attack.defaults else attack
