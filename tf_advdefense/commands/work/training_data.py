"""The clean images and the adversarial sets that flags choose, and their batches."""

from collections.abc import Iterator
import functools
from typing import Any

from absl.flags import FlagValues

from tf_advdefense import defenses
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.datasets import pipeline
from tf_advdefense.datasets.augmentation import Augmentation


def clean(flags: FlagValues, data: Dataset) -> Split:
    """The clean images to train on; only their adversarial copies are mixed in."""
    return data.train.take(flags.train_examples)


def augmentation(flags: FlagValues, data: Dataset) -> Augmentation:
    """Of the data set, or as the flags have it."""
    given = {"flip": flags.flip, "pad": flags.crop}
    return data.augmentation._replace(
        **{key: value for key, value in given.items() if value is not None}
    )


def sets(flags: FlagValues, data: Dataset) -> list[Any]:
    """The adversarial sets to train on, once the defence has agreed to them."""
    chosen = [
        adversarial_sets.load_set(flags.output_dir, name) for name in flags.adv_data
    ]
    defenses.check_sets(
        flags.defense,
        model_name=flags.model,
        dataset=data.fingerprint,
        image_shape=data.image_shape,
        sets={s.name: s.config for s in chosen},
    )
    if chosen:
        pipeline.num_adversarial(flags.batch_size, flags.adv_fraction)
    if flags.train_examples:
        for adv_set in chosen:
            adversarial_sets.check_covers(adv_set, clean(flags, data).index)
    return chosen


def batches(
    flags: FlagValues,
    data: Dataset,
    adv_sets: list[Any],
    first_epoch: int,
    epochs: int,
    replays: int,
) -> Any:
    """All training batches from an epoch on, mixed with the adversarial sets."""
    split, augmented = clean(flags, data), augmentation(flags, data)
    among = split.index if flags.train_examples else None
    return pipeline.training_batches(
        split,
        batch_size=flags.batch_size,
        epochs=epochs,
        seed=flags.seed,
        initial_epoch=first_epoch,
        augment=augmented if flags.augment else None,
        adversarial=(
            functools.partial(_streams, adv_sets, flags.seed, among)
            if adv_sets
            else None
        ),
        adv_fraction=flags.adv_fraction,
        augment_adv=augmented if flags.augment_adv else None,
        replays=replays,
    )


def _streams(
    adv_sets: list[Any], seed: int, among: Any, epoch: int
) -> list[tuple[float, Iterator]]:
    """(weight, stream) of each set in an epoch."""
    weights = defenses.set_weights({s.name: s.config for s in adv_sets})
    return [
        (
            weights[s.name],
            adversarial_sets.stream(s, seed=seed, epoch=epoch, among=among),
        )
        for s in adv_sets
    ]
