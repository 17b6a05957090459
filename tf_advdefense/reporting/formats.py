"""How every number, name and setting of a report is written: here and nowhere else.

    percent(0.53906)                  # "53.9"
    interval((0.496, 0.5824))         # "49.6–58.2"

Functions take numbers in the units of `results.json` (fractions, [0, 1] images,
seconds) and return text; None and NaN become an en dash.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import functools
import math
from typing import Any

from tf_advdefense.evaluation.threat_models import ThreatModel

NONE = "–"

# Titles, in the order of a table's columns. Records of former versions give none of
# their own.
ATTACKS = {
    "clean": "Clean",
    "fgsm": "FGSM",
    "r_fgsm": "R+FGSM",
    "bim": "BIM",
    "pgd": "PGD",
    "mim": "MIM",
    "cw": "CW",
    "sparse_l1": "Sparse L1",
    "ead": "EAD",
    "jsma": "JSMA",
    "deepfool": "DeepFool",
    "fmn": "FMN",
    "minimal_eps": "Minimal ε",
    "apgd_ce": "APGD-CE",
    "apgd_dlr": "APGD-DLR",
    "apgd_t": "APGD-T",
    "fab_t": "FAB-T",
    "autoattack": "AutoAttack",
    "square": "Square",
    "spsa": "SPSA",
    "noise": "Noise",
    "spatial": "Rotation and shift",
    "hop_skip_jump": "HopSkipJump",
}
NORMS = {"inf": "L∞", "2": "L2", "1": "L1", "0": "L0"}
DEFENSES = {
    "none": "undefended",
    "": "undefended",
    "adversarial": "adversarial training",
    "ensemble": "ensemble adversarial training",
    "ensemble_at": "ensemble adversarial training on the fly",
    "fgsm_at": "FGSM adversarial training",
    "pgd_at": "PGD adversarial training",
    "trades": "TRADES",
    "mart": "MART",
    "fast_at": "fast adversarial training",
    "free_at": "free adversarial training",
    "multi_norm": "training against three norms",
    "rslad": "robust distillation (RSLAD)",
    "distillation": "defensive distillation",
}


def _or_dash(function: Callable[[Any], str]) -> Callable[[Any], str]:
    @functools.wraps(function)
    def formatted(value: Any) -> str:
        missing = value is None or (isinstance(value, float) and math.isnan(value))
        return NONE if missing else function(value)

    return formatted


@_or_dash
def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


@_or_dash
def interval(bounds: Sequence[float]) -> str:
    return f"{percent(bounds[0])}–{percent(bounds[1])}"


@_or_dash
def points(difference: float) -> str:
    """A difference of two fractions in percentage points, always signed."""
    text = f"{100 * difference:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


@_or_dash
def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


@_or_dash
def count(number: int) -> str:
    return f"{number:,}"


@_or_dash
def mean_count(number: float) -> str:
    """A mean of counts: 143.2, and 20 where it is whole."""
    return f"{number:,.1f}".removesuffix(".0")


@_or_dash
def distance(length: float) -> str:
    """A norm, in units of images in [0, 1], to three significant digits."""
    return f"{length:.0f}" if abs(length) >= 1000 else f"{length:#.3g}".rstrip(".")


@_or_dash
def seconds(duration: float) -> str:
    if duration < 60:
        return f"{duration:.1f} s"
    minutes = duration / 60
    return f"{minutes:.1f} min" if minutes < 60 else f"{minutes / 60:.1f} h"


def attack(record: Mapping[str, Any]) -> str:
    """The title that a record gives its attack, else that of the table above."""
    name = record["attack"]
    return record.get("title") or ATTACKS.get(name, name)


@_or_dash
def norm(name: str | None) -> str:
    return NORMS.get(name, name)


def defense(name: str | None) -> str:
    return DEFENSES.get(name or "", name)


def eps(record: Mapping[str, Any]) -> str:
    """The budget as the user wrote it ("8/255"); empty where there is none."""
    if record.get("eps") is None:
        return ""
    return f"ε = {record.get('eps_text') or format(record['eps'], 'g')}"


def ball(threat: ThreatModel) -> str:
    """The norm and radius of a threat model: "L∞ 8/255"."""
    return f"{norm(threat.norm)} {threat.eps_text or format(threat.eps, 'g')}"


def threat(model: ThreatModel) -> str:
    """The same as a heading: "L∞, ε = 8/255"."""
    return f"{norm(model.norm)}, ε = {model.eps_text or format(model.eps, 'g')}"


def within(threat: Any) -> str:
    """The ball, and what is known where not all is: "L∞ 8/255, transfer"."""
    known = "" if threat.knowledge == "white-box" else f", {threat.knowledge}"
    return ball(threat) + known


def spread(counts: Sequence[int]) -> str:
    """ "128" if they are all the same, else "128 to 10,000"."""
    low, high = count(min(counts)), count(max(counts))
    return low if low == high else f"{low} to {high}"


def numbers(counts: Sequence[int], what: str = "images") -> str:
    """How many images each number of a table is of, as a sentence of its note."""
    return f"n = {spread(counts)} {what}." if counts else ""


def params(settings: dict[str, Any]) -> str:
    """Hyperparameters in one fixed order, as `a=1, b=2`."""
    return ", ".join(f"{name}={settings[name]}" for name in sorted(settings))


def code(name: object) -> str:
    """A name to be set in a monospaced font by the Markdown and HTML writers."""
    return "`" + str(name).replace("`", "'") + "`"


def listing(phrases: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(phrases[:-1]), phrases[-1]]))
