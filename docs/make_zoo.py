"""Puts finished runs into the zoo, as they come with the package.

    python docs/make_zoo.py outputs "CIFAR-10 re-encoded as JPEG" plain=small_resnet
    bin/report '--runs=zoo:*' --threat=Linf:8/255 --num_examples=512 --num_costly=512
    python docs/make_zoo.py outputs/report

Of a run its model, history, request and configuration are taken; of the command that
made it, where it was made is left out. Given a report alone, its results become what
the zoo's networks are known by. The cards of all networks are written anew.
"""

import pathlib
import re
import shutil
import sys

from tf_advdefense import zoo
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts import saved_model
from tf_advdefense.evaluation import records
from tf_advdefense.reporting import model_card

MOST = 2_000_000  # Bytes of a model.
_PLACES = r" --(output_dir|data_dir|report_dir)=\S+| --resume"


def add(output_dir: str, note: str, name: str, run_name: str) -> pathlib.Path:
    """Makes zoo:NAME of a run; returns its directory."""
    run = runs.load_run(output_dir, run_name)
    size = run.model_path.stat().st_size
    if size > MOST:
        raise ValueError(
            f"A network of the zoo has at most {MOST:,} bytes. Received: {size:,}."
        )
    directory = zoo.DIRECTORY / name
    directory.mkdir(exist_ok=True)
    for file in ("model.keras", "history.csv", files.REQUEST):
        shutil.copy(run.directory / file, directory / file)
    command = re.sub(_PLACES, "", run.config["command"])
    config = {**run.config, "note": note, "command": command}
    files.write_config(directory, config)
    return directory


def take_results(report_dir: str) -> None:
    """Takes what a report measured as what the zoo's networks are known by."""
    results, per_example = records.load_results(report_dir)
    results["commands"] = [re.sub(_PLACES, "", each) for each in results["commands"]]
    records.save_results(zoo.DIRECTORY, results, per_example)


def write_cards() -> None:
    """The card of each network, with what was measured of it."""
    known = (zoo.DIRECTORY / "results.json").exists()
    measured = records.load_results(zoo.DIRECTORY) if known else None
    for name in zoo.names():
        config = runs.load_run("outputs", f"zoo:{name}").config
        card = model_card.card(config, measured, name=f"zoo:{name}")
        saved_model.write_card(zoo.find(name), model_card.rendered(card))


if __name__ == "__main__":
    where, *rest = sys.argv[1:]
    for entry in rest[1:]:
        print(add(where, rest[0], *entry.split("=")))
    if not rest:
        take_results(where)
    write_cards()
