"""Makes the adversarial sets that flags ask for."""

import functools
import pathlib
from typing import Any

from absl.flags import FlagValues

from tf_advdefense import attacks
from tf_advdefense import distribution
from tf_advdefense.artifacts import runs
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.commands.flags import number
from tf_advdefense.commands.work.data import dataset_of
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation.attack_facts import at_radius
from tf_advdefense.evaluation.attack_facts import within_budget
from tf_advdefense.evaluation.batch_sizes import resolved
from tf_advdefense.evaluation.crafted_sets import make_set
from tf_advdefense.evaluation.progress import progress
from tf_advdefense.evaluation.sources import source_of

_NUM_EXAMPLES = 512  # Of validation and test, unless --num_examples says otherwise.


def make_sets(flags: FlagValues, command: str) -> None:
    """Makes a set for each radius."""
    distribution.set_up()
    # What is wrong with them is said before anything is read.
    attacks.ATTACKS[flags.attack].replace(**flags.attack_args)
    models = _models(flags)
    runs_of = models if isinstance(models, list) else ()
    data = dataset_of(flags, runs_of, test_only=flags.split == "test")
    wanted = _attacks(flags, data)
    source = source_of(
        models, data, input_range=flags.input_range, preprocess=flags.preprocess
    )
    batch_size = resolved(flags.batch_size, [source.model], data.image_shape)
    most = flags.num_examples or default_examples(flags.split, models)
    for text, attack in wanted:
        make_set(
            source,
            attack,
            data,
            output_dir=flags.output_dir,
            name=flags.name,
            split=flags.split,
            num_examples=most,
            labels=flags.labels,
            target=flags.target if flags.targeted else None,
            store=flags.store,
            eps_text=text,
            shard=flags.shard,
            batch_size=batch_size,
            seed=flags.seed,
            resume=flags.resume,
            overwrite=flags.overwrite,
            command=command,
            progress=progress,
            say=functools.partial(print, flush=True),
        )


def _attacks(flags: FlagValues, data: Dataset) -> list[tuple[str | None, Attack]]:
    """The radius as it was typed, or None, and the attack of each set."""
    images = data.split(flags.split).images
    attack = within_budget(attacks.ATTACKS[flags.attack], images)
    attack = attack.replace(**flags.attack_args)
    if not flags.eps:
        return [(None, attack)]
    return [(text, at_radius(attack, number(text))) for text in flags.eps]


def default_examples(split: str, models: Any) -> int | None:
    """How many images of a split are attacked by default; None for all.

    Of train the images that the sources were trained on: copies of others would be of
    no use to a training on the same ones.
    """
    if split != "train":
        return _NUM_EXAMPLES
    if isinstance(models, pathlib.Path):
        return None
    limits = {run.name: run.config["request"].get("train_examples") for run in models}
    known = {name: limit for name, limit in limits.items() if limit}
    if not known:
        return None
    name = min(known, key=lambda name: known[name])
    print(
        f"The first {known[name]} images of train, as {name} was trained on no others; "
        "--num_examples asks for more or fewer.",
        flush=True,
    )
    return known[name]


def _models(flags: FlagValues) -> Any:
    """The runs to attack, or the path of a model from elsewhere."""
    if flags.model_path:
        return pathlib.Path(flags.model_path)
    return [runs.load_run(flags.output_dir, name) for name in flags.run]
