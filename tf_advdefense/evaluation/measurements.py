"""What a report measures: every target, clean, on every set, and attacked itself.

    measurements = plan(targets, sets, attacks, data, num_examples=1000, few=128)
    missing = [m for m in measurements if m.key not in per_record]
    record, arrays = missing[0].take(model, split, sets)

A `Measurement` knows what makes it what it is (the model's and the set's SHA-256, every
parameter), and its key is made from that: a result that was stored under the key is
the result of this measurement, and is not measured again.
"""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np

from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.defenses.adaptive import attacked_view
from tf_advdefense.evaluation import evaluate as evaluation
from tf_advdefense.evaluation import records as results


@dataclasses.dataclass(frozen=True)
class Target:
    """A model to be measured: where it is, what it is, and the command that made it.

    `fields` are its `results.MODEL`; `command` is None for a model from elsewhere.
    `temperature` is that of its training. `masked` says that an attacker may overlook
    its defence: its oblivious accuracy is then measured beside the adaptive one.
    """

    name: str
    path: pathlib.Path
    sha256: str
    fields: dict
    command: str | None = None
    temperature: float = 1.0
    masked: bool = False


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One target under one condition.

    Attributes:
      target: a `Target`.
      record: the fields of `artifacts.results.RECORD` known before measuring.
      attack: an `Attack` for white-box measurements, else None.
      adv_set: an `AdversarialSet` for measurements on a set, else None.
      identity: dict of all that determines the outcome.
    """

    target: Target
    record: dict
    attack: object
    adv_set: object
    identity: dict

    @property
    def title(self):
        """`fgsm 8/255 on resnet50`, for whoever waits for it."""
        what = [
            self.record["attack"],
            self.record["eps_text"],
            "on",
            self.target.name,
            "(oblivious)" * (self.record["setting"] == "oblivious"),
        ]
        return " ".join(filter(None, what))

    @property
    def key(self):
        text = json.dumps(self.identity, sort_keys=True, default=str)
        what = [
            self.target.name,
            self.record["attack"],
            self.record["eps_text"],
            self.record["source"],
            self.record["setting"],
        ]
        readable = "-".join(str(w).replace("/", "_") for w in what if w)
        return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def num_examples(self):
        return self.record["num_examples"]

    def take(self, model, data, batch_size, progress=None):
        """Measure; returns (record, {"KEY/...": array}).

        White-box attacks are adaptive (`defenses.adaptive`).
        """
        if self.adv_set is not None:
            examples = adversarial_sets.read_arrays(self.adv_set)
            fields, arrays = evaluation.on_set(
                model, examples, clean_images(data, self.adv_set, examples), batch_size
            )
        elif self.attack is not None:
            attacked = attacked_view(
                self.record["setting"], model, self.target.temperature
            )
            fields, arrays = evaluation.under_attack(
                model,
                self.attack,
                data.test.take(self.num_examples),
                batch_size,
                seed=self.identity["seed"],
                progress=progress,
                attacked=None if attacked is model else attacked,
            )
        else:
            fields, arrays = evaluation.on_clean(model, data.test, batch_size)
        record = {"key": self.key, **self.record, **fields}
        arrays["index"] = arrays["index"].astype(np.int32)
        return record, {f"{self.key}/{name}": a for name, a in arrays.items()}


def clean_images(data, adv_set, examples):
    """The images uint8 [n, ...] that a set's `examples` were made from, in order."""
    split = data.split(adv_set.config["request"]["split"])
    position = {index: i for i, index in enumerate(split.index.tolist())}
    return split.images[[position[i] for i in examples["clean_index"].tolist()]]


def plan(targets, sets, attacks, data, *, num_examples, few, batch_size, seed=0):
    """All measurements of a report, those of one target together.

    Args:
      targets: list of `Target`.
      sets: list of `AdversarialSet` made from test images.
      attacks: list of (eps text or None, `Attack`), run white-box on every target.
      data: `datasets.Dataset`.
      num_examples: first test images for attacks of a few passes.
      few: the same for attacks that take more than `CHEAP` passes.
      batch_size: part of an attack's identity, as kernels round by shape.
      seed: of the attacks' random draws.

    A white-box attack that a set holds already, on as many images, is not repeated.
    Targets whose defence an attacker may overlook are attacked so, too.
    """
    measurements = []
    for target in targets:
        measurements.append(_clean(target, data))
        measurements += [_on_set(target, adv_set) for adv_set in sets]
        for eps_text, attack in attacks:
            count = min(
                len(data.test), num_examples if max(attack.passes) <= CHEAP else few
            )
            arguments = target, eps_text, attack, data, batch_size, seed, count
            if not any(_covers(s.config, target, attack, count) for s in sets):
                measurements.append(_live("white-box", *arguments))
            if target.masked:
                measurements.append(_live("oblivious", *arguments))
    return measurements


