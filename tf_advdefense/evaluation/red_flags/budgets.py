"""Red flags of an attack beside itself: with another radius, or with more effort."""

from collections.abc import Iterator
import itertools
import math

from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.red_flags.evidence import EFFORT
from tf_advdefense.evaluation.red_flags.evidence import Evidence
from tf_advdefense.evaluation.red_flags.evidence import Found
from tf_advdefense.evaluation.red_flags.evidence import RedFlag
from tf_advdefense.evaluation.red_flags.evidence import differing
from tf_advdefense.evaluation.red_flags.evidence import exceeds
from tf_advdefense.evaluation.red_flags.evidence import is_iterated
from tf_advdefense.evaluation.red_flags.evidence import on
from tf_advdefense.evaluation.red_flags.evidence import series

_SLACK = 0.005  # Half a point, below which an order may be chance.
_PASSED_OVER = 0.02


def _too_short(evidence: Evidence) -> Iterator[Found]:
    for record in evidence.white_box:
        params = record["params"]
        if {"eps", "eps_iter", "nb_iter"} <= params.keys() and record["eps"]:
            reach = params["nb_iter"] * params["eps_iter"]
            if reach < record["eps"] * (1 - 1e-6):
                yield Found(
                    record["target"],
                    on(record),
                    f"{params['nb_iter']} steps of {params['eps_iter']:.4g} reach "
                    f"{reach:.4g} of eps {record['eps_text']}",
                )


def _incomplete(evidence: Evidence) -> Iterator[Found]:
    for rivals in evidence.balls():
        for name in EFFORT:
            alike: dict[tuple, list[Record]] = {}
            for record in rivals:
                if name in record["params"]:
                    alike.setdefault(differing(record, name), []).append(record)
            for records in alike.values():
                yield from _still_gains(evidence, name, records)


def _still_gains(
    evidence: Evidence, name: str, records: list[Record]
) -> Iterator[Found]:
    """What the two largest efforts of an attack differ by, per doubling."""
    *_, fewer, more = [None, *sorted(records, key=lambda r: r["params"][name])]
    if fewer is None or fewer["params"][name] == more["params"][name]:
        return
    before, after = evidence.share(fewer, more)
    efforts = fewer["params"][name], more["params"][name]
    gain = (sum(before) - sum(after)) / math.log2(efforts[1] / efforts[0])
    if exceeds(gain, len(before), _SLACK):
        yield Found(
            more["target"],
            on(more),
            f"{sum(before)} of {len(before)} images resist {name}={efforts[0]}, "
            f"{sum(after)} resist {efforts[1]}",
        )


def _pairs(evidence: Evidence) -> Iterator[tuple[Record, Record, bool]]:
    """Neighbours in radius, and whether more images resist the larger one."""
    for points in series(evidence.attacked):
        for low, high in itertools.pairwise(points):
            if high["eps"] != low["eps"]:
                rise = high["correct"] - low["correct"]
                yield low, high, exceeds(rise, high["num_examples"], _SLACK)


def _grows(evidence: Evidence) -> Iterator[Found]:
    for low, high, rises in _pairs(evidence):
        if rises:
            yield Found(
                high["target"],
                f"{high['attack']} of {high['source']} on {high['target']}",
                f"{100 * low['accuracy']:.1f} % at eps {low['eps_text']}, "
                f"{100 * high['accuracy']:.1f} % at {high['eps_text']}, although the "
                "larger ball holds the smaller one",
            )


def _silent_success(evidence: Evidence) -> Iterator[Found]:
    for low, high, rises in _pairs(evidence):
        if rises or high["setting"] != "white-box" or not is_iterated(high):
            continue
        smaller, larger = evidence.share(low, high)
        passed = sum(late and not early for early, late in zip(smaller, larger))
        if exceeds(passed, len(larger), _PASSED_OVER, least=2):
            yield Found(
                high["target"],
                on(high),
                f"{passed} of {len(larger)} images that resist were fooled at eps "
                f"{low['eps_text']}, inside the ball",
            )


TOO_SHORT = RedFlag(
    "steps too short",
    "All steps together do not reach the surface of the ball.",
    "Raise `eps_iter` to 2.5 eps / nb_iter, or `nb_iter`.",
    "Madry et al. 2017; Carlini et al. 2019",
    _too_short,
)
INCOMPLETE = RedFlag(
    "incomplete optimisation",
    "With more steps, restarts or queries the attack still gains more than half a "
    "point per doubling.",
    "Double the effort until accuracy stays, or run `autoattack`.",
    "Pintor et al. 2022, incomplete optimisation; AutoAttack",
    _incomplete,
)
GROWS = RedFlag(
    "accuracy grows with eps",
    "Accuracy is larger in the larger ball, which holds the smaller one.",
    "Distrust the larger radius: give it more steps, or another attack.",
    "Carlini et al. 2019; Athalye et al. 2018",
    _grows,
)
SILENT_SUCCESS = RedFlag(
    "silent success",
    "The attack passes over examples that fool, and returns others.",
    "Use an attack that keeps the best image (`apgd_ce`, or `pgd` with nb_restarts=2).",
    "Pintor et al. 2022, silent success",
    _silent_success,
)
