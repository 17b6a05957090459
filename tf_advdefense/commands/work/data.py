"""The data set that the flags of any command name, or its runs were trained on."""

from collections.abc import Sequence
from typing import Any

from absl.flags import FlagValues

from tf_advdefense import datasets
from tf_advdefense.artifacts.runs import Run
from tf_advdefense.datasets import Dataset


def dataset_of(
    flags: FlagValues, trained: Sequence[Run] = (), *, test_only: bool = False
) -> Dataset:
    """Reads it into memory; raises as `datasets.load`.

    Args:
      flags: of the command.
      trained: runs that it is about: where --dataset is not given, and all of them
        were trained on one data set, that one is read.
      test_only: see `datasets.load`.
    """
    wanted = {"name": flags.dataset, **reading_of(flags)}
    if flags["dataset"].using_default_value:
        known = [trained_on(run) for run in trained]
        if known and all(each == known[0] for each in known):
            wanted = known[0]
    return datasets.load(data_dir=flags.data_dir, test_only=test_only, **wanted)


def reading_of(flags: FlagValues) -> dict[str, Any]:
    """How images are read, by the flags that were typed."""
    return {key: flags[key].value for key in datasets.READING if flags[key].value}


def trained_on(run: Run) -> dict[str, Any]:
    """What `datasets.load` reads the data set of a run by."""
    request = run.config["request"]
    reading = {key: request[key] for key in datasets.READING if request.get(key)}
    return {"name": request["dataset"], **reading}
