"""What was found of one model, in a sentence or two.

of_model(results, per_example, "mine")
# "Of 1,000 images mine classifies 87.3 % rightly; under AutoAttack in L∞ 8/255 it
#  keeps 43.1 % (40.1–46.2)."
"""

from collections.abc import Iterable

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.threat_models import Robustness
from tf_advdefense.evaluation.threat_models import ThreatModel
from tf_advdefense.evaluation.threat_models import robustness
from tf_advdefense.evaluation.threat_models import threat_models
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import shown

_FEW = 2  # Attacks that are named; more are "every attack tried".


def of_model(results: Results, per_example: PerExample, name: str) -> str:
    """Clean accuracy, and the worst case under each threat model or else distances."""
    own = [r for r in results["records"] if r["target"] == name]
    robust = [
        (threat, found)
        for threat in threat_models(results)
        if (found := robustness(results, per_example, name, threat))
    ]
    if not robust:
        return " ".join([_clean(name, own), *_distances(own)])
    threat, found = robust[0]
    others = "".join(
        f"; {shown.threat(each)}: {_kept(worst)}" for each, worst in robust[1:]
    )
    return (
        f"Of {formats.count(found.num_examples)} images {name} classifies "
        f"{formats.percent(found.clean_accuracy)} % rightly; under "
        f"{_attacks(own, found)} {_in(threat)} it keeps {_kept(found)}{others}."
    )


def _clean(name: str, records: Iterable[Record]) -> str:
    clean = next(r for r in records if r["attack"] == "clean")
    return (
        f"Of {formats.count(clean['num_examples'])} images {name} classifies "
        f"{formats.percent(clean['accuracy'])} % "
        f"({formats.interval(clean['interval'])}) rightly."
    )


def _distances(records: Iterable[Record]) -> list[str]:
    """Of each attack that looks for a small norm, how far it had to go."""
    return [
        f"{formats.attack(r)} fools {formats.count(r['fooled'])} of "
        f"{formats.count(r['clean_correct'])} at a mean {formats.norm(r['norm'])} "
        f"distance of {formats.distance(r.get('mean_l' + str(r['norm'])))}."
        for r in records
        if r["goal"] == "minimal-norm" and r["setting"] == "white-box"
    ]


def _attacks(records: Iterable[Record], found: Robustness) -> str:
    keyed = {r["key"]: r for r in records}
    titles = dict.fromkeys(formats.attack(keyed[key]) for key in found.keys)
    if len(titles) > _FEW:
        return f"all of {formats.listing(list(titles))}"
    return formats.listing(list(titles))


def _in(threat: ThreatModel) -> str:
    known = "" if threat.knowledge == "white-box" else f" ({threat.knowledge})"
    return f"in {formats.norm(threat.norm)} {threat.eps_text}{known}"


def _kept(found: Robustness) -> str:
    return f"{formats.percent(found.accuracy)} % ({formats.interval(found.interval)})"
