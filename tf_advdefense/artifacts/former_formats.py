"""What former versions wrote, as today's would write it.

    without_kind({"kind": "score-based", "eps": 0.1, ...})
    # {"goal": "fixed-eps", "access": "scores", "eps": 0.1, ...}

Once an attack had one `kind`, which said of some what they are after and of others
what they see of the model. Today `goal` and `access` say both.
"""

from collections.abc import Mapping
from typing import Any

FIXED_EPS, MINIMAL_NORM, NO_GOAL = "fixed-eps", "minimal-norm", "none"
GRADIENTS, SCORES, DECISIONS = "gradients", "scores", "decisions"


def goal_and_access(
    kind: str | None, eps: float | None
) -> dict[str, str] | dict[str, None]:
    """{"goal", "access"} of a former `kind`; both None for clean images.

    Args:
      kind: "fixed-eps", "minimal-norm", "score-based", "decision-based" or None.
      eps: the attack's radius; a score-based attack without one has no goal.
    """
    if kind is None:
        return {"goal": None, "access": None}
    bounded = FIXED_EPS if eps is not None else NO_GOAL
    goal, access = {
        "fixed-eps": (FIXED_EPS, GRADIENTS),
        "minimal-norm": (MINIMAL_NORM, GRADIENTS),
        "score-based": (bounded, SCORES),
        "decision-based": (MINIMAL_NORM, DECISIONS),
    }[kind]
    return {"goal": goal, "access": access}


def without_kind(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A record, or an adversarial set's request, with goal and access for its kind.

    One without `kind` is returned as it is.
    """
    if "kind" not in entry:
        return dict(entry)
    eps = entry.get("eps", entry.get("params", {}).get("eps"))
    facts = goal_and_access(entry["kind"], eps)
    return {k: v for k, v in entry.items() if k != "kind"} | facts
