"""Threat models: what an attacker may change and knows, and which images withstand it.

    threat = ThreatModel("inf", 8 / 255)
    robustness(results, per_example, "mine", threat).accuracy    # the worst case
    threat_models(results)                                       # the headline first

An image is robust under a threat model if it is right when clean, and no attack of any
record found a wrong copy of it in the ball: not the attacks at that radius, nor those
at a smaller one, nor one that looked for a small norm and got this near. An attacker
who knows more can do whatever one who knows less can. A deployed model has no gradient:
whoever climbs those of its parent (`parents`) knows all that there is to know. This
module does without TensorFlow.
"""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any

import numpy as np

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.statistics import wilson

# Who knows more stands later: examples of others, queries, and the model itself.
KNOWLEDGE = ("transfer", "black-box", "white-box")
NORMS = ("inf", "2", "1", "0")
_STANDARD = {"inf": 8 / 255, "2": 0.5, "1": 12.0}  # Radii of the field on CIFAR-10.
_CLOSE = 1e-5  # Relative; distances are float32.


@dataclasses.dataclass(frozen=True)
class ThreatModel:
    """A ball around each image, and what the attacker knows.

    Attributes:
      norm: "inf", "2", "1" or "0", as in records.
      eps: the radius, in units of images in [0, 1].
      eps_text: as it is to be written, "8/255".
      knowledge: "white-box", "black-box" (scores or decisions) or "transfer".
    """

    norm: str
    eps: float
    eps_text: str = dataclasses.field(default="", compare=False)
    knowledge: str = "white-box"

    def as_json(self) -> dict[str, Any]:
        """Its fields, for `Results`."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Robustness:
    """Which images of one model withstand a threat model.

    Attributes:
      index: int `[n]`, the images' indices in their split, ascending.
      clean_ok, ok: bool `[n]`, right when clean; and under every attack, too.
      keys: of the records at this very radius, which all attacked these images.
    """

    index: np.ndarray
    clean_ok: np.ndarray
    ok: np.ndarray
    keys: tuple[str, ...]

    @property
    def num_examples(self) -> int:
        return len(self.index)

    @property
    def right(self) -> dict[int, bool]:
        """Whether each image withstands, by its index."""
        return dict(zip(self.index.tolist(), self.ok.tolist()))

    @property
    def correct(self) -> int:
        return int(self.ok.sum())

    @property
    def accuracy(self) -> float:
        """The robust accuracy."""
        return float(self.ok.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % Wilson interval."""
        return wilson(self.correct, self.num_examples)

    @property
    def clean_accuracy(self) -> float:
        """That of the same images."""
        return float(self.clean_ok.mean())


def knowledge_of(record: Record) -> str:
    """What the attacker of a measurement knew."""
    if record["setting"] == "transfer":
        return "transfer"
    return "white-box" if record["access"] in (None, "gradients") else "black-box"


def is_of_parent(record: Record) -> bool:
    """Whether a deployed model was scored on examples of its parent; see `parents`."""
    return "alike" in (record.get("signs") or {})


def _granted(record: Record) -> str:
    """What there was to know of it: the parent of a deployed model is all there is."""
    if is_of_parent(record):
        return knowledge_of({**record, "setting": "white-box"})
    return knowledge_of(record)


def threat_models(results: Results) -> list[ThreatModel]:
    """Those that were asked for, or else the balls that were attacked.

    Without having been asked for, the one comes first in which most models were
    attacked themselves, then that of most measurements, and of several the one nearest
    the field's radius on CIFAR-10.
    """
    asked = results.get("threat_models")
    if asked:
        return [ThreatModel(**each) for each in asked]
    balls: dict[tuple[str, float], list[Record]] = {}
    for record in results["records"]:
        if record["goal"] == "fixed-eps" and record["norm"] and record["eps"]:
            ball = record["norm"], round(record["eps"], 9)
            balls.setdefault(ball, []).append(record)

    def rank(ball: tuple[str, float]) -> tuple:
        norm, eps = ball
        away = abs(math.log(eps / _STANDARD.get(norm, eps)))
        own = {r["target"] for r in balls[ball] if _granted(r) != "transfer"}
        return -len(own), -len(balls[ball]), NORMS.index(norm), away

    return [_threat(balls[ball]) for ball in sorted(balls, key=rank)]


def _threat(records: Sequence[Record]) -> ThreatModel:
    """What most of the models met there."""
    first: Any = records[0]
    met: dict[str, str] = {}
    for record in sorted(records, key=lambda r: KNOWLEDGE.index(_granted(r))):
        met[record["target"]] = _granted(record)
    known = list(met.values())
    most = max(KNOWLEDGE[::-1], key=known.count)
    text = first["eps_text"] or f"{first['eps']:g}"
    return ThreatModel(first["norm"], first["eps"], text, most)


