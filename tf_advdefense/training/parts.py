"""Models that a training needs beside the trained one: a teacher, or sources."""

import pathlib
from typing import Any
from typing import NamedTuple

import keras

from tf_advdefense.artifacts import identity
from tf_advdefense.artifacts import runs
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation.classifiers import classifier_of
from tf_advdefense.evaluation.classifiers import former_sha256
from tf_advdefense.evaluation.diagnostics import check_classifier
from tf_advdefense.training.recipe import Recipe


class Part(NamedTuple):
    """A model trained before.

    Attributes:
      given: the text it was given by, or its name.
      name: of its run or file.
      model: `keras.Model` to logits.
      weights_sha256: of its weights and architecture.
      temperature: at which its run was trained; None: it has no run.
      former_sha256: what former versions called it by, the hash of its file; or None.
    """

    given: str
    name: str
    model: keras.Model
    weights_sha256: str
    temperature: float | None = None
    former_sha256: str | None = None


def load_part(given: Any, data: Dataset, output_dir: str | pathlib.Path) -> Part:
    """The model of a run's name, of a path, or a `keras.Model`, fit for the data set.

    Raises:
      ValueError, FileNotFoundError: in one line, for a model that does not fit, or
        none.
    """
    if isinstance(given, keras.Model):
        model = classifier_of(given, data, given.name).model
        return Part(given.name, given.name, model, identity.model_sha256(model))
    path = pathlib.Path(given)
    if not path.exists():
        return _of_run(runs.load_run(output_dir, given), given, data)
    adapted = classifier_of(path, data, str(given))
    return Part(
        str(given),
        _stem(path),
        adapted.model,
        identity.model_sha256(adapted.model),
        former_sha256=former_sha256(path, adapted),
    )


def _of_run(run, given, data):
    model = run.load_model()
    check_classifier(model, data, str(given))
    digest = run.config["weights_sha256"]
    return Part(str(given), run.name, model, digest, run.temperature)


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


def in_todays_hashes(
    parts: dict[str, list[Part]], request: dict[str, Any]
) -> dict[str, Any]:
    """A former run's request, with the hashes by which the parts are called today."""
    every = [part for those in parts.values() for part in those]
    names = {p.former_sha256: p.weights_sha256 for p in every if p.former_sha256}
    return identity.renamed(request, names)


def source_names(parts: dict[str, list[Part]]) -> list[str]:
    """Names of the models that examples are crafted on in the training."""
    return [part.name for part in parts.get("sources", ())]


def compare_temperatures(parts: dict[str, list[Part]], hyper: dict[str, Any]) -> None:
    """Say so where a student is not trained at its teacher's temperature."""
    for part in parts.get("teacher", ()):
        temperature = hyper.get("temperature", 1.0)
        if part.temperature not in (None, temperature):
            print(
                f"The teacher was trained at temperature {part.temperature:g}, the "
                f"student will be at {temperature:g}: the paper has both at the same."
            )


def _stem(path):
    path = path.resolve()
    return path.stem if path.suffix == ".keras" else path.name
