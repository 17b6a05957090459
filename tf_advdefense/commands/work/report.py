"""Compares what flags name: runs and models from elsewhere, attacks, sets."""

import functools
import pathlib
from typing import Any

from absl.flags import FlagValues
import numpy as np

from tf_advdefense import attacks
from tf_advdefense import distribution
from tf_advdefense import reporting
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts.adversarial_sets import AdversarialSet
from tf_advdefense.commands.flags import number
from tf_advdefense.commands.progress import progress
from tf_advdefense.commands.work.data import dataset_of
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation.attack_facts import at_radius
from tf_advdefense.evaluation.attack_facts import within_budget
from tf_advdefense.evaluation.compare import compare
from tf_advdefense.evaluation.compare import is_of_test_images
from tf_advdefense.evaluation.targets import model_name
from tf_advdefense.evaluation.targets import target_of_model


def report(flags: FlagValues, command: str) -> None:
    """Measures, and writes the report to --report_dir."""
    distribution.set_up()
    data = dataset_of(flags)
    chosen = _attacks(flags, data)
    comparison = compare(
        _models(flags, data),
        data,
        chosen,
        _sets(flags, data),
        output_dir=flags.output_dir,
        report_dir=flags.report_dir,
        num_examples=flags.num_examples,
        num_costly=flags.num_examples if flags.full else flags.num_costly,
        batch_size=flags.batch_size,
        seed=flags.seed,
        note=flags.note,
        command=command,
        progress=progress,
        say=functools.partial(print, flush=True),
    )
    tables = reporting.render_tables(comparison.results)
    print(f"\n{tables}\n\nReport: {comparison.files['html']}")


def _attacks(flags: FlagValues, data: Dataset) -> list[Any]:
    """Attacks, or pairs of an eps text and one: Linf ones at every --eps."""
    chosen: list[Any] = []
    for name in flags.attacks:
        attack = attacks.ATTACKS[name]
        if not flags.full:
            attack = within_budget(attack, data.test.images)
        if attack.norm == np.inf and attack.eps is not None:
            chosen += [(eps, at_radius(attack, number(eps))) for eps in flags.eps]
        else:
            chosen.append(attack)
    return chosen


def _models(flags: FlagValues, data: Dataset) -> dict[str, Any]:
    """Name to what is compared: the runs, and the models from elsewhere."""
    models: dict[str, Any] = {run.name: run for run in _runs(flags, data)}
    for path in flags.model_path:
        name = model_name(path)
        if name in models:
            raise ValueError(
                "Models need names of their own. Received: "
                f"--model_path={path} beside another {name}. Copy it to another name."
            )
        # Refused before the sets are read, if it cannot be measured.
        models[name] = target_of_model(
            name,
            pathlib.Path(path),
            data,
            input_range=flags.input_range,
            preprocess=flags.preprocess,
        )
    if not models:
        raise FileNotFoundError(
            f"No finished run of {data.name} in {flags.output_dir}. Train one with "
            "`train_run`, or give --model_path."
        )
    return models


def _runs(flags: FlagValues, data: Dataset) -> list[runs.Run]:
    """Those of --runs, or all of the data set."""
    if flags.runs is not None:
        return [runs.load_run(flags.output_dir, name) for name in flags.runs]
    names = runs.list_runs(flags.output_dir)
    found = [runs.load_run(flags.output_dir, name) for name in names]
    same = data.fingerprint
    return [r for r in found if r.config["request"]["dataset_fingerprint"] == same]


def _sets(flags: FlagValues, data: Dataset) -> list[AdversarialSet]:
    """The adversarial sets of test images, in the order of their names."""
    names = flags.adv_data
    if names is None:
        names = adversarial_sets.list_sets(flags.output_dir)
    found = [
        adversarial_sets.load_set(flags.output_dir, name, verify=False)
        for name in names
    ]
    usable = [s for s in found if is_of_test_images(s, data)]
    if flags.adv_data is not None and len(usable) < len(found):
        unusable = next(s.name for s in found if s not in usable)
        raise ValueError(
            f"--adv_data takes sets of {data.name}'s test images. Received: "
            f"{unusable}. Craft one with `make_set(split='test')`."
        )
    return [adversarial_sets.load_set(flags.output_dir, s.name) for s in usable]
