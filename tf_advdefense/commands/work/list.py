"""The lists that `advdefense list` prints."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tf_advdefense import zoo
from tf_advdefense.artifacts import runs
from tf_advdefense.attacks import ATTACKS
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.defenses import DEFENSES
from tf_advdefense.defenses.transforms import TRANSFORMS
from tf_advdefense.defenses.transforms import parameters
from tf_advdefense.models import MODELS

_NORMS = {np.inf: "Linf", 2: "L2", 1: "L1", 0: "L0", None: "none"}
_SOURCES = (
    ("NAME", "any image-classification set of TFDS, such as cifar10"),
    ("digits", "8x8 digits of scikit-learn at 32x32x3, offline"),
    ("folder:PATH", "images in PATH/train/CLASS and PATH/test/CLASS"),
    ("npz:FILE", "arrays x_test and y_test, and x_train and y_train"),
)


def listed() -> str:
    """All lists, each under its heading."""
    sections = (
        ("Attacks", _table([_HEADER, *map(_attack, ATTACKS)])),
        ("Defences", _table((name, DEFENSES[name].summary) for name in DEFENSES)),
        ("Models", _table((name, _first_line(MODELS[name])) for name in MODELS)),
        *([("Zoo", _table(map(_network, zoo.names())))] if zoo.names() else []),
        ("Input transformations", _table(map(_transform, TRANSFORMS))),
        ("Data sets", _table(_SOURCES)),
    )
    return "\n\n".join(f"{heading}\n{body}" for heading, body in sections)


_HEADER = ("name", "norms", "goal", "access", "paper", "passes", "in commands")


def _attack(name: str) -> tuple[str, ...]:
    attack = ATTACKS[name]
    budget = attack.budget
    return (
        name,
        " ".join(_NORMS[norm] for norm in attack.norms),
        attack.goal,
        attack.access,
        attack.paper,
        _passes(attack),
        f"{_passes(attack.replace(**budget))} by {_pairs(budget)}" if budget else "",
    )


def _passes(attack: Attack) -> str:
    """Of an image of CIFAR-10."""
    return "{:,} / {:,}".format(*attack.cost((32, 32, 3), 10))


def _transform(name: str) -> tuple[str, str]:
    known = parameters(TRANSFORMS[name])
    return name, f"{_first_line(TRANSFORMS[name])} ({_pairs(known)})"


def _network(name: str) -> tuple[str, str]:
    """A run's name, and what it is."""
    config = runs.load_run("", zoo.PREFIX + name).config
    request, accuracy = config["request"], config["test_accuracy"]
    made = f"{request['model']}({_pairs(request['model_args'])})"
    about = f"{config['num_params']:,} parameters, {100 * accuracy:.1f} % clean"
    data = config.get("note") or request["dataset"]
    return zoo.PREFIX + name, f"{made}, {about} ({data})"


def _pairs(values: dict[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in values.items())


def _first_line(described: Any) -> str:
    return (described.__doc__ or "").strip().splitlines()[0]


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows of cells, aligned."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        ("  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths))).rstrip()
        for row in rows
    )
