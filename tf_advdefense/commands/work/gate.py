"""The gate that flags describe: its measurements, its verdict, its annotations."""

import os
from typing import Any

from absl.flags import FlagValues

from tf_advdefense import datasets
from tf_advdefense import distribution
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import runs
from tf_advdefense.commands.work.data import dataset_of
from tf_advdefense.commands.work.data import reading_of
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation import repetition
from tf_advdefense.evaluation.baselines import Baseline
from tf_advdefense.evaluation.baselines import read_baseline
from tf_advdefense.evaluation.gate import Limits
from tf_advdefense.reporting import checks


def gate(flags: FlagValues) -> int:
    """Measures, prints the verdict and writes --junit; returns 0 or 1."""
    # What is wrong is said before anything is read or measured.
    Limits(flags.max_drop, flags.min_robust, flags.max_clean_drop)
    _check_model(flags)
    if flags.junit:
        files.check_replaced(flags.junit, checks.is_junit)
        files.check_writable(os.path.dirname(flags.junit) or ".")
    baseline = read_baseline(flags.baseline, flags.baseline_model)
    run = runs.load_run(flags.output_dir, flags.run) if flags.run else None
    distribution.set_up()
    result = repetition.gate(
        run or flags.model_path,
        baseline,
        flags.max_drop,
        flags.min_robust,
        max_clean_drop=flags.max_clean_drop,
        images=_images(flags, run, baseline),
        input_range=flags.input_range,
        preprocess=flags.preprocess,
        batch_size=_given(flags, "batch_size"),
        seed=_given(flags, "seed"),
        output_dir=flags.output_dir,
    )
    if flags.junit:
        xml = checks.junit(result.criteria, result.line)
        files.write_bytes(flags.junit, xml, checks.is_junit)
    if flags.github:
        print("\n".join(checks.github(result)), flush=True)
    return 0 if result.passed else 1


def _check_model(flags: FlagValues) -> None:
    if (flags.model_path is None) == (flags.run is None):
        received = "neither" if flags.run is None else "both"
        raise ValueError(
            f"A gate takes one of `model_path` and `run`. Received: {received}."
        )


def _images(flags: FlagValues, run: runs.Run | None, baseline: Baseline) -> Dataset:
    """Of the data set that is named, or that of the run, or the baseline's."""
    if run is not None or flags["dataset"].present:
        return dataset_of(flags, [run] if run else [], test_only=True)
    name = baseline.dataset["name"]
    reading = reading_of(flags)
    return datasets.load(name, flags.data_dir, test_only=True, **reading)


def _given(flags: FlagValues, name: str) -> Any:
    """The value of a flag that was typed, else None: the baseline knows better."""
    return flags[name].value if flags[name].present else None
