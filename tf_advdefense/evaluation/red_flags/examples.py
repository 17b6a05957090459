"""Red flags of the adversarial examples of one attack."""

from collections.abc import Iterator

import numpy as np

from tf_advdefense.artifacts.former_formats import MINIMAL_NORM
from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.red_flags.evidence import FIXED_EPS
from tf_advdefense.evaluation.red_flags.evidence import Evidence
from tf_advdefense.evaluation.red_flags.evidence import Found
from tf_advdefense.evaluation.red_flags.evidence import RedFlag
from tf_advdefense.evaluation.red_flags.evidence import exceeds
from tf_advdefense.evaluation.red_flags.evidence import is_iterated
from tf_advdefense.evaluation.red_flags.evidence import on

# Hyperparameters that bound a minimal-norm attack, unless they have this value.
_UNBOUNDED = {"gamma": 1.0, "max_eps": None}
_EVERYTHING = 0.5  # An Linf ball of this radius holds mid-grey, for any image.
_MISSED = 0.1
_ROUNDED = 0.05
_GREY_LEVEL = 1 / 255


def _signs(record: Record) -> dict:
    return dict(record.get("signs") or {})


def _outside(evidence: Evidence) -> Iterator[Found]:
    for record in evidence.attacked:
        lengths = evidence.per_example.get(f"{record['key']}/l{record['norm']}")
        if record["goal"] != FIXED_EPS or record["eps"] is None or lengths is None:
            continue
        slack = 1e-6 + 1e-4 * record["eps"] + _rounding(record, evidence)
        outside = int(np.sum(~(lengths <= record["eps"] + slack)))
        if outside:
            yield Found(
                record["target"],
                on(record),
                f"{outside} of {len(lengths)} examples are farther than eps "
                f"{record['eps_text']}, up to {np.max(lengths):.4g}",
            )


def _rounding(record: Record, evidence: Evidence) -> float:
    """How far an example of a set may be moved by storing it in grey levels."""
    if record["adv_set"] is None:
        return 0.0
    if record["norm"] == "inf":
        return _GREY_LEVEL / 2
    size = np.prod(evidence.data.image_shape) if evidence.data else np.inf
    return float(size ** (1 / float(record["norm"] or 1)) * _GREY_LEVEL / 2)


def _no_effect(evidence: Evidence) -> Iterator[Found]:
    for record in evidence.white_box:
        open_to_it = record["clean_correct"] - _signs(record).get("zero_gradients", 0)
        # A robust model is not fooled, but it does become less sure of the label.
        raised = _signs(record).get("raised")
        still = raised is None or raised < open_to_it / 2
        if _leaks(record) or record["fooled"] or open_to_it <= 0 or not record["eps"]:
            continue
        if still:
            yield Found(
                record["target"],
                on(record),
                f"no image is fooled at eps {record['eps_text']}"
                + ("" if raised is None else f", and {raised} come any nearer to it"),
            )


def _leaks(record: Record) -> bool:
    right = _signs(record).get("still_right")
    return bool(record["eps"]) and right is not None and right > record["clean_correct"]


def _label_leaking(evidence: Evidence) -> Iterator[Found]:
    for record in filter(_leaks, evidence.white_box):
        yield Found(
            record["target"],
            on(record),
            f"{_signs(record)['still_right']} images are right when attacked, "
            f"{record['clean_correct']} when clean",
        )


def _unbounded_fails(evidence: Evidence) -> Iterator[Found]:
    for record in evidence.white_box:
        if _is_unbounded(record) and record["correct"] - _masked(record) > 0:
            yield Found(
                record["target"],
                on(record),
                f"{record['correct']} images are never fooled by an attack without a "
                "bound",
            )


def _masked(record: Record) -> int:
    return _signs(record).get("zero_gradients", 0)


def _is_unbounded(record: Record) -> bool:
    if record["goal"] == MINIMAL_NORM:
        params = record["params"]
        return all(params.get(key, value) == value for key, value in _UNBOUNDED.items())
    large = record["norm"] == "inf" and (record["eps"] or 0) >= _EVERYTHING
    return large and record["goal"] == FIXED_EPS and is_iterated(record)


def _stand_in_alone(evidence: Evidence) -> Iterator[Found]:
    for record in evidence.white_box:
        missed = _signs(record).get("missed", 0)
        if exceeds(missed, record["clean_correct"], _MISSED, least=2):
            yield Found(
                record["target"],
                on(record),
                f"{missed} examples fool what was attacked in the model's place (its "
                "expectation or cooled logits), but not the model",
            )


def _lost_in_rounding(evidence: Evidence) -> Iterator[Found]:
    for record in evidence.white_box:
        rounded = _signs(record).get("rounded")
        if rounded is None or record["goal"] != FIXED_EPS:
            continue
        if exceeds(rounded - record["correct"], record["num_examples"], _ROUNDED):
            yield Found(
                record["target"],
                on(record),
                f"{record['correct']} images resist, {rounded} once the examples are "
                "rounded to 8 bits",
            )


OUTSIDE = RedFlag(
    "outside the ball",
    "Examples are farther from their images than eps, or not finite.",
    "Craft them anew; check the units of eps ([0, 1]) and the projection.",
    "Carlini et al. 2019",
    _outside,
)
NO_EFFECT = RedFlag(
    "attack without effect",
    "The attack fools no image and does not even raise the loss.",
    "Check eps and the step, and look for masked gradients with `square`.",
    "Carlini et al. 2019",
    _no_effect,
)
LABEL_LEAKING = RedFlag(
    "label leaking",
    "The attack makes wrong images right: the model has learnt the attack's pattern, "
    "or the sign of the loss is wrong.",
    "Attack with many steps, and train with predicted labels or a random start.",
    "Kurakin et al. 2017",
    _label_leaking,
)
UNBOUNDED_FAILS = RedFlag(
    "unbounded attack fails",
    "Without a bound every image can be fooled; where an attack fails, its steps are "
    "too few, the model is random or its gradients are masked.",
    "Give it more steps or a larger learning rate; then look for masked gradients "
    "with `hop_skip_jump`.",
    "Carlini et al. 2019; Pintor et al. 2022, unconstrained attack failure",
    _unbounded_fails,
)
STAND_IN_ALONE = RedFlag(
    "only the stand-in is fooled",
    "Examples fool the differentiable stand-in that was attacked, not the model.",
    "Attack with more draws (`eot_draws`), more confidence or `square`.",
    "Pintor et al. 2022, transfer failure",
    _stand_in_alone,
)
LOST_IN_ROUNDING = RedFlag(
    "lost in rounding",
    "Examples fool as float32 only: no 8-bit file holds them.",
    "Craft with --store=uint8, which judges them after rounding, or raise eps.",
    "Carlini et al. 2019",
    _lost_in_rounding,
)
