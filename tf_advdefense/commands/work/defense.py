"""The defence that flags describe, with the models and settings that it needs."""

import pathlib
from typing import Any

from absl.flags import FlagValues
import numpy as np

from tf_advdefense import defenses
from tf_advdefense.artifacts import runs
from tf_advdefense.commands.work import models
from tf_advdefense.datasets import Dataset
from tf_advdefense.defenses import free
from tf_advdefense.training import optimizers
from tf_advdefense.training.robust_validation import RobustValidation

_ROBUST_VALIDATION = 512  # Images that PGD is run on after each epoch.


def make(flags: FlagValues, data: Dataset) -> Any:
    """The training loss of --defense with its hyperparameters."""
    hyper = dict(flags.defense_args)
    for name in ("eps", "craft_bn"):
        if flags[name].value is not None:
            hyper[name] = flags[name].value
    return defenses.make_defense(
        flags.defense,
        dataset=data.name,
        attack=flags.attack,
        parts=_parts(flags, data),
        **hyper,
    )


def settings(flags: FlagValues) -> tuple[dict[str, Any], int]:
    """The model's and the defence's defaults, or the given flags; and the epochs."""
    defaults = {
        **optimizers.DEFAULTS.get(flags.model, optimizers.OTHER_MODELS),
        **defenses.training_settings(flags.defense),
    }
    chosen = {
        key: value if flags[key].value is None else flags[key].value
        for key, value in defaults.items()
    }
    return chosen, chosen.pop("epochs")


def robust_validation(flags: FlagValues, data: Dataset, hyper: dict[str, Any]) -> Any:
    """Scores epochs by PGD within the radius that the defence trains against."""
    eps = hyper.get("eps", hyper.get("eps_linf"))
    if not eps or hyper.get("norm", np.inf) != np.inf:
        return None
    split = data.validation.take(_ROBUST_VALIDATION)
    max_drop = defenses.max_drop(flags.defense)
    return lambda checkpoint: RobustValidation(checkpoint, split, eps, max_drop)


def compare_temperatures(flags: FlagValues, hyper: dict[str, Any]) -> None:
    """Say so where a student is not trained at its teacher's temperature."""
    run = flags.teacher and models.found(flags.output_dir, flags.teacher)[1]
    if run and run.temperature != hyper["temperature"]:
        print(
            f"The teacher was trained at temperature {run.temperature:g}, the student "
            f"will be at {hyper['temperature']:g}: the paper has both at the same."
        )


def source_names(flags: FlagValues) -> list[str]:
    """What the models of --sources are called."""
    return [
        name
        if models.found(flags.output_dir, name)[1]
        else models.model_name(pathlib.Path(name))
        for name in flags.sources
    ]


def request(flags: FlagValues) -> dict[str, Any]:
    """What a run's request says of the other models, by the hash of their weights."""

    def sha256(name: str) -> str:
        return runs.weights_sha256(models.found(flags.output_dir, name)[0])

    sources = {name: sha256(name) for name in flags.sources}
    return {
        "teacher": flags.teacher and sha256(flags.teacher),
        **({"sources": sources} if sources else {}),
    }


def _parts(flags: FlagValues, data: Dataset) -> dict[str, Any]:
    """What the defence needs beside hyperparameters."""

    def other(name: str) -> Any:
        return models.fit_for(data, models.found(flags.output_dir, name)[0], name)

    parts: dict[str, Any] = {}
    if flags.teacher is not None:
        parts["teacher"] = other(flags.teacher)
    if flags.sources:
        parts["sources"] = [other(name) for name in flags.sources]
    if "perturbation" in defenses.needed_parts(flags.defense):
        if flags.distribute != "none":
            raise ValueError(
                f"--defense={flags.defense} keeps a perturbation on one device. "
                f"Received: --distribute={flags.distribute}. Leave it out."
            )
        parts["perturbation"] = free.perturbation(flags.batch_size, data.image_shape)
    return parts
