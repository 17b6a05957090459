"""The models of a comparison: where they are, what they are, and their roles.

target = target_of_run(runs.load_run("outputs", "resnet50"), data)
target = target_of_model("mine", "mine.keras", data)      # or a keras.Model
roles({"resnet50": target.fields}, sources=["resnet50"])  # {"resnet50": "target"}
"""

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
import os
import pathlib
from typing import Any

import keras

from tf_advdefense.artifacts import identity
from tf_advdefense.artifacts import runs
from tf_advdefense.attacks.core.model_fn import is_random
from tf_advdefense.datasets import Dataset
from tf_advdefense.defenses.transforms import parse_transforms
from tf_advdefense.defenses.transforms import transforms_of
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.classifiers import ModelOrPath
from tf_advdefense.evaluation.classifiers import classifier_of
from tf_advdefense.evaluation.classifiers import former_sha256
from tf_advdefense.evaluation.classifiers import loaded


@dataclasses.dataclass(frozen=True)
class Target:
    """A model to be measured.

    Attributes:
      name: unique in its comparison.
      model: the model, or the path or run it is loaded from when it is needed.
      sha256: of its weights and architecture.
      fields: its `records.Model`, but for its role and `weights_sha256`.
      command: the command line that made it; None for a model from elsewhere.
      temperature: that of its training; see `defenses.distillation`.
      masked: whether an attacker may overlook its defence: its oblivious accuracy is
        then measured beside the adaptive one.
      random: whether it draws at inference: an attack then climbs its expectation, and
        AutoAttack is the version for such models.
      former_sha256: what former versions called it by, the hash of its file; or None.
      parent: the float model that a deployed one was made from: attacks that need
        gradients are crafted on it. See `parents`.
    """

    name: str
    model: ModelOrPath | runs.Run
    sha256: str
    fields: dict[str, Any]
    command: str | None = None
    temperature: float = 1.0
    masked: bool = False
    random: bool = False
    former_sha256: str | None = None
    parent: "Target | None" = None

    def is_called(self, sha256: str) -> bool:
        """Whether a recorded hash is of this model."""
        return sha256 in (self.sha256, self.former_sha256)

    def parent_called(self, sha256: str) -> "Target | None":
        """Its parent, if a recorded hash is of that."""
        return self.parent if self.parent and self.parent.is_called(sha256) else None

    @property
    def adaptation(self) -> tuple[list[str], list[str]]:
        """What was adapted of a model from elsewhere, and what could not be."""
        return self.fields.get("adapted") or [], self.fields.get("warnings") or []

    def load(self) -> keras.Model:
        """The model itself."""
        return loaded(self.model)


def target_of_run(run: runs.Run, data: Dataset) -> Target:
    """A finished run as a target.

    Raises:
      ValueError: it was trained on another data set than `data`.
    """
    check_trained_on(run, data)
    request = run.config["request"]
    fields = {key: run.config.get(key, request.get(key)) for key in records.MODEL}
    fields |= {"adv_data": list(request["adv_data"]), "defense": run.defense}
    return Target(
        run.name,
        run,
        run.config["weights_sha256"],
        fields,
        run.config["command"],
        run.temperature,
        masked=run.temperature != 1 or "transforms" in request,
        random=any(t.random for t in parse_transforms(request.get("transforms", ""))),
        former_sha256=identity.files_sha256(run.model_path),
    )


def target_of_model(
    name: str,
    model: ModelOrPath,
    data: Dataset,
    *,
    input_range: tuple[float, float] | None = None,
    preprocess: str | None = None,
) -> Target:
    """A model from elsewhere as a target, of which only its name is known.

    Args:
      input_range, preprocess: what it takes; see `models.foreign.adapt`.

    Raises:
      FileNotFoundError, ValueError: as `classifiers.classifier_of`.
    """
    given = name if isinstance(model, keras.Model) else str(model)
    adapted = classifier_of(
        model, data, given, input_range=input_range, preprocess=preprocess
    )
    fields = {
        **dict.fromkeys(records.MODEL),
        "model": name,
        "defense": "none",
        # Keras sees no weights of a deployed model.
        "num_params": adapted.model.count_params() or None,
        "adapted": list(adapted.notes),
        "warnings": list(adapted.warnings),
    }
    return Target(
        name,
        adapted.model,
        identity.model_sha256(adapted.model),
        fields,
        masked=bool(transforms_of(adapted.model)),
        random=is_random(adapted.model),
        former_sha256=former_sha256(model, adapted),
    )


def check_trained_on(run: runs.Run, data: Dataset) -> None:
    """Raises ValueError for a run of another data set, where it would only guess.

    A network of the zoo fits whatever copy of its data set the user has.
    """
    request = run.config["request"]
    classes = list(run.config.get("class_names") or ())
    if run.packaged and classes == list(data.class_names):
        return
    if request["dataset_fingerprint"] != data.fingerprint:
        raise ValueError(
            "A run is attacked on the data set it was trained on. Received: "
            f"dataset={data.name} for {run.name}, trained on {request['dataset']} of "
            "other content, or read otherwise (`image_size`, `color`, `center_crop`, "
            f"`in_memory`). Or insist with its `model_path`, {run.model_path}, instead "
            "of the run."
        )


def model_name(path: str | os.PathLike[str]) -> str:
    """What a model from elsewhere is called: the name of its file or directory."""
    path = pathlib.Path(path).resolve()
    return path.stem if path.suffix in runs.KERAS_FILES else path.name


def roles(
    models: Mapping[str, Mapping[str, Any]], sources: Collection[str]
) -> dict[str, str]:
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

    def role(name: str) -> str:
        if models[name]["defense"] != "none" or name in attacked:
            return "target"
        return "control" if name in same else "source"

    return {name: role(name) for name in models}
