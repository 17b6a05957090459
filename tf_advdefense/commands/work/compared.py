"""What report compares, as flags have it: models, adversarial sets, attacks."""

import pathlib
from typing import Any

from absl.flags import FlagValues
import numpy as np

from tf_advdefense import attacks
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts import runs
from tf_advdefense.commands.flags import eps_text
from tf_advdefense.commands.flags import number
from tf_advdefense.commands.work import models
from tf_advdefense.datasets import Dataset
from tf_advdefense.defenses.transforms import transforms_of
from tf_advdefense.evaluation import records as results
from tf_advdefense.evaluation.measurements import Target


def chosen_attacks(flags: FlagValues) -> list[tuple[str | None, Any]]:
    """[(eps text or None, Attack)]: Linf attacks at every --eps, others once."""
    chosen = []
    for name in flags.attacks:
        budget = {} if flags.full else attacks.BUDGETS.get(name, {})
        attack = attacks.make_attack(name, **budget)
        eps = attack.hyper.get("eps")
        if attack.norm == np.inf and eps is not None:
            chosen += [
                (text, attacks.make_attack(name, **budget, eps=number(text)))
                for text in flags.eps
            ]
        else:
            chosen.append((None if eps is None else eps_text(eps), attack))
    return chosen


def targets(flags: FlagValues, data: Dataset) -> list[Target]:
    """The models to compare: of --runs, or all runs of the data set, and --model_path.

    Raises:
      FileNotFoundError: there are none.
      ValueError: a run of another data set, or two models of one name.
    """
    found = _runs(flags, data)
    for run in found:
        models.check_trained_on(run, data)
    compared = [_target(run) for run in found]
    if flags.model_path:
        path = pathlib.Path(flags.model_path)
        compared.append(_foreign_target(path, data, _names(flags)))
    if not compared:
        raise FileNotFoundError(
            f"No finished run of {data.name} in {flags.output_dir}. Train one with "
            "`train_run`, or give --model_path."
        )
    return compared


def sets(flags: FlagValues, data: Dataset) -> list[Any]:
    """The adversarial sets of test images, in the order of their names."""
    names = flags.adv_data
    if names is None:
        names = adversarial_sets.list_sets(flags.output_dir)
    found = [
        adversarial_sets.load_set(flags.output_dir, name, verify=False)
        for name in names
    ]
    usable = [s for s in found if _of_test_images(s, data)]
    if flags.adv_data is not None and len(usable) < len(found):
        unusable = next(s.name for s in found if s not in usable)
        raise ValueError(
            f"--adv_data takes sets of {data.name}'s test images. Received: "
            f"{unusable}. Craft one with `make_set` --split=test."
        )
    return [adversarial_sets.load_set(flags.output_dir, s.name) for s in usable]


def _of_test_images(adv_set: Any, data: Dataset) -> bool:
    request = adv_set.config["request"]
    return (
        request["split"] == "test"
        and request["dataset_fingerprint"] == data.fingerprint
    )


def _names(flags: FlagValues) -> list[str]:
    return runs.list_runs(flags.output_dir) if flags.runs is None else flags.runs


def _runs(flags: FlagValues, data: Dataset) -> list[runs.Run]:
    found = [runs.load_run(flags.output_dir, name) for name in _names(flags)]
    if flags.runs is not None:
        return found
    return [
        run
        for run in found
        if run.config["request"]["dataset_fingerprint"] == data.fingerprint
    ]


def _target(run: runs.Run) -> Target:
    request = run.config["request"]
    fields = {key: run.config.get(key, request.get(key)) for key in results.MODEL}
    fields |= {"adv_data": list(request["adv_data"]), "defense": run.defense}
    return Target(
        run.name,
        run.model_path,
        run.config["weights_sha256"],
        fields,
        run.config["command"],
        run.temperature,
        masked=run.temperature != 1 or "transforms" in request,
    )


def _foreign_target(path: pathlib.Path, data: Dataset, names: list[str]) -> Target:
    name = models.model_name(path)
    if name in names:
        raise ValueError(
            f"Models need names of their own. Received: --model_path={path} beside the "
            f"run {name}. Copy it to another name."
        )
    model = models.fit_for(data, path, str(path))
    fields = {
        **dict.fromkeys(results.MODEL),
        "model": name,
        "defense": "none",
        "num_params": model.count_params(),
    }
    return Target(
        name, path, runs.weights_sha256(path), fields, masked=bool(transforms_of(model))
    )
