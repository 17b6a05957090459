"""Small networks that come with the package, trained by it on CIFAR-10.

    bin/report --runs=zoo:pgd_at --attacks=autoattack --threat=Linf:8/255
    model = build_model("small_resnet", (32, 32, 3), 10, weights="pgd_at")

Each is a directory here, a finished run without its logs: `model.keras`, at most 2 MB,
`config.json`, which says how it was made, and its model card. `results.json` and
`per_example.npz` hold what they withstand.
"""

import pathlib

DIRECTORY = pathlib.Path(__file__).resolve().parent
PREFIX = "zoo:"  # Of names of runs.


def names() -> list[str]:
    """Sorted names of the networks."""
    return sorted(path.parent.name for path in DIRECTORY.glob("*/config.json"))


def find(name: str) -> pathlib.Path:
    """Where a network lies; raises ValueError, in one line, for an unknown one."""
    if name not in names():
        raise ValueError(
            f"Unknown network {name!r} of the zoo. Known: {', '.join(names())}."
        )
    return DIRECTORY / name
