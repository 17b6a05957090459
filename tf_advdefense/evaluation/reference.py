"""Where a model stands among the networks of the zoo.

    placements(results, per_example)      # what `Results` holds as `reference`

AutoAttack in one ball is all that is compared: it is what the zoo's networks are known
by, and a weaker attack would flatter. On the data set that they were measured on the
images are the same, and McNemar's exact test tells two models apart; of another copy of
it, in another order, Fisher's exact test does. This module does without TensorFlow.
"""

import functools
import math
from typing import Any

from scipy.stats import fisher_exact

from tf_advdefense import zoo
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.placement import Network
from tf_advdefense.evaluation.placement import Placement
from tf_advdefense.evaluation.statistics import correct_by_index
from tf_advdefense.evaluation.statistics import paired_masks

_ATTACK = "autoattack"
_LEVEL = 0.05


def placements(
    results: records.Results, per_example: records.PerExample
) -> list[Placement]:
    """One for each model and ball in which both it and the zoo were attacked.

    Networks of the zoo are not placed among themselves.
    """
    found = []
    known, their_arrays = _zoo()
    digests = {model["weights_sha256"] for model in known["models"].values()}
    if known["dataset"]["class_names"] != results["dataset"]["class_names"]:
        return []
    same = known["dataset"]["fingerprint"] == results["dataset"]["fingerprint"]
    for record in results["records"]:
        theirs = [r for r in known["records"] if _is_alike(r, record)]
        own = results["models"][record["target"]]["weights_sha256"]
        right = correct_by_index(per_example, record["key"])
        if own in digests or right is None or not theirs:
            continue
        beside = [_beside(right, r, their_arrays, same) for r in theirs]
        found.append(
            Placement(
                key=record["key"],
                target=record["target"],
                same_images=same,
                networks=sorted(beside, key=lambda each: -each["accuracy"]),
            )
        )
    return found


def _is_alike(theirs: records.Record, record: records.Record) -> bool:
    """Whether both are AutoAttack on the model itself, in one ball."""
    return (
        record["attack"] == theirs["attack"] == _ATTACK
        and record["setting"] == theirs["setting"] == "white-box"
        and record["norm"] == theirs["norm"]
        and math.isclose(record["eps"] or 0, theirs["eps"] or 0, rel_tol=1e-6)
    )


def _beside(
    right: dict[int, bool],
    theirs: records.Record,
    arrays: records.PerExample,
    same: bool,
) -> Network:
    """How the model does against one network of the zoo."""
    others = correct_by_index(arrays, theirs["key"]) or {}
    pair = paired_masks(right, others) if same else None
    if pair is not None:
        own, other = (count / pair.n for count in pair.correct)
        number, p = pair.n, pair.p
    else:
        counts = [[sum(each.values()), len(each)] for each in (right, others)]
        own, other = (correct / total for correct, total in counts)
        number = len(others)
        p = float(fisher_exact([[c, n - c] for c, n in counts]).pvalue)
    stands = ("above" if own > other else "below") if p < _LEVEL else "alike"
    return Network(
        name=theirs["target"],
        num_examples=number,
        accuracy=other,
        gain=own - other,
        p=p,
        stands=stands,
    )


@functools.cache
def _read(directory: Any) -> tuple[records.Results, records.PerExample]:
    return records.load_results(directory)


def _zoo() -> tuple[records.Results, records.PerExample]:
    """What the zoo's networks withstand; of an empty zoo nothing."""
    if not (zoo.DIRECTORY / "results.json").exists():
        nothing: Any = {"class_names": None, "fingerprint": None}
        return records.Results(dataset=nothing, models={}, records=[]), {}
    return _read(zoo.DIRECTORY)
