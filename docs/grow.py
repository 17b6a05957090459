"""Prints how time and memory of crafting grow: images, their side, classes, processes.

    python docs/grow.py

Each row is `bin/make_adv --attack=pgd` with ten steps on a `small_resnet` of width 8
and random images, in a process of its own, whose time and peak memory it is.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from tf_advdefense.models import build_model

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_MANY, _SIDES, _CLASSES, _WORKERS = (
    (256, 1024, 4096),
    (32, 64, 128, 224),
    (10, 1000),
    (2,),
)


def crafted(images: int, side: int, classes: int, workers: int) -> tuple[float, float]:
    """Seconds of crafting so many images, and peak MB of the largest process."""
    with tempfile.TemporaryDirectory() as directory:
        random = np.random.default_rng(0)
        shape = (images, side, side, 3)
        np.savez(
            f"{directory}/set.npz",
            images=random.integers(0, 256, shape, np.uint8),
            labels=np.arange(images) % classes,
            class_names=np.arange(classes).astype(str),
        )
        model = build_model("small_resnet", shape[1:], classes, width=8)
        model.save(f"{directory}/model.keras")
        started = time.monotonic()
        command = [
            *(sys.executable, _ROOT / "bin" / "make_adv", "--attack=pgd"),
            *("--attack_args=nb_iter=10", f"--model_path={directory}/model.keras"),
            *(f"--dataset=npz:{directory}/set.npz", f"--num_examples={images}"),
            *("--batch_size=32", f"--workers={workers}", f"--output_dir={directory}"),
        ]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        _, code, used = os.wait4(process.pid, 0)
        if code:
            sys.exit("It did not end well.")
        return time.monotonic() - started, used.ru_maxrss / 1024


def main() -> None:
    """Prints a table in Markdown."""
    rows = [(number, 32, 10, 1) for number in _MANY]
    rows += [(_MANY[-1], 32, 10, each) for each in _WORKERS]
    rows += [(256, 32, classes, 1) for classes in _CLASSES[1:]]
    rows += [(256, side, 10, 1) for side in _SIDES[1:]]
    print("| images | side | classes | processes | seconds | peak, MB |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        seconds, peak = crafted(*row)
        cells = (*map(str, row), f"{seconds:.0f}", f"{peak:.0f}")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
