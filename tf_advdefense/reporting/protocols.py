"""Which records of the results belong side by side.

    for protocol in protocols(results):
        protocol.cells["resnet50", protocol.conditions[0]]["accuracy"]

A protocol is one table of the report: models against conditions. Under *transfer*
all models see the same images, crafted on one source network; the source's own row
is therefore white-box. Under *white-box* every model faces images crafted on itself.
A condition is an attack with every parameter, so no two budgets are ever pooled.
"""

from collections.abc import Collection
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
import json
from typing import Any

from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import formats

CLEAN, WHITE_BOX, TRANSFER = "clean", "white-box", "transfer"
OBLIVIOUS = "oblivious"
FIXED_EPS, MINIMAL_NORM = "fixed-eps", "minimal-norm"


@dataclass(frozen=True, order=True)
class Condition:
    """What distinguishes two columns of one table."""

    rank: int
    attack: str
    norm: str
    eps: float
    params: str
    adv_set: str
    eps_label: str = field(compare=False, default="")
    goal: str = field(compare=False, default="")
    label: str = field(compare=False, default="")

    @property
    def series(self) -> tuple[str, str, str]:
        """The attack at any budget; `eps_iter` goes with eps, so it may differ."""
        settings = self.settings()
        settings.pop("eps_iter", None)
        return self.attack, self.norm, formats.params(settings)

    def settings(self) -> dict[str, Any]:
        return json.loads(self.params)


@dataclass(frozen=True)
class Protocol:
    """A table: `cells[model, condition]` is a record; `source` None is white-box."""

    source: str | None
    models: list[str]
    conditions: list[Condition]
    cells: dict[tuple[str, Condition], Record]

    @property
    def title(self) -> str:
        return (
            f"Examples crafted on {formats.code(self.source)}"
            if self.source
            else "Each model attacked itself"
        )

    @property
    def name(self) -> str:
        return f"transfer-{self.source}" if self.source else "white-box"

    def attacked(self) -> list[Condition]:
        return [c for c in self.conditions if c.attack != CLEAN]

    def column(self, condition: Condition) -> list[Record]:
        """The records of one condition."""
        cells = ((model, condition) for model in self.models)
        return [self.cells[cell] for cell in cells if cell in self.cells]

    def budget(self, condition: Condition) -> str:
        """The eps, and whatever else tells this attack from its twins in the table."""
        same = [c for c in self.conditions if c.attack == condition.attack]
        twins = [c for c in same if (c.norm, c.eps) == (condition.norm, condition.eps)]
        differing = {
            name: value
            for name, value in condition.settings().items()
            if any(c.settings().get(name) != value for c in twins)
        }
        parts = [condition.eps_label, formats.params(differing)]
        if len({c.norm for c in same}) > 1:
            parts.insert(0, formats.norm(condition.norm or None))
        if len([c for c in twins if c.params == condition.params]) > 1:
            parts.append(condition.adv_set)
        return ", ".join(filter(None, parts))

    def title_of(self, condition: Condition) -> str:
        """For running text: "FGSM (ε = 8/255)"."""
        budget = self.budget(condition)
        return f"{condition.label} ({budget})" if budget else condition.label

    def is_own(self, model: str, condition: Condition) -> bool:
        """Whether a transfer table's cell is white-box: the source's own."""
        record = self.cells.get((model, condition), {})
        return bool(self.source) and record.get("setting") == WHITE_BOX


def at_radius(protocol: Protocol, radius: float) -> list[Condition]:
    """Of each attack the condition whose radius is nearest to this one."""
    nearest: dict[tuple, Condition] = {}
    for condition in protocol.attacked():
        best = nearest.setdefault(condition.series, condition)
        if abs(condition.eps - radius) < abs(best.eps - radius):
            nearest[condition.series] = condition
    return list(nearest.values())


def seen(results: Results, protocol: Protocol, model: str) -> bool:
    """Whether a model was trained on examples of the source: it is not held out."""
    sources = results["models"].get(model, {}).get("sources") or []
    return bool({*(protocol.source or "").split("+")} & {*sources})


def condition_of(record: Record, with_set: bool = True) -> Condition:
    known = list(formats.ATTACKS)
    attack = record["attack"]
    settings = {
        name: value
        for name, value in (record.get("params") or {}).items()
        if name not in ("eps", "norm")
    }
    return Condition(
        rank=known.index(attack) if attack in known else len(known),
        attack=attack,
        norm=record.get("norm") or "",
        eps=-1.0 if record.get("eps") is None else round(record["eps"], 9),
        params=json.dumps(settings, sort_keys=True),
        adv_set=(record.get("adv_set") or "") if with_set else "",
        eps_label=formats.eps(record),
        goal=record.get("goal") or "",
        label=formats.attack(record),
    )


