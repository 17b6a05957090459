"""Trains the run that flags describe."""

from typing import Any

from absl.flags import FlagValues

from tf_advdefense import distribution
from tf_advdefense.commands.work.data import dataset_of
from tf_advdefense.training.run import train_run

# Flags that are parameters of `train_run` by the same name.
_PARAMETERS = (
    *("output_dir", "name", "resume", "overwrite", "model_args"),
    *("epochs", "learning_rate", "schedule", "optimizer", "weight_decay"),
    *("batch_size", "seed", "train_examples", "attack", "teacher", "sources"),
    *("adv_data", "adv_fraction", "transforms", "eot_draws", "augment", "augment_adv"),
    *("flip", "crop", "distribute", "mixed_precision", "jit_compile"),
)


def train(flags: FlagValues, command: str) -> None:
    """Trains, scores and saves the run, or says that it is finished."""
    distribution.set_up(flags.mixed_precision)
    train_run(
        flags.model,
        flags.defense,
        dataset_of(flags),
        defense_args=_hyperparameters(flags),
        command=command,
        **{name: flags[name].value for name in _PARAMETERS},
    )


def _hyperparameters(flags: FlagValues) -> dict[str, Any]:
    """Those of the defence: --defense_args, and what has a flag of its own."""
    own = {name: flags[name].value for name in ("eps", "craft_bn")}
    given = {name: value for name, value in own.items() if value is not None}
    return {**flags.defense_args, **given}
