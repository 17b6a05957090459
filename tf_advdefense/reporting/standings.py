"""Who holds out: every model's worst case under every threat model, best first.

    board = standings(results, per_example)
    board.rows[0].worst[0].accuracy     # of the best, under the headline threat model
    board.rivals                        # models that are not told apart from it

A model's rank is its worst case (`evaluation.threat_models`) under the first threat
model; without one it is the distance that the minimal-norm attack needs, and without
any attack it is clean accuracy.
"""

from dataclasses import dataclass

from tf_advdefense.evaluation.records import RECORD
from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.statistics import Pair
from tf_advdefense.evaluation.statistics import paired_masks
from tf_advdefense.evaluation.threat_models import Robustness
from tf_advdefense.evaluation.threat_models import ThreatModel
from tf_advdefense.evaluation.threat_models import robustness
from tf_advdefense.evaluation.threat_models import threat_models
from tf_advdefense.reporting import protocols

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Standing:
    """One model: its clean record, worst cases and the record of its distance.

    `worst` has one entry for each threat model, None where nothing was measured.
    """

    model: str
    clean: Record | None
    worst: tuple[Robustness | None, ...]
    nearest: Record | None

    @property
    def headline(self) -> Robustness | None:
        return self.worst[0] if self.worst else None

    @property
    def clean_accuracy(self) -> float | None:
        """Of all images that were classified, else of those that were attacked."""
        if self.clean:
            return self.clean["accuracy"]
        return self.headline.clean_accuracy if self.headline else None

    @property
    def distance(self) -> float | None:
        """The median distance at which a minimal-norm attack fools it."""
        return self.nearest and self.nearest[f"median_l{self.nearest['norm'] or '2'}"]


@dataclass(frozen=True)
class Standings:
    """All models, best first."""

    threats: tuple[ThreatModel, ...]
    rows: list[Standing]

    @property
    def rivals(self) -> list[str]:
        """The models that the exact McNemar test does not tell from the first."""
        first = self.rows[0].headline
        pairs = [(row.model, _paired(first, row.headline)) for row in self.rows[1:]]
        return [model for model, pair in pairs if pair and pair.p >= SIGNIFICANT]

    def of(self, model: str) -> Standing | None:
        return next((row for row in self.rows if row.model == model), None)


def standings(results: Results, per_example: PerExample) -> Standings:
    """Every model that was measured, with its worst cases."""
    threats = shown_threats(results)
    found = [
        Standing(
            model,
            clean_record(results, model),
            tuple(robustness(results, per_example, model, t) for t in threats),
            _nearest(results, model),
        )
        for model in measured(results)
    ]
    # A threat model under which no model was measured has no column; sorting is
    # stable, so that models that tie keep their order.
    kept = [i for i in range(len(threats)) if any(row.worst[i] for row in found)]
    found = [
        Standing(r.model, r.clean, tuple(r.worst[i] for i in kept), r.nearest)
        for r in found
    ]
    return Standings(tuple(threats[i] for i in kept), sorted(found, key=_rank))


def shown_threats(results: Results) -> list[ThreatModel]:
    """All that were asked for, else the headline and the first of each other norm."""
    found = threat_models(results)
    if results.get("threat_models"):
        return found
    first = {}
    for threat in found:
        first.setdefault(threat.norm, threat)
    return list(first.values())


def measured(results: Results) -> list[str]:
    """The models with a measurement, in the order of tables."""
    return protocols.ordered_models(results, {r["target"] for r in results["records"]})


def clean_record(results: Results, model: str) -> Record | None:
    return next(
        (
            record
            for record in results["records"]
            if record["target"] == model and protocols.is_clean(record)
        ),
        None,
    )


def completed(results: Results) -> Results:
    """The results with every field in every record, None where it was missing."""
    records = [{**dict.fromkeys(RECORD), **record} for record in results["records"]]
    return {**results, "models": results.get("models") or {}, "records": records}


def _nearest(results, model):
    """The white-box minimal-norm record; of several the first in order of tables."""
    found = [
        record
        for record in results["records"]
        if record["target"] == model
        and record["goal"] == protocols.MINIMAL_NORM
        and record["setting"] == protocols.WHITE_BOX
    ]
    return min(found, key=protocols.condition_of, default=None)


def _rank(row):
    def falling(value):
        return (value is None, -(value or 0))

    worst = row.headline and row.headline.accuracy
    distance = falling(None if row.worst else row.distance)
    return falling(worst), distance, falling(row.clean_accuracy)


def _paired(one: Robustness | None, other: Robustness | None) -> Pair | None:
    """The test on the images that both worst cases are of."""
    if one is None or other is None:
        return None
    return paired_masks(one.right, other.right)
