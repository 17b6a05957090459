"""What make_adv attacks, as flags have it: attacks, models, images, targets."""

import pathlib
from typing import Any
from typing import NamedTuple

from absl.flags import FlagValues
import numpy as np

from tf_advdefense import attacks
from tf_advdefense import datasets
from tf_advdefense.artifacts import runs
from tf_advdefense.commands.flags import number
from tf_advdefense.commands.work import models
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.defenses.adaptive import attacked_view
from tf_advdefense.evaluation import evaluate as evaluation

_NUM_EXAMPLES = 512  # Of validation and test, unless --num_examples says otherwise.


class Source(NamedTuple):
    """The model, or models, to attack; several names are joined by "+"."""

    name: str
    architecture: str
    sha256: str
    paths: list[pathlib.Path]
    found: list[runs.Run]  # none for a model from elsewhere


class Crafting(NamedTuple):
    """What is attacked."""

    source: Source
    model: Any  # a function from images to logits, or a list of them
    data: Dataset
    split: Split
    targets: np.ndarray | None  # int [n], the class each image is to reach


def wanted(flags: FlagValues) -> list[tuple[str | None, Any]]:
    """The radius as it was typed, or None, and the attack of each set."""
    hyper = {**attacks.BUDGETS.get(flags.attack, {}), **flags.attack_args}
    return [
        (
            text,
            attacks.make_attack(
                flags.attack,
                **hyper | ({} if text is None else {"eps": number(text)}),
            ),
        )
        for text in flags.eps or [None]
    ]


def load(flags: FlagValues) -> Crafting:
    """The models and the images that flags name, fit for each other."""
    source = _source(flags)
    data = datasets.load(flags.dataset, flags.data_dir, flags.image_size)
    for run in source.found:
        models.check_trained_on(run, data)
    model = [models.fit_for(data, path, str(path)) for path in source.paths]
    if source.found:  # of a model from elsewhere no temperature is known
        model = [
            attacked_view("white-box", each, run.temperature)
            for each, run in zip(model, source.found)
        ]
    model = model if len(model) > 1 else model[0]
    split = _split(flags, data)
    targets = _targets(flags, model, split, data.num_classes)
    return Crafting(source, model, data, split, targets)


def labels(flags: FlagValues) -> str:
    """Which labels are left: predicted on train, where true ones would leak."""
    return flags.labels or ("predicted" if flags.split == "train" else "true")


def _source(flags: FlagValues) -> Source:
    names = [] if flags.model_path else flags.run
    found = [runs.load_run(flags.output_dir, name) for name in names]
    paths = [run.model_path for run in found] or [pathlib.Path(flags.model_path)]
    names = [run.name for run in found] or [models.model_name(paths[0])]
    architectures = [run.config["request"]["model"] for run in found] or names
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(
                f"No model at {path}. Give a .keras file or a SavedModel directory."
            )
    sha256 = "+".join(map(runs.weights_sha256, paths))
    return Source("+".join(names), "+".join(architectures), sha256, paths, found)


def _split(flags: FlagValues, data: Dataset) -> Split:
    most = None if flags.split == "train" else _NUM_EXAMPLES
    return data.split(flags.split).take(flags.num_examples or most)


def _targets(
    flags: FlagValues, model: Any, split: Split, num_classes: int
) -> np.ndarray | None:
    """The class each image is to reach, never its own; None without --targeted."""
    if not flags.targeted:
        return None
    if flags.target == "random":
        draw = [
            np.random.default_rng([flags.seed, i]).integers(1, num_classes)
            for i in split.index
        ]
        return (split.labels + draw) % num_classes
    if flags.target == "least_likely":
        return evaluation.least_likely(model, split.images, flags.batch_size)
    if not flags.target.isdigit() or int(flags.target) >= num_classes:
        raise ValueError(
            f"--target must be random, least_likely or a class below "
            f"{num_classes}. Received: --target={flags.target}"
        )
    return np.full(len(split), int(flags.target))
