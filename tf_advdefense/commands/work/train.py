"""Trains the run that flags describe."""

from collections.abc import Sequence
import pathlib
from typing import Any

from absl.flags import FlagValues
import keras

from tf_advdefense import distribution
from tf_advdefense.artifacts import runs
from tf_advdefense.commands.work.data import dataset_of
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation.classifiers import classifier_of
from tf_advdefense.evaluation.classifiers import said
from tf_advdefense.evaluation.targets import check_trained_on
from tf_advdefense.evaluation.targets import model_name
from tf_advdefense.training.run import train_run

# Flags that are parameters of `train_run` by the same name.
_PARAMETERS = (
    *("output_dir", "name", "resume", "overwrite", "model_args"),
    *("epochs", "learning_rate", "schedule", "optimizer", "weight_decay"),
    *("batch_size", "seed", "train_examples", "attack", "teacher", "sources"),
    *("adv_data", "adv_fraction", "transforms", "eot_draws", "augment", "augment_adv"),
    *("average", "average_args", "awp", "clip_norm"),
    *("flip", "crop", "crop_area", "cutout", "cutmix", "freeze"),
    *("distribute", "mixed_precision", "jit_compile"),
    *("steps_per_execution", "checkpoint_steps"),
)


def train(flags: FlagValues, command: str) -> None:
    """Trains, scores and saves the run, or says that it is finished."""
    distribution.set_up(flags.mixed_precision, flags.distribute)
    data = dataset_of(flags)
    _say(data.name, data.notes, ())
    train_run(
        _model(flags, data),
        flags.defense,
        data,
        defense_args=_hyperparameters(flags),
        command=command,
        **{name: flags[name].value for name in _PARAMETERS},
    )


def _model(flags: FlagValues, data: Dataset) -> str | keras.Model:
    """The architecture that is trained from scratch, or a model with its weights."""
    if flags.model is not None:
        return str(flags.model)
    if flags.init_from is not None:
        run = runs.load_run(flags.output_dir, flags.init_from)
        check_trained_on(run, data)
        return run.load_model()
    name = model_name(flags.model_path)
    adapted = classifier_of(
        pathlib.Path(flags.model_path),
        data,
        flags.model_path,
        input_range=flags.input_range,
        preprocess=flags.preprocess,
    )
    _say(name, adapted.notes, adapted.warnings)
    adapted.model.name = name  # Which the run is called by.
    return adapted.model


def _say(name: str, notes: Sequence[str], warnings: Sequence[str]) -> None:
    for line in said(name, notes, warnings):
        print(line, flush=True)


def _hyperparameters(flags: FlagValues) -> dict[str, Any]:
    """Those of the defence: --defense_args, and what has a flag of its own."""
    own = {name: flags[name].value for name in ("eps", "craft_bn")}
    given = {name: value for name, value in own.items() if value is not None}
    for name in given.keys() & flags.defense_args.keys():
        raise ValueError(
            f"A hyperparameter is given once. Received: --{name} beside "
            f"--defense_args={name}. Leave one of them out."
        )
    return {**flags.defense_args, **given}