CHEAP = 150  # Forward or backward passes per image.


def _covers(config, target, attack, count):
    """Whether a set is the very white-box attack, on as many images or more."""
    request = config["request"]
    return (
        request["source_sha256"] == target.sha256
        and request["attack"] == attack.name
        and request["params"] == json_hyper(attack)
        and request["labels"] == "true"
        and not request["targeted"]
        and request["store"] == "float32"  # rounded images are weaker
        and request["num_examples"] >= count
    )


def _clean(target, data):
    return _measurement(
        target,
        {"attack": "clean", "setting": "clean", "num_examples": len(data.test)},
        identity={"dataset": data.fingerprint},
    )


def _on_set(target, adv_set):
    config = adv_set.config
    request = config["request"]
    own = request["source_sha256"] == target.sha256
    known = {key: request[key] for key in ("attack", "norm", "kind")}
    # A targeted attack is another attack: it gets a column of its own.
    params = {
        **request["params"],
        **({"target": request["target"]} if request["targeted"] else {}),
    }
    return _measurement(
        target,
        {
            **known,
            "params": params,
            "source": request["source"],
            "adv_set": adv_set.name,
            "setting": "white-box" if own else "transfer",
            "eps": request["params"].get("eps"),
            "eps_text": request["eps_text"],
            "num_examples": config["num_examples"],
        },
        adv_set=adv_set,
        identity={"files": config["files"]},
    )


def _live(setting, target, eps_text, attack, data, batch_size, seed, num_examples):
    return _measurement(
        target,
        {
            "source": target.name,
            "attack": attack.name,
            "setting": setting,
            "norm": norm_text(attack.norm),
            "kind": attack.kind,
            "eps": attack.hyper.get("eps"),
            "eps_text": eps_text,
            "params": json_hyper(attack),
            "num_examples": num_examples,
        },
        attack=attack,
        identity={
            "dataset": data.fingerprint,
            "params": json_hyper(attack),
            "num_examples": num_examples,
            "batch_size": batch_size,
            "seed": seed,
            **({} if target.temperature == 1 else {"temperature": target.temperature}),
        },
    )


def _measurement(target, record, *, identity, attack=None, adv_set=None):
    unknown = dict.fromkeys(
        ("source", "norm", "kind", "eps", "eps_text", "adv_set"), None
    )
    return Measurement(
        target,
        {"target": target.name, **unknown, "params": {}, **record},
        attack,
        adv_set,
        {"target": target.sha256, "format": results.FORMAT, **identity},
    )


def norm_text(norm):
    """`inf`, `2`, `1` or `0`, as results and sets write a norm; None without one."""
    return None if norm is None else format(norm, "g")


def json_hyper(attack):
    """An attack's hyperparameters as JSON has them."""
    return {
        name: norm_text(value) if name == "norm" else value
        for name, value in attack.hyper.items()
    }


def roles(models, sources):
    """Name of each model to its role in the paper's comparison.

    `source`: undefended, of another architecture than the defended models. `control`:
    undefended, of their architecture, but no set was made on it; without it a
    defended model's gain under transfer cannot be told from "another network".
    `target`: the others.

    Args:
      models: name to a dict with `model` (architecture) and `defense`.
      sources: names of the models that the report's sets were made on.
    """
    defended = {m["model"] for m in models.values() if m["defense"] != "none"}
    compared = defended or {m["model"] for m in models.values()}
    same = [
        name
        for name, m in models.items()
        if m["defense"] == "none" and m["model"] in compared
    ]
    attacked = set(same) & set(sources) or set(same[:1])

    def role(name):
        if models[name]["defense"] != "none" or name in attacked:
            return "target"
        return "control" if name in same else "source"

    return {name: role(name) for name in models}
