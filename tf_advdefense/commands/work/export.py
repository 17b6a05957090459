"""Exports a run, as it is or behind input transformations."""

import pathlib
from typing import Any

from absl.flags import FlagValues
import numpy as np

from tf_advdefense import datasets
from tf_advdefense import distribution
from tf_advdefense import locks
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts import saved_model
from tf_advdefense.commands.work import transforms
from tf_advdefense.commands.work.data import trained_on
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.targets import check_trained_on
from tf_advdefense.reporting import model_card

_CLEAN = (
    "dataset",
    "best_epoch",
    "validation_accuracy",
    "test_accuracy",
    "test_examples",
)


def export(flags: FlagValues) -> None:
    """Writes the SavedModel of --run, and its evaluation, to --to."""
    distribution.set_up()
    run = runs.load_run(flags.output_dir, flags.run)
    if run.packaged and not flags.to:
        raise ValueError(
            "A network of the zoo is exported to a place of its own. Received: "
            f"--run={flags.run} without --to. Give --to=DIRECTORY."
        )
    name = "-".join(["saved_model", *transforms.names(flags)])
    directory = pathlib.Path(flags.to or run.directory / name)
    with locks.held(directory, parameter="to"):
        if flags.transforms:
            _export_transformed(flags, run, directory)
        else:
            _export_as_it_is(flags, run, directory)


def _export_as_it_is(flags: FlagValues, run: runs.Run, directory: pathlib.Path) -> None:
    evaluation = {key: run.config[key] for key in _CLEAN}
    measured = _measured(flags, run)
    evaluation["records"] = _records(run, measured)
    saved_as = run.model_path.name, directory.name
    card = model_card.card(run.config, measured, name=run.name, saved_as=saved_as)
    saved_model.export_saved_model(
        run.load_model(), directory, evaluation, model_card.rendered(card)
    )
    print(f"{directory}: {len(evaluation['records'])} measurements beside it.")


def _export_transformed(
    flags: FlagValues, run: runs.Run, directory: pathlib.Path
) -> None:
    """The run's model behind --transforms, as a SavedModel and a .keras file."""
    names = transforms.names(flags)
    model = transforms.behind(
        flags, run.load_model(), lambda: _train_images(flags, run)
    )
    evaluation = {
        "run": run.name,
        "dataset": run.config["dataset"],
        **transforms.request(flags),
        "records": [],
    }
    path = directory.with_name(directory.name + ".keras")
    _check_ours(path, directory)
    with files.replacing(path) as temporary:
        model.save(temporary)
    card = model_card.card(
        run.config,
        name=f"{run.name} behind {', '.join(names)}",
        transforms=flags.transforms,
        saved_as=(path.name, directory.name),
    )
    saved_model.export_saved_model(
        model, directory, evaluation, model_card.rendered(card)
    )
    print(f"{directory}: not measured yet, try report --runs= --model_path={path}")


def _check_ours(path: pathlib.Path, directory: pathlib.Path) -> None:
    """Refuses a file beside a directory that no export made."""
    if path.exists() and not (directory.is_dir() and saved_model.is_export(directory)):
        raise FileExistsError(
            f"--to=NAME also writes NAME.keras. Received: {path}, which no export "
            "made. Choose another name, or move it away."
        )


def _train_images(flags: FlagValues, run: runs.Run) -> np.ndarray:
    """The images that the run was trained on."""
    request = run.config["request"]
    data = datasets.load(data_dir=flags.data_dir, **trained_on(run))
    check_trained_on(run, data)
    return data.train.take(request["train_examples"]).images


def _measured(flags: FlagValues, run: runs.Run) -> tuple[Any, Any] | None:
    """What the report holds, if it was measured on these very weights; else None."""
    directory = pathlib.Path(flags.report_dir or f"{flags.output_dir}/report")
    if flags.report_dir is None and not (directory / "results.json").exists():
        return None
    results, per_example = records.load_results(directory)
    measured = results["models"].get(run.name, {}).get("weights_sha256")
    same = measured == run.config["weights_sha256"]
    return (results, per_example) if same else None


def _records(run: runs.Run, measured: tuple[Any, Any] | None) -> list[dict[str, Any]]:
    """Those of the run."""
    if measured is None:
        return []
    return [record for record in measured[0]["records"] if record["target"] == run.name]
