"""Makes adversarial sets: claims a name, crafts the missing shards, finishes it."""

import pathlib
import time
from typing import Any

from absl.flags import FlagValues
import numpy as np

from tf_advdefense import attacks
from tf_advdefense import distribution
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts import adversarial_shards
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import runs
from tf_advdefense.attacks.core import craft as engine
from tf_advdefense.commands.flags import eps_text
from tf_advdefense.commands.progress import duration
from tf_advdefense.commands.progress import progress
from tf_advdefense.commands.work import crafting
from tf_advdefense.commands.work.crafting import Crafting
from tf_advdefense.evaluation import diagnostics
from tf_advdefense.evaluation import evaluate as evaluation
from tf_advdefense.evaluation import measurements as comparison
from tf_advdefense.images import as_float
from tf_advdefense.images import norms


def make_sets(flags: FlagValues, command: str) -> None:
    """Makes a set for each radius."""
    distribution.set_up()
    wanted = crafting.wanted(flags)
    work = crafting.load(flags)
    for text, attack in wanted:
        _make_set(flags, command, text, attack, work)


def _make_set(
    flags: FlagValues, command: str, text: str | None, attack: Any, work: Crafting
) -> None:
    """One adversarial set."""
    split = work.split
    name = flags.name or adversarial_sets.set_name(
        work.source.name,
        attack.name + "-targeted" * flags.targeted,
        text,
        attacks.ATTACKS[attack.name].hyper.get("eps"),
        flags.split,
    )
    directory = adversarial_sets.set_directory(flags.output_dir, name)
    if flags.overwrite or not (directory / files.CONFIG).exists():
        # Before anything is written: a model without gradients is refused here.
        seconds = engine.time_passes(
            work.model,
            split.images,
            batch_size=flags.batch_size,
            gradient=attack.function.gradient,
        )
    state = files.claim(
        directory,
        _request(flags, text, attack, work),
        overwrite=flags.overwrite,
        resume=flags.resume or flags.shard is not None,
    )
    if state == "finished":
        print(f"{directory} is finished: nothing to do.")
        return
    ranges = adversarial_shards.shard_ranges(len(split), flags.batch_size)
    shards = [
        (directory, name, flags.split, i, len(ranges)) for i in range(len(ranges))
    ]
    first, every = flags.shard or (0, 1)
    todo = [
        i
        for i in range(len(ranges))
        if i % every == first and not adversarial_shards.shard_complete(*shards[i])
    ]
    started = time.time()
    _announce(
        name,
        attack,
        seconds,
        sum(stop - start for start, stop in (ranges[i] for i in todo)),
        flags.batch_size,
    )
    passes = []
    for i in todo:
        title = f"{name} shard {i + 1}/{len(ranges)}"
        examples = _craft(flags, title, attack, work, slice(*ranges[i]))
        passes.append([examples.pop(key) for key in ("forwards", "backwards")])
        adversarial_shards.write_shard(*shards[i], examples, flags.store)
    if not all(adversarial_shards.shard_complete(*shard) for shard in shards):
        print(f"{directory}: this worker's shards are done, others' are missing.")
        return
    whole = len(todo) == len(ranges)  # Otherwise others know the rest of the cost.
    made = {
        **_mean_passes(passes if whole else []),
        "seconds": round(time.time() - started) if whole else None,
        "command": command,
    }
    _finish(flags, directory, name, len(ranges), work, made)


def _craft(
    flags: FlagValues, title: str, attack: Any, work: Crafting, part: slice
) -> dict[str, np.ndarray]:
    """The examples of a shard, as they will be stored."""
    split, targets = work.split, work.targets
    examples = engine.craft(
        work.model,
        attack,
        split.images[part],
        split.labels[part],
        split.index[part],
        targets=None if targets is None else targets[part],
        attack_labels=crafting.labels(flags),
        batch_size=flags.batch_size,
        seed=flags.seed,
        progress=progress(title),
    )
    if flags.store != "float32":
        _round(flags, examples, work.model, split.images[part])
    return examples


def _round(
    flags: FlagValues, examples: dict[str, np.ndarray], model: Any, clean: np.ndarray
) -> None:
    """Replace images by what the store keeps of them, and judge them anew."""
    examples["image"] = adversarial_shards.as_stored(examples["image"], flags.store)
    examples["prediction"] = evaluation.classify(
        model, examples["image"], flags.batch_size
    )
    examples.update(norms(examples["image"], as_float(clean)))


def _finish(
    flags: FlagValues,
    directory: pathlib.Path,
    name: str,
    num_shards: int,
    work: Crafting,
    made: dict[str, Any],
) -> None:
    """Writes what is known of the set, and says how many images were fooled."""
    config = adversarial_shards.finish_set(
        directory,
        name,
        flags.split,
        num_shards,
        work.data.class_names,
        work.data.image_shape,
        flags.store,
        {**made, "versions": runs.versions(), "git_commit": runs.git_commit()},
    )
    right, rate = config["clean_correct"], config["success_rate"]
    means = config["mean_norms"] or {}
    print(
        f"{directory}: {len(work.split)} images, "
        f"{'none' if rate is None else f'{100 * rate:.1f} %'} of the correctly "
        "classified fooled"
        + "".join(f", mean {norm} {value:.4g}" for norm, value in means.items())
        + "."
    )
    if diagnostics.is_at_chance(right, len(work.split), work.data.num_classes):
        print(
            f"Red flag: accuracy at chance, {right} of {len(work.split)} clean images: "
            + diagnostics.CHANCE
        )


def _announce(
    name: str,
    attack: Any,
    seconds: tuple[float, float],
    num_images: int,
    batch_size: int,
) -> None:
    """Say what is to be done and what it costs at most."""
    total = engine.estimate(attack, num_images, seconds, batch_size=batch_size)
    print(
        f"Crafting {name}: {num_images} images, at most {attack.passes[0]} forward "
        f"and {attack.passes[1]} backward passes each, at most {duration(total)}.",
        flush=True,
    )


def _mean_passes(shards: list[list[np.ndarray]]) -> dict[str, float | None]:
    """Per image, or None where the cost of some shards is not known."""
    means = [None, None]
    if shards:
        means = np.concatenate(shards, axis=1).mean(axis=1).tolist()
    return dict(zip(("forwards", "backwards"), means))


def _request(
    flags: FlagValues, text: str | None, attack: Any, work: Crafting
) -> dict[str, Any]:
    """All that makes the set what it is."""
    eps = attack.hyper.get("eps")
    return {
        "dataset": work.data.name,
        "dataset_fingerprint": work.data.fingerprint,
        "source": work.source.name,
        "source_model": work.source.architecture,
        "source_sha256": work.source.sha256,
        "attack": attack.name,
        "params": comparison.json_hyper(attack),
        "eps_text": text or (None if eps is None else eps_text(eps)),
        "norm": comparison.norm_text(attack.norm),
        "kind": attack.kind,
        "split": flags.split,
        "labels": crafting.labels(flags),
        "targeted": flags.targeted,
        "target": flags.target if flags.targeted else None,
        "num_examples": len(work.split),
        "batch_size": flags.batch_size,
        "seed": flags.seed,
        "store": flags.store,
    }
