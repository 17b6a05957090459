"""Models that a training needs beside the trained one: a teacher, or sources."""

import hashlib
import pathlib
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from tf_advdefense.artifacts import runs
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation.classifiers import classifier_of
from tf_advdefense.models.input_range import UNIT
from tf_advdefense.training.recipe import Recipe


class Part(NamedTuple):
    """A model trained before.

    Attributes:
      given: the text it was given by, or its name.
      name: of its run or file.
      model: `keras.Model` to logits.
      weights_sha256: of its file, or of the weights of a model in memory.
      temperature: at which its run was trained; None: it has no run.
    """

    given: str
    name: str
    model: keras.Model
    weights_sha256: str
    temperature: float | None = None


def load_part(given: Any, data: Dataset, output_dir: str | pathlib.Path) -> Part:
    """The model of a run's name, of a path, or a `keras.Model`, fit for the data set.

    Raises:
      ValueError, FileNotFoundError: in one line, for a model that does not fit, or
        none.
    """
    if isinstance(given, keras.Model):
        model = classifier_of(given, data, given.name).model
        return Part(given.name, given.name, model, weights_digest(given))
    path, run = pathlib.Path(given), None
    if not path.exists():
        run = runs.load_run(output_dir, given)
        path = run.model_path
    own = UNIT if run else None
    model = classifier_of(path, data, str(given), input_range=own).model
    name, temperature = (run.name, run.temperature) if run else (_stem(path), None)
    return Part(str(given), name, model, runs.weights_sha256(path), temperature)


def weights_digest(model: keras.Model) -> str:
    """The SHA-256 of a model's weights, their shapes and order."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(f"{weight.shape} {weight.dtype}".encode())
        digest.update(np.ascontiguousarray(weight))
    return digest.hexdigest()


def load_parts(
    defense: Any, recipe: Recipe, data: Dataset, output_dir: str | pathlib.Path
) -> dict[str, list[Part]]:
    """The parts of a training, "teacher" and "sources"; without those it has none of.

    Args:
      defense: a name, whose parts the recipe names, or a defence that has its own.
    """
    teacher, sources = recipe.teacher, recipe.sources
    if not isinstance(defense, str):
        teacher = defense.parts.get("teacher")
        sources = defense.parts.get("sources", ())
    given = {"teacher": [] if teacher is None else [teacher], "sources": list(sources)}
    return {
        key: [load_part(each, data, output_dir) for each in those]
        for key, those in given.items()
        if those
    }


def models_of(parts: dict[str, list[Part]]) -> dict[str, Any]:
    """The parts as `make_defense` takes them."""
    models = {key: [part.model for part in those] for key, those in parts.items()}
    if "teacher" in models:
        (models["teacher"],) = models["teacher"]
    return models


def request_of(parts: dict[str, list[Part]]) -> dict[str, Any]:
    """What a run's request says of the parts: the hashes of their weights."""
    digests = {
        key: {part.given: part.weights_sha256 for part in those}
        for key, those in parts.items()
    }
    (teacher,) = digests.pop("teacher", {"": None}).values()
    return {"teacher": teacher, **digests}


def source_names(parts: dict[str, list[Part]]) -> list[str]:
    """Names of the models that examples are crafted on in the training."""
    return [part.name for part in parts.get("sources", ())]


def compare_temperatures(parts: dict[str, list[Part]], hyper: dict[str, Any]) -> None:
    """Say so where a student is not trained at its teacher's temperature."""
    for part in parts.get("teacher", ()):
        temperature = hyper["temperature"]
        if part.temperature not in (None, temperature):
            print(
                f"The teacher was trained at temperature {part.temperature:g}, the "
                f"student will be at {temperature:g}: the paper has both at the same."
            )


def _stem(path):
    path = path.resolve()
    return path.stem if path.suffix == ".keras" else path.name