def is_clean(record: Record) -> bool:
    return record["attack"] == CLEAN


def undefended(results: Results, name: str) -> bool:
    return results["models"].get(name, {}).get("defense") in (None, "", "none")


def role(results: Results, name: str) -> str:
    return results["models"].get(name, {}).get("role", "target")


def ordered_models(results: Results, names: Collection[str]) -> list[str]:
    """Undefended targets, control, defended targets, then the attack's sources."""

    def rank(name):
        place = {"control": 1, "source": 3}.get(role(results, name))
        return place or (0 if undefended(results, name) else 2)

    listed = [n for n in results["models"] if n in names]
    unlisted = sorted(set(names) - set(listed))
    return sorted(listed + unlisted, key=rank)


def baseline_of(results: Results, model: str) -> str | None:
    """The undefended target that `model` is compared with, or None.

    The same architecture if there is one; a target is not compared with itself.
    """
    candidates = [
        name
        for name in results["models"]
        if name != model
        and role(results, name) == "target"
        and undefended(results, name)
    ]
    architecture = results["models"].get(model, {}).get("model")
    same = [n for n in candidates if results["models"][n].get("model") == architecture]
    return (same or candidates or [None])[0]


def challengers(results: Results, models: Iterable[str]) -> list[str]:
    """The models that are compared with a baseline: defended ones and controls."""
    return [
        m
        for m in models
        if role(results, m) != "source"
        and (not undefended(results, m) or role(results, m) == "control")
    ]


def protocols(results: Results) -> list[Protocol]:
    """Every table of the report, transfer from each source first, white-box last."""
    sources = dict.fromkeys(
        r["source"]
        for r in results["records"]
        if r["setting"] == TRANSFER and r.get("source")
    )
    found = [_transfer(results, s) for s in ordered_models(results, sources)]
    white_box = _white_box(results)
    return found + ([white_box] if white_box.attacked() else [])


def _transfer(results, source):
    attacked = [
        r for r in results["records"] if not is_clean(r) and r.get("source") == source
    ]
    conditions = _by_condition([r for r in attacked if r["setting"] == TRANSFER])
    own = [r for r in attacked if r["setting"] == WHITE_BOX]
    # The source's own row holds its score on the very set, or else its score under the
    # same attack, run on it for this report.
    for record in sorted(own, key=lambda r: not r.get("adv_set")):
        for condition in conditions:
            if condition_of(record) in (condition, replace(condition, adv_set="")):
                conditions[condition].setdefault(record["target"], record)
    return _assemble(results, source, conditions)


def _white_box(results):
    records = [
        r for r in results["records"] if not is_clean(r) and r["setting"] == WHITE_BOX
    ]
    crossed = {r["source"] for r in results["records"] if r["setting"] == TRANSFER}
    # The score of a source on its own set stands in the transfer table of that source,
    # unless no other model was scored on the set: then it stands here.
    shown = [r for r in records if not r.get("adv_set") or r["source"] not in crossed]
    conditions = _by_condition(shown, with_set=False)
    for record in records:
        condition = condition_of(record, with_set=False)
        if condition in conditions:
            conditions[condition].setdefault(record["target"], record)
    return _assemble(results, None, conditions)


def oblivious(
    results: Results, white_box: Protocol
) -> dict[tuple[str, Condition], Record]:
    """{(model, condition of the white-box table): oblivious record}."""
    found = {
        (r["target"], condition_of(r, with_set=False)): r
        for r in results["records"]
        if r["setting"] == OBLIVIOUS
    }
    return {cell: r for cell, r in found.items() if cell in white_box.cells}


def _by_condition(records, with_set=True):
    conditions = {}
    for record in records:
        condition = condition_of(record, with_set)
        conditions.setdefault(condition, {}).setdefault(record["target"], record)
    return conditions


def _assemble(results, source, conditions):
    targets = {target for row in conditions.values() for target in row}
    clean = {
        r["target"]: r
        for r in results["records"]
        if is_clean(r) and r["target"] in targets
    }
    if clean:
        conditions[condition_of(next(iter(clean.values())))] = clean
    cells = {
        (target, condition): record
        for condition, row in conditions.items()
        for target, record in row.items()
    }
    return Protocol(source, ordered_models(results, targets), sorted(conditions), cells)
