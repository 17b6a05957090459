"""What a comparison measures: every target, clean, on every set, and attacked itself.

measurements = plan(targets, sets, attacks, data, num_examples=1000, few=128,
                    batch_size=128)
missing = [m for m in measurements if records.stored(store, m.key) is None]
"""

from collections.abc import Sequence
from typing import Any

from tf_advdefense.artifacts.adversarial_sets import AdversarialSet
from tf_advdefense.attacks.black_box.square import square
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation import attack_facts
from tf_advdefense.evaluation.measurements import Measurement
from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.targets import Target

CHEAP = 150  # Forward or backward passes per image.
# Part of every measurement's identity: to be raised when the same settings come to
# give another outcome, so that no stored measurement is taken for a new one.
_OUTCOMES = 2


def plan(
    targets: Sequence[Target],
    sets: Sequence[AdversarialSet],
    attacks: Sequence[tuple[str | None, Attack]],
    data: Dataset,
    *,
    num_examples: int,
    few: int,
    batch_size: int,
    seed: int = 0,
) -> list[Measurement]:
    """All measurements of a report, those of one target together.

    Args:
      targets: the models.
      sets: adversarial sets made from test images.
      attacks: pairs of an eps text, or None, and an attack that is run white-box on
        every target; one that needs gradients on the parent of a deployed model, to be
        scored on that (transfer).
      data: of the targets.
      num_examples: first test images for attacks of a few passes.
      few: the same for attacks that take more than `CHEAP` passes.
      batch_size: part of an attack's identity, as kernels round by shape.
      seed: of the attacks' random draws.

    A white-box attack that a set holds already, on as many images, is not repeated.
    Targets whose defence an attacker may overlook are attacked so, too. Of targets that
    draw at random AutoAttack's standard sequence is its version for these: its authors
    warn of the other.
    """
    measurements = []
    for target in targets:
        measurements.append(_clean(target, data))
        measurements += [_on_set(target, adv_set) for adv_set in sets]
        for eps_text, chosen in attacks:
            parent = target.parent if chosen.needs_gradient else None
            source, setting = (parent, "transfer") if parent else (target, "white-box")
            attack = _suited(chosen, source)
            count = _count(attack, data, num_examples, few)
            if not any(_covers(s.config, source, attack, count) for s in sets):
                given = target, eps_text, attack, data, batch_size, seed, count
                measurements.append(_live(setting, *given))
            if target.masked:
                count = _count(chosen, data, num_examples, few)
                given = target, eps_text, chosen, data, batch_size, seed, count
                measurements.append(_live("oblivious", *given))
    return measurements


def _count(attack: Attack, data: Dataset, num_examples: int, few: int) -> int:
    """How many images it is run on."""
    cheap = max(attack.cost(data.image_shape, data.num_classes)) <= CHEAP
    return min(len(data.test), num_examples if cheap else few)


def _suited(attack: Attack, target: Target) -> Attack:
    standard = attack.hyper._asdict().get("version") == "standard"
    return attack.replace(version="rand") if standard and target.random else attack


def searches(
    measurements: Sequence[Measurement],
    measured: Sequence[Record],
    data: Dataset,
    *,
    few: int,
    batch_size: int,
    seed: int = 0,
) -> list[Measurement]:
    """Square beside each ball in which a gradient attack found gradients of zero.

    Such an attack stands still, and its number is no robustness: Square needs none. It
    is not planned where an image in a hundred or fewer have no gradient, where its
    norm is not Square's, and where Square or an AutoAttack that ends with it is there.

    Args:
      measurements: of `plan`.
      measured: their records.
      data, few, batch_size, seed: as of `plan`.
    """
    found: dict[str, Measurement] = {}
    for each, record in zip(measurements, measured):
        signs = record["signs"] or {}
        few_masked = max(1, 0.01 * signs.get("seen", 0))
        if signs.get("zero_gradients", 0) <= few_masked:
            continue
        if record["setting"] != "white-box" or record["goal"] != "fixed-eps":
            continue
        norm = float(record["norm"] or "nan")
        if norm in square.norms and not _is_searched(record, measured):
            attack = square.replace(**square.budget, eps=record["eps"], norm=norm)
            given = each.target, record["eps_text"], attack, data, batch_size, seed
            live = _live("white-box", *given, min(len(data.test), few))
            found[live.key] = live
    return list(found.values())


