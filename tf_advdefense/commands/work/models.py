"""Models that flags name: runs, and files or SavedModels from elsewhere."""

import pathlib

import keras

from tf_advdefense.artifacts import runs
from tf_advdefense.datasets import Dataset

# Keras loads models that contain these layers once it knows them.
from tf_advdefense.defenses import transforms  # noqa: F401
from tf_advdefense.evaluation import diagnostics


def found(output_dir: str, name: str) -> tuple[pathlib.Path, runs.Run | None]:
    """The path of a model given by path or by its run's name; and the run, or None."""
    path = pathlib.Path(name)
    if path.exists():
        return path, None
    run = runs.load_run(output_dir, name)
    return run.model_path, run


def fit_for(data: Dataset, path: pathlib.Path, name: str) -> keras.Model:
    """The model at a path; ValueError where it is none of this data set's images."""
    model = runs.load_model(path)
    diagnostics.check_classifier(model, data, name)
    return model
