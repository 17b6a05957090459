"""The weights that a run with an average (`bin/train --average=`) was training.

    python docs/trained_weights.py outputs/runs/resnet50-8-plain plain-trained.keras

The run's own model is the average; its last checkpoint holds both.
"""

import pathlib
import sys

import keras
import numpy as np


def main() -> None:
    """Writes the model with the trained weights in place of their average."""
    directory, to = map(pathlib.Path, sys.argv[1:])
    model = keras.models.load_model(directory / "model.keras", compile=False)
    state = np.load(directory / "checkpoints" / "state.npz")
    averaged = [v for v in model.variables if v.dtype.startswith("float")]
    for i, variable in enumerate(averaged):
        variable.assign(state[f"average/{i}"])
    model.save(to)


if __name__ == "__main__":
    main()
