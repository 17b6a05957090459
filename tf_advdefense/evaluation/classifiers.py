"""A model from elsewhere, adapted to a data set and fit to be measured on it.

    adapted = classifier_of("mine.keras", data)      # or a keras.Model
    adapted.model, adapted.notes

`said` puts what was done, and what could not be, in a line each.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import os
from typing import TypeAlias

import keras

from tf_advdefense.artifacts import identity
from tf_advdefense.artifacts import runs
from tf_advdefense.datasets import Dataset
from tf_advdefense.defenses.transforms import transforms_of
from tf_advdefense.evaluation import diagnostics
from tf_advdefense.models.foreign import Adapted
from tf_advdefense.models.foreign import adapt
from tf_advdefense.models.input_range import UNIT

ModelOrPath: TypeAlias = keras.Model | str | os.PathLike[str]


def loaded(model: ModelOrPath | runs.Run) -> keras.Model:
    """The model, or the one at a path or of a run; raises as `runs.load_model` does."""
    if isinstance(model, runs.Run):
        return model.load_model()
    return model if isinstance(model, keras.Model) else runs.load_model(model)


def former_sha256(model: ModelOrPath, adapted: Adapted) -> str | None:
    """What former versions, which adapted nothing, called it by; see `identity`."""
    if isinstance(model, keras.Model) or adapted.notes:
        return None
    return identity.files_sha256(model)


def classifier_of(
    model: ModelOrPath,
    data: Dataset,
    name: str,
    *,
    input_range: tuple[float, float] | None = None,
    preprocess: str | None = None,
) -> Adapted:
    """The model, from images in [0, 1] to the logits of the data set's classes.

    Args:
      model: a keras.Model, or a path as `runs.load_model` takes it.
      data: the data set, by whose first test images it is looked at.
      name: of the model, for messages.
      input_range, preprocess: see `foreign.adapt`.

    Raises:
      FileNotFoundError, ValueError: as `runs.load_model`, `foreign.adapt` and
        `diagnostics.check_classifier`.
    """
    classifier = loaded(model)
    if preprocess is None and transforms_of(classifier):
        input_range = input_range or UNIT  # that of every input transformation
    adapted = adapt(
        classifier,
        data.test.images,
        data.test.labels,
        input_range=input_range,
        preprocess=preprocess,
        name=name,
    )
    diagnostics.check_classifier(adapted.model, data, name)
    return adapted


def said(name: str, notes: Sequence[str], warnings: Sequence[str]) -> Iterator[str]:
    """A line for all notes on a model or data, and one for each warning."""
    if notes:
        yield f"{name}: {', '.join(notes)}."
    yield from (f"{name}: warning: {each}" for each in warnings)