def _is_searched(record: Record, measured: Sequence[Record]) -> bool:
    """Whether Square runs in the same ball, alone or at an AutoAttack's end."""
    return any(
        _ball(each) == _ball(record)
        and (
            each["attack"] == "square"
            or (each["attack"] == "autoattack" and each["params"]["version"] != "rand")
        )
        for each in measured
    )


def _ball(record: Record) -> tuple:
    return record["target"], record["setting"], record["norm"], record["eps"]


def _covers(config: dict[str, Any], target: Target, attack: Attack, count: int) -> bool:
    """Whether a set is the very white-box attack, on as many images or more."""
    request = config["request"]
    return (
        target.is_called(request["source_sha256"])
        and request["attack"] == attack.name
        and request["params"] == attack_facts.json_hyper(attack)
        and request["labels"] == "true"
        and not request["targeted"]
        and request["store"] == "float32"  # rounded images are weaker
        and request["num_examples"] >= count
    )


def _clean(target: Target, data: Dataset) -> Measurement:
    return _measurement(
        target,
        {"attack": "clean", "setting": "clean", "num_examples": len(data.test)},
        identity={"dataset": data.fingerprint},
    )


def _on_set(target: Target, adv_set: AdversarialSet) -> Measurement:
    config = adv_set.config
    request = config["request"]
    own = target.is_called(request["source_sha256"])
    parent = target.parent_called(request["source_sha256"])
    known = {key: request[key] for key in ("attack", "norm", "goal", "access")}
    # A targeted attack is another attack: it gets a column of its own.
    params = {
        **request["params"],
        **({"target": request["target"]} if request["targeted"] else {}),
    }
    return _measurement(
        target,
        {
            **known,
            "title": config.get("title"),
            "params": params,
            "source": request["source"],
            "adv_set": adv_set.name,
            "setting": "white-box" if own else "transfer",
            "eps": request["params"].get("eps"),
            "eps_text": request["eps_text"],
            "num_examples": config["num_examples"],
        },
        adv_set=adv_set,
        # Agreement with a parent is measured, too.
        identity={
            "files": config["files"],
            **({"source": parent.sha256} if parent else {}),
        },
    )


def _live(
    setting: str,
    target: Target,
    eps_text: str | None,
    attack: Attack,
    data: Dataset,
    batch_size: int,
    seed: int,
    num_examples: int,
) -> Measurement:
    described = attack_facts.described(attack)
    parent = target.parent if setting == "transfer" else None
    source = parent or target
    return _measurement(
        target,
        {
            "source": source.name,
            "setting": setting,
            **described,
            "eps_text": eps_text,
            "num_examples": num_examples,
        },
        attack=attack,
        identity={
            "dataset": data.fingerprint,
            "params": described["params"],
            "num_examples": num_examples,
            "batch_size": batch_size,
            "seed": seed,
            **({"source": parent.sha256} if parent else {}),
            **({} if source.temperature == 1 else {"temperature": source.temperature}),
        },
    )


def _measurement(
    target: Target,
    record: dict[str, Any],
    *,
    identity: dict[str, Any],
    attack: Attack | None = None,
    adv_set: AdversarialSet | None = None,
) -> Measurement:
    absent = ("source", "title", "norm", "goal", "access", "eps", "eps_text", "adv_set")
    return Measurement(
        target,
        {"target": target.name, **dict.fromkeys(absent), "params": {}, **record},
        attack,
        adv_set,
        # Called "format", as it once was that of the results.
        {"target": target.sha256, "format": _OUTCOMES, **identity},
    )
