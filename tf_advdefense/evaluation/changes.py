"""What changed between two result files, paired by image; nothing is measured.

    found = changes(load_results("old"), load_results("new"))
    for change in found.each:
        print(change.model, change.what, change.pair.gain, change.pair.p)

Models of one name are compared, or the only ones of both files whatever their names:
clean, under every threat model that both hold, and under every condition that both hold
(attack, parameters, norm, eps, setting). The test is McNemar's, two-sided and exact.
This module does without TensorFlow.
"""

from collections.abc import Iterator
import dataclasses
import json
from typing import Any
from typing import NamedTuple

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.statistics import Pair
from tf_advdefense.evaluation.statistics import correct_by_index
from tf_advdefense.evaluation.statistics import paired_masks
from tf_advdefense.evaluation.threat_models import ThreatModel
from tf_advdefense.evaluation.threat_models import robustness
from tf_advdefense.evaluation.threat_models import threat_models
from tf_advdefense.reporting import formats

Loaded = tuple[Results, PerExample]
Right = dict[int, bool]


class Change(NamedTuple):
    """One model under one condition, then and now.

    `pair` has the new one's lead; `old_n` and `new_n` images were measured, of which
    the pair's are common.
    """

    model: str  # "name", or "old -> new" where the names differ
    kind: str  # "clean", "threat model" or "attack"
    what: str
    pair: Pair
    old_n: int
    new_n: int

    def as_json(self) -> dict[str, Any]:
        """Its fields, for `comparison.json`."""
        new, old = self.pair.correct
        return {
            "model": self.model,
            "kind": self.kind,
            "condition": self.what,
            "num_examples": self.pair.n,
            "num_old": self.old_n,
            "num_new": self.new_n,
            "old_correct": old,
            "new_correct": new,
            "only_old": self.pair.only_second,
            "only_new": self.pair.only_first,
            "difference": self.pair.gain,
            "p": self.pair.p,
        }


@dataclasses.dataclass(frozen=True)
class Changes:
    """All that both files hold, and a line about what differs between them."""

    each: tuple[Change, ...]
    note: str

    def as_json(self) -> dict[str, Any]:
        """The content of `comparison.json`."""
        return {"note": self.note, "changes": [each.as_json() for each in self.each]}


def changes(old: Loaded, new: Loaded) -> Changes:
    """Compares two files' results.

    Args:
      old, new: as `records.load_results` returns them.

    Raises:
      ValueError: in one line: other data sets, no model in common, or no images.
    """
    datasets = [loaded[0]["dataset"] for loaded in (old, new)]
    if datasets[0]["fingerprint"] != datasets[1]["fingerprint"]:
        both = " and ".join(f"{d['name']} {d['fingerprint'][:12]}" for d in datasets)
        raise ValueError(
            "`compare` needs two results of the same data set, whose images are "
            f"paired. Received: {both}. Measure one of them again."
        )
    each = [
        change
        for one, other in _models(old[0], new[0])
        for change in _of_model(old, new, one, other)
    ]
    if not each:
        raise ValueError(
            "`compare` needs two results with images in common. Received: none under "
            "any shared condition. Measure one of them again."
        )
    return Changes(tuple(each), _note(each, datasets))


def _models(old: Results, new: Results) -> list[tuple[str, str]]:
    names, others = list(old["models"]), list(new["models"])
    if len(names) == len(others) == 1:
        return [(names[0], others[0])]
    shared = [(name, name) for name in names if name in others]
    if not shared:
        raise ValueError(
            "`compare` needs two results with a model of the same name, or of one "
            f"model each. Received: {', '.join(names)} and {', '.join(others)}."
        )
    return shared


def _of_model(old: Loaded, new: Loaded, one: str, other: str) -> Iterator[Change]:
    name = one if one == other else f"{one} -> {other}"
    then, now = _right(old, one), _right(new, other)
    for key in [key for key in then if key in now]:
        pair = paired_masks(now[key][1], then[key][1])
        if pair is not None:
            sizes = len(then[key][1]), len(now[key][1])
            yield Change(name, key[0], now[key][0], pair, *sizes)


def _right(loaded: Loaded, name: str) -> dict[tuple, tuple[str, Right]]:
    """What identifies a condition to (its title, whether each image is right)."""
    results, per_example = loaded
    records = [r for r in results["records"] if r["target"] == name]
    found: dict[tuple, tuple[str, Right]] = {}
    for record in (r for r in records if r["attack"] == "clean"):
        found["clean",] = "no attack", _correct(per_example, record)
    for threat in threat_models(results):
        found["threat model", threat] = _worst(loaded, name, threat)
    for record in (r for r in records if r["attack"] != "clean"):
        key = "attack", *_condition(results, record)
        found[key] = _title(record), _correct(per_example, record)
    return {key: each for key, each in found.items() if each[1]}


def _correct(per_example: PerExample, record: Record) -> Right:
    return correct_by_index(per_example, record["key"]) or {}


def _worst(loaded: Loaded, name: str, threat: ThreatModel) -> tuple[str, Right]:
    found = robustness(*loaded, name, threat)
    return formats.within(threat), {} if found is None else found.right


def _condition(results: Results, record: Record) -> tuple:
    """Of examples of others, the very weights of their source count, where known."""
    source = None
    if record["setting"] == "transfer":
        known: Any = results["models"].get(record["source"] or "", {})
        source = record["source"], known.get("weights_sha256")
    params = json.dumps(record["params"], sort_keys=True)
    names = ("attack", "norm", "eps", "setting", "adv_set")
    return *(record.get(name) for name in names), params, source


def _title(record: Record) -> str:
    norm = formats.norm(record["norm"]) if record["norm"] else ""
    of = f"of {record['source']}" if record["setting"] == "transfer" else ""
    aside = "(oblivious)" if record["setting"] == "oblivious" else ""
    radius = record["eps_text"] or ""
    return " ".join(filter(None, [formats.attack(record), norm, radius, of, aside]))


def _note(each: list[Change], datasets: list[dict[str, Any]]) -> str:
    """What differs between the files: names of the data set, and images."""
    names = [dataset["name"] for dataset in datasets]
    said = ["The same images under every condition"]
    if names[0] != names[1]:
        said.insert(0, f"The data set is called {names[0]} and {names[1]}")
    partly = [c for c in each if not c.old_n == c.new_n == c.pair.n]
    if partly:
        told = [f"{c.what} ({c.pair.n} of {c.old_n} and {c.new_n})" for c in partly]
        said[-1] = "Only common images count under " + formats.listing(
            list(dict.fromkeys(told))
        )
    return (
        f"{'; '.join(said)}; of {len(each)} tests about one in 20 would be below 0.05 "
        "by chance."
    )