def robustness(
    results: Results, per_example: PerExample, target: str, threat: ThreatModel
) -> Robustness | None:
    """The worst case of one model; None where no such attack of it was measured.

    The images are those that every attack at this radius was run on; without any, those
    of the attacks that look for a small norm. Unless the attacker only has examples of
    others, one of these must have attacked the model itself, or a deployed one's
    parent.
    """
    records = _of(results, target, threat)
    norm = [r for r in records if r["norm"] == threat.norm]
    core = [r for r in norm if r["eps"] and math.isclose(r["eps"], threat.eps)]
    core = core or [r for r in norm if r["goal"] == "minimal-norm"]
    index = _shared(per_example, core)
    if index is None or not any(_meets(r, threat) for r in core):
        return None
    clean_ok, reach = _reach(per_example, records, core[0], threat.norm, index)
    ok = clean_ok & beyond(reach, threat.eps)
    return Robustness(index, clean_ok, ok, tuple(r["key"] for r in core))


def beyond(reach: np.ndarray, eps: float) -> np.ndarray:
    """Which distances lie outside the ball, bool; rounding is no distance."""
    return reach > eps * (1 + _CLOSE)


def curve(
    results: Results,
    per_example: PerExample,
    target: str,
    norm: str,
    knowledge: str = "white-box",
) -> tuple[np.ndarray, np.ndarray] | None:
    """Accuracy against the radius: (clean_ok bool `[n]`, reach float `[n]`).

    `reach` is the smallest distance in `norm` at which an image is known to be fooled,
    infinite where it never is: `np.mean(clean_ok & (reach > eps))` is the robust
    accuracy, or an upper bound of it between two radii that were attacked. None without
    measurements in this norm.
    """
    records = _of(results, target, ThreatModel(norm, math.inf, knowledge=knowledge))
    own = [r for r in records if r["norm"] == norm and r["goal"] != "none"]
    index = _shared(per_example, own)
    if index is None:
        return None
    return _reach(per_example, records, own[0], norm, index)


def _of(results: Results, target: str, threat: ThreatModel) -> list[Record]:
    """The attacks on a model by someone who knows no more."""
    most = KNOWLEDGE.index(threat.knowledge)
    return [
        record
        for record in results["records"]
        if record["target"] == target
        and record["attack"] != "clean"
        and KNOWLEDGE.index(knowledge_of(record)) <= most
    ]


def _meets(record: Record, threat: ThreatModel) -> bool:
    return threat.knowledge == "transfer" or _granted(record) != "transfer"


def _shared(per_example: PerExample, records: Sequence[Record]) -> np.ndarray | None:
    """The indices of the images of all records, ascending; None if there are none."""
    each = [per_example.get(f"{record['key']}/index") for record in records]
    known = [index for index in each if index is not None]
    if not known or len(known) < len(each):
        return None
    shared = known[0]
    for index in known[1:]:
        shared = np.intersect1d(shared, index)
    return np.sort(shared) if len(shared) else None


def _reach(
    per_example: PerExample,
    records: Sequence[Record],
    first: Record,
    norm: str,
    index: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Of these images: right when clean, and the distance at which one is fooled."""
    clean_ok, _ = _rows(per_example, first, "clean_ok", index)
    reach = np.full(len(index), np.inf)
    for record in records:
        ok, held = _rows(per_example, record, "ok", index)
        distance = _distances(per_example, record, norm, index)
        if distance is not None:
            reach = np.where(held & ~ok, np.minimum(reach, distance), reach)
    return clean_ok, np.where(clean_ok, reach, 0.0)


def _distances(
    per_example: PerExample, record: Record, norm: str, index: np.ndarray
) -> np.ndarray | None:
    """Of the perturbations; at most the radius where they were kept within it."""
    bound = record["eps"] if record["norm"] == norm and record["eps"] else np.inf
    if f"{record['key']}/l{norm}" not in per_example:
        return np.full(len(index), bound) if np.isfinite(bound) else None
    distance, _ = _rows(per_example, record, f"l{norm}", index)
    return np.minimum(distance, bound)


def _rows(
    per_example: PerExample, record: Record, name: str, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """An array's rows of these images, and whether the record has each of them."""
    own = per_example[f"{record['key']}/index"]
    order = np.argsort(own)
    place = np.minimum(np.searchsorted(own, index, sorter=order), len(own) - 1)
    rows = order[place]
    return per_example[f"{record['key']}/{name}"][rows], own[rows] == index
