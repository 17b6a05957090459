"""One measurement of a comparison: a model, clean, on a set, or attacked itself.

    measurement.title                            # "fgsm 8/255 on resnet50"
    record, arrays = measurement.take(model, data, batch_size=128)

A measurement has a key, made from everything that determines its outcome: the hashes
of the model and of the set, every parameter, the seed. What is stored under the key is
this measurement, and need not be taken again. `plan` makes them.
"""

import dataclasses
import hashlib
import json
from typing import Any

import keras
import numpy as np

from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.defenses.adaptive import attacked_view
from tf_advdefense.evaluation import scoring
from tf_advdefense.evaluation.looks import Looks
from tf_advdefense.evaluation.progress import Progress
from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.targets import Target

_OWN = ("white-box", "oblivious")  # Settings in which the model itself is attacked.


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One target under one condition.

    Attributes:
      target: a `Target`.
      record: the fields of `records.Record` that are known before measuring.
      attack: the attack of white-box measurements, else None.
      adv_set: an `AdversarialSet` for measurements on a set, else None.
      identity: dict of all that determines the outcome.
    """

    target: Target
    record: dict[str, Any]
    attack: Attack | None
    adv_set: adversarial_sets.AdversarialSet | None
    identity: dict[str, Any]

    @property
    def title(self) -> str:
        """`fgsm 8/255 on resnet50`, for whoever waits for it."""
        what = [
            self.record["attack"],
            self.record["eps_text"],
            f"of {self.parent.name}" if self.parent else None,
            "on",
            self.target.name,
            "(oblivious)" * (self.record["setting"] == "oblivious"),
        ]
        return " ".join(filter(None, what))

    @property
    def key(self) -> str:
        """Its name among the stored measurements."""
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
    def num_examples(self) -> int:
        return self.record["num_examples"]

    @property
    def parent(self) -> Target | None:
        """What the attack is run on, where that is not the target itself."""
        transferred = self.attack is not None and self.record["setting"] == "transfer"
        return self.target.parent if transferred else None

    @property
    def examples_key(self) -> str:
        """The key of the white-box measurement whose examples are scored."""
        if self.parent is None:
            return self.key
        identity = {**self.identity, "target": self.identity["source"]}
        del identity["source"]
        record = {**self.record, "setting": "white-box"}
        return dataclasses.replace(
            self, target=self.parent, record=record, identity=identity
        ).key

    def take(
        self,
        model: keras.Model,
        data: Dataset,
        batch_size: int,
        progress: Progress | None = None,
        looks: Looks | None = None,
        parent: keras.Model | None = None,
        crafting: scoring.Crafting = craft,
    ) -> tuple[Record, PerExample]:
        """Measures `model`; returns its record and {"KEY/...": array}.

        White-box attacks are adaptive (`defenses.adaptive`).

        Args:
          progress: called with the numbers of images done, of all, and of the fooled.
          looks: at gradients, shared by the measurements of a comparison.
          parent: the model of `self.parent`.
          crafting: `craft`, or what remembers what it made.
        """
        setting = self.record["setting"]
        attacked = None
        if setting in _OWN:
            attacked = attacked_view(setting, model, self.target.temperature)
        if self.attack is None:
            fields, arrays = self._measured(model, attacked, data, batch_size)
        else:
            settings: Any = {
                "batch_size": batch_size,
                "seed": self.identity["seed"],
                "progress": progress,
                "crafting": crafting,
            }
            split = data.test.take(self.num_examples)
            fields, arrays = self._attacked(model, attacked, parent, split, settings)
        if attacked is not None and self.record["access"] == "gradients":
            images = self._clean(data, arrays["index"])
            name = f"{self.target.name} {setting}"
            look, arrays["masked"] = (looks or Looks()).at(
                name, model, attacked, images, batch_size
            )
            fields["signs"] |= look
        arrays["index"] = arrays["index"].astype(np.int32)
        # The type checker cannot see that the parts complete each other.
        record: Any = {"key": self.key, **self.record, **fields}
        return record, {f"{self.key}/{name}": a for name, a in arrays.items()}

    def _measured(
        self,
        model: keras.Model,
        attacked: keras.Model | None,
        data: Dataset,
        batch_size: int,
    ) -> scoring.Measured:
        if self.adv_set is not None:
            examples = adversarial_sets.read_arrays(self.adv_set)
            clean = clean_images(data, self.adv_set, examples["clean_index"])
            source = self.adv_set.config["request"]["source_sha256"]
            of_parent = self.target.parent_called(source) is not None
            return scoring.on_set(
                model, examples, clean, batch_size, attacked, of_parent
            )
        return scoring.on_clean(model, data.test, batch_size)

    def _attacked(
        self,
        model: keras.Model,
        attacked: keras.Model | None,
        parent: keras.Model | None,
        split: Split,
        settings: dict[str, Any],
    ) -> scoring.Measured:
        """By the attack, on the model itself or on its parent."""
        assert self.attack is not None
        if self.parent is not None:
            view = attacked_view("white-box", parent, self.parent.temperature)
            return scoring.transferred(model, view, self.attack, split, **settings)
        view = None if attacked is model else attacked
        return scoring.under_attack(
            model, self.attack, split, attacked=view, **settings
        )

    def _clean(self, data: Dataset, index: np.ndarray) -> Split:
        """The clean images that were attacked, by their indices."""
        if self.adv_set is None:
            return data.test.take(self.num_examples)
        return _rows(data.split(self.adv_set.config["request"]["split"]), index)


def clean_images(
    data: Dataset, adv_set: adversarial_sets.AdversarialSet, index: np.ndarray
) -> np.ndarray:
    """The images uint8 [n, ...] of a set's `clean_index`, in its order."""
    return _rows(data.split(adv_set.config["request"]["split"]), index).images


def _rows(split: Split, index: np.ndarray) -> Split:
    """The images of these indices, in their order."""
    position = {index: i for i, index in enumerate(split.index.tolist())}
    return split.at([position[i] for i in index.tolist()])
