"""Adversarial sets, crafted shard by shard and kept.

    make_set(runs.load_run("outputs", "resnet50"), "cw", data, num_examples=512)
    make_set("mine.keras", make_attack("fgsm", eps=0.1), data, split="train")

An interrupted set continues with its next shard (`resume`), several processes may each
make a part of the shards (`shard`), and the bytes are always those of one undisturbed
process.
"""

from collections.abc import Callable
import os
from typing import Any

import numpy as np

from tf_advdefense import distribution
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts.adversarial_sets import AdversarialSet
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.evaluation import attack_facts
from tf_advdefense.evaluation import scoring
from tf_advdefense.evaluation.classifiers import said
from tf_advdefense.evaluation.crafting import Crafting
from tf_advdefense.evaluation.progress import Progress
from tf_advdefense.evaluation.sources import Source
from tf_advdefense.evaluation.sources import SourceLike
from tf_advdefense.evaluation.sources import source_of


@distribution.full_float32()
def make_set(
    model: SourceLike,
    attack: str | Attack,
    data: Dataset,
    *,
    output_dir: str | os.PathLike[str] = "outputs",
    name: str | None = None,
    split: str = "test",
    num_examples: int | None = None,
    labels: str | None = None,
    target: str | int | None = None,
    store: str = "float32",
    eps_text: str | None = None,
    shard: tuple[int, int] | None = None,
    batch_size: int = 128,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    command: str | None = None,
    progress: Callable[[str], Progress] | None = None,
    say: Callable[[str], None] = print,
) -> AdversarialSet | None:
    """Crafts an adversarial set in OUTPUT_DIR/adv.

    Args:
      model: what is attacked; see `sources.source_of`.
      attack: its name, or the attack with its hyperparameters.
      data: the data set.
      output_dir: where runs, sets and reports lie.
      name: of the set; SOURCE-ATTACK[-epsEPS]-SPLIT by default.
      split: "train", "validation" or "test".
      num_examples: first images of the split; None for all.
      labels: "true" or "predicted", which an untargeted attack leaves; by default
        predicted on train, against label leaking (Kurakin et al. 2017,
        arXiv:1611.01236), and true on the others.
      target: "random", "least_likely" or a class index, to be reached by a targeted
        attack; None for an untargeted one.
      store: "float32", or "uint8", which rounds to grey levels; success is then judged
        after rounding.
      eps_text: the radius as it is to be written, such as "8/255".
      shard: (i, n) with 0 <= i < n, to make only every n-th shard, from the i-th on.
      batch_size: images per batch; a part of what the set is, for kernels round by it.
      seed: of random draws.
      resume: continue an interrupted set.
      overwrite: replace a set of that name.
      command: the command line that asks for it, to be kept.
      progress: gives, for a title, a function that is called with the numbers of images
        done, of all, and of the fooled.
      say: called with a line about what is to be done, and one about the outcome.

    Returns:
      The finished set; None where shards of other processes are missing.

    Raises:
      FileNotFoundError, ValueError: as `source_of`.
      FileExistsError, ValueError: as `files.claim`.
      ValueError: a model without gradients, or an unknown target.
    """
    source, attack = source_of(model, data), attack_facts.made(attack)
    for line in (
        *said(data.name, data.notes, ()),
        *said(source.name, source.adapted, source.warnings),
    ):
        say(line)
    images = data.split(split).take(num_examples)
    request = {
        **_about(source, attack, data),
        "eps_text": eps_text or attack_facts.eps_text(attack),
        "split": split,
        "labels": labels or ("predicted" if split == "train" else "true"),
        "targeted": target is not None,
        "target": None if target is None else str(target),
        "num_examples": len(images),
        "batch_size": batch_size,
        "seed": seed,
        "store": store,
    }
    targets = _targets(request, source, images, data.num_classes)
    name = name or _name(request, attack, eps_text)
    directory = adversarial_sets.set_directory(output_dir, name)
    crafting = Crafting(source, attack, data, images, targets, request, directory)
    finished = crafting.run(
        shard=shard,
        resume=resume,
        overwrite=overwrite,
        command=command,
        progress=progress,
        say=say,
    )
    if not finished:
        return None
    return adversarial_sets.load_set(output_dir, name, verify=False)


def _about(source: Source, attack: Attack, data: Dataset) -> dict[str, Any]:
    """What a set's request says of its data, its source and its attack."""
    described = attack_facts.described(attack)
    return {
        "dataset": data.name,
        "dataset_fingerprint": data.fingerprint,
        "source": source.name,
        "source_model": source.architecture,
        "source_sha256": source.sha256,
        **({"source_adapted": list(source.adapted)} if source.adapted else {}),
        **{key: described[key] for key in ("attack", "params", "norm")},
        **attack_facts.facts(attack),
    }


def _name(request: dict[str, Any], attack: Attack, eps_text: str | None) -> str:
    return adversarial_sets.set_name(
        request["source"],
        attack.name + "-targeted" * request["targeted"],
        eps_text,
        attack_facts.default_eps(attack),
        request["split"],
    )


def _targets(
    request: dict[str, Any], source: Source, images: Split, num_classes: int
) -> np.ndarray | None:
    """The class that each image is to reach, never its own; None if untargeted."""
    target = request["target"]
    if target is None:
        return None
    if target == "random":
        draw = [
            np.random.default_rng([request["seed"], i]).integers(1, num_classes)
            for i in images.index
        ]
        return (images.labels + draw) % num_classes
    if target == "least_likely":
        return scoring.least_likely(source.model, images.images, request["batch_size"])
    if not target.isdigit() or int(target) >= num_classes:
        raise ValueError(
            f"`target` must be random, least_likely or a class below {num_classes}. "
            f"Received: target={target}"
        )
    return np.full(len(images), int(target))
