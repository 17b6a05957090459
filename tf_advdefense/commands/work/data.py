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
    wanted = flags.dataset, flags.image_size, flags.color
    if flags["dataset"].using_default_value:
        known = {_trained_on(run.config["request"]) for run in trained}
        wanted = known.pop() if len(known) == 1 else wanted
    name, image_size, color = wanted
    return datasets.load(name, flags.data_dir, image_size, color, test_only)


def _trained_on(request: dict[str, Any]) -> tuple[str, int | None, str | None]:
    return request["dataset"], request.get("image_size"), request.get("color")
