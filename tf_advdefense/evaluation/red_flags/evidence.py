"""What red flags are found in: the records, who stands beside whom, and which images.

evidence = Evidence(results, per_example, data)
evidence.right(record)      # {index: whether the image resists}, where it can tell

A count is a sign only above what chance may give: see `exceeds`.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
from typing import Any
from typing import NamedTuple

from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.statistics import correct_by_index

FIXED_EPS = "fixed-eps"
# Hyperparameters that count an attack's steps, and those that are more of the same.
STEPS = ("nb_iter", "n_iter", "steps", "max_iterations", "max_iter")
EFFORT = (*STEPS, "nb_restarts", "n_restarts", "n_queries", "n_draws", "n_angles")
# Those that go with the radius, so that they tell no two attacks apart.
_RADIUS = ("eps", "eps_iter")


class Found(NamedTuple):
    """A failure: of which model (None: of the data), where, and in which numbers."""

    target: str | None
    where: str
    detail: str


@dataclasses.dataclass(frozen=True)
class RedFlag:
    """A sign of failure.

    Attributes:
      name: as reports show it.
      failure: what it says of the number, one sentence.
      remedy: what to do, one sentence.
      source: who proposed it.
      find: from the `Evidence` to what it finds there.
    """

    name: str
    failure: str
    remedy: str
    source: str
    find: "Callable[[Evidence], Iterator[Found]]"


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Results, their per-example arrays, and where it is at hand the data set."""

    results: Results
    per_example: PerExample
    data: Dataset | None = None

    @property
    def num_classes(self) -> int:
        return len(self.results["dataset"]["class_names"])

    @property
    def clean(self) -> list[Record]:
        return [r for r in self.results["records"] if r["attack"] == "clean"]

    @property
    def attacked(self) -> list[Record]:
        return [r for r in self.results["records"] if r["attack"] != "clean"]

    @property
    def white_box(self) -> list[Record]:
        return [r for r in self.attacked if r["setting"] == "white-box"]

    def looks(self) -> dict[str, dict[str, Any]]:
        """Of each model the signs of the look at the gradients of most images."""
        found: dict[str, dict[str, Any]] = {}
        for record in self.white_box:
            signs = record.get("signs") or {}
            seen = signs.get("seen", 0)
            if seen > found.get(record["target"], {}).get("seen", 0):
                found[record["target"]] = dict(signs)
        return found

    def right(self, record: Record) -> dict[int, bool]:
        """Whether each image resists; without those whose gradient has vanished.

        These are a failure of their own, which explains what attacks make of them.
        """
        correct = correct_by_index(self.per_example, record["key"]) or {}
        masked = self.masked(record["target"])
        return {i: ok for i, ok in correct.items() if i not in masked}

    def masked(self, target: str) -> set[int]:
        """The images on which the model has no gradient, by their indices."""
        found: set[int] = set()
        for record in self.white_box:
            mask = self.per_example.get(f"{record['key']}/masked")
            if record["target"] == target and mask is not None:
                index = self.per_example[f"{record['key']}/index"]
                found |= set(index[mask].tolist())
        return found

    def balls(self) -> Iterator[list[Record]]:
        """White-box records of one model in one ball: rivals of one another."""
        found: dict[tuple, list[Record]] = {}
        for record in self.white_box:
            if record["goal"] == FIXED_EPS and record["eps"]:
                key = record["target"], record["norm"], round(record["eps"], 9)
                found.setdefault(key, []).append(record)
        yield from found.values()

    def share(self, *records: Record) -> list[list[bool]]:
        """Of each record whether the images that all of them hold resist, in order."""
        each = [self.right(record) for record in records]
        shared = sorted(set.intersection(*map(set, each))) if each else []
        return [[right[i] for i in shared] for right in each]


def exceeds(count: float, total: int, share: float, least: int = 1) -> bool:
    """Whether `count` of `total` images are more than a share, and than `least`."""
    return count > max(least, share * total)


def steps(record: Record) -> int:
    """How often it climbs; 1 where no hyperparameter says it."""
    return next((record["params"][key] for key in STEPS if key in record["params"]), 1)


def is_iterated(record: Record) -> bool:
    """A gradient attack of many steps."""
    return record["access"] == "gradients" and steps(record) > 1


def differing(record: Record, *without: str) -> tuple:
    """What tells it from another record but its radius and `without`."""
    params = sorted(
        (key, str(value))
        for key, value in record["params"].items()
        if key not in (*_RADIUS, *without)
    )
    return record["attack"], record["source"], record["setting"], *params


def series(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records that differ by their radius alone, by growing radius."""
    found: dict[tuple, list[Record]] = {}
    for record in records:
        if record["eps"] is not None:
            key = record["target"], record["num_examples"], *differing(record)
            found.setdefault(key, []).append(record)
    for points in found.values():
        yield sorted(points, key=lambda record: record["eps"] or 0.0)


def on(record: Record) -> str:
    """`fgsm on resnet50`."""
    eps = f" {record['eps_text']}" if record["eps_text"] else ""
    return f"{record['attack']}{eps} on {record['target']}"
