"""Puts finished runs into the zoo, as they come with the package.

    python docs/make_zoo.py outputs "CIFAR-10 re-encoded as JPEG" plain=small_resnet

Of a run its model, history, request and configuration are taken; of the command that
made it, where it was made is left out. Its card is written anew.
"""

import pathlib
import re
import shutil
import sys

from tf_advdefense import zoo
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts import saved_model
from tf_advdefense.reporting import model_card

MOST = 2_000_000  # Bytes of a model.
_PLACES = r" --(output_dir|data_dir)=\S+| --resume"


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
    card = model_card.card(config, name=f"zoo:{name}")
    saved_model.write_card(directory, model_card.rendered(card))
    return directory


if __name__ == "__main__":
    output_dir, note, *entries = sys.argv[1:]
    for entry in entries:
        print(add(output_dir, note, *entry.split("=")))
