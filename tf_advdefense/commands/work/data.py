"""The data set that the flags of any command name."""

from absl.flags import FlagValues

from tf_advdefense import datasets
from tf_advdefense.datasets import Dataset


def dataset_of(flags: FlagValues) -> Dataset:
    """Reads it into memory; raises as `datasets.load`."""
    return datasets.load(flags.dataset, flags.data_dir, flags.image_size, flags.color)
