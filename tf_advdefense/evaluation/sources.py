"""What adversarial examples are crafted on: a run, a model, or several at once.

source = source_of(runs.load_run("outputs", "resnet50"), data)
source = source_of([resnet_run, alexnet_run], data)    # to transfer from both
source = source_of("mine.keras", data)
"""

from collections.abc import Sequence
import dataclasses
from typing import TypeAlias

import keras

from tf_advdefense.artifacts import identity
from tf_advdefense.artifacts import runs
from tf_advdefense.datasets import Dataset
from tf_advdefense.defenses.adaptive import attacked_view
from tf_advdefense.evaluation import diagnostics
from tf_advdefense.evaluation.classifiers import ModelOrPath
from tf_advdefense.evaluation.classifiers import classifier_of
from tf_advdefense.evaluation.classifiers import former_sha256
from tf_advdefense.evaluation.targets import check_trained_on
from tf_advdefense.evaluation.targets import model_name


@dataclasses.dataclass(frozen=True)
class Source:
    """A model, or several of which the mean of their losses is attacked.

    Attributes:
      name: "resnet50"; of several, "resnet50+alexnet", and so the other texts.
      architecture: as the run names it; of a model from elsewhere its name.
      sha256: of its weights and architecture.
      model: as an adaptive attacker attacks it; a list where it is several.
      adapted: what was adapted of a model from elsewhere.
      warnings: what of it could not be.
      former_sha256: what former versions called it by, the hash of its file; or None.
    """

    name: str
    architecture: str
    sha256: str
    model: keras.Model | list[keras.Model]
    adapted: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    former_sha256: str | None = None


SourceLike: TypeAlias = Source | ModelOrPath | runs.Run | Sequence[runs.Run]


def source_of(
    model: SourceLike,
    data: Dataset,
    *,
    input_range: tuple[float, float] | None = None,
    preprocess: str | None = None,
) -> Source:
    """A source that can be attacked on `data`.

    Args:
      model: a finished run or a list of them, a `keras.Model` to logits, the path of a
        `.keras` file or SavedModel directory, or a `Source`, which is returned.
      input_range, preprocess: what a model from elsewhere takes; see
        `models.foreign.adapt`.

    Raises:
      FileNotFoundError, ValueError: as `classifiers.classifier_of`.
      ValueError: a run of another data set.
    """
    if isinstance(model, Source):
        return model
    if isinstance(model, runs.Run):
        return _of_runs([model], data)
    if isinstance(model, (list, tuple)):
        return _of_runs(model, data)
    return _of_model(model, data, input_range, preprocess)


def _of_runs(found: Sequence[runs.Run], data: Dataset) -> Source:
    for run in found:
        check_trained_on(run, data)
    models = [_attacked(run, data) for run in found]
    return Source(
        "+".join(run.name for run in found),
        "+".join(run.config["request"]["model"] for run in found),
        "+".join(run.config["weights_sha256"] for run in found),
        models if len(models) > 1 else models[0],
    )


def _attacked(run: runs.Run, data: Dataset) -> keras.Model:
    model = run.load_model()
    diagnostics.check_classifier(model, data, str(run.model_path))
    return attacked_view("white-box", model, run.temperature)


def _of_model(
    model: ModelOrPath,
    data: Dataset,
    input_range: tuple[float, float] | None,
    preprocess: str | None,
) -> Source:
    """Of a model from elsewhere no temperature is known."""
    given = isinstance(model, keras.Model)
    name = model.name if isinstance(model, keras.Model) else model_name(model)
    adapted = classifier_of(
        model,
        data,
        name if given else str(model),
        input_range=input_range,
        preprocess=preprocess,
    )
    return Source(
        name,
        name,
        identity.model_sha256(adapted.model),
        adapted.model,
        adapted.notes,
        adapted.warnings,
        former_sha256(model, adapted),
    )
