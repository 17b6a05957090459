"""One adversarial set in the making: claimed, crafted shard by shard, finished.

crafting = Crafting(source, attack, data, images, targets, request, directory)
crafting.run(resume=True)       # whether the set is finished
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import pathlib
import time
from typing import Any

import numpy as np

from tf_advdefense import locks
from tf_advdefense.artifacts import adversarial_shards as shards
from tf_advdefense.artifacts import claims
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import identity
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts.claims import released_on_failure
from tf_advdefense.artifacts.former_formats import without_kind
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.core.craft import time_passes
from tf_advdefense.attacks.core.craft import trace
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.evaluation import diagnostics
from tf_advdefense.evaluation import scoring
from tf_advdefense.evaluation.costs import cost_of
from tf_advdefense.evaluation.progress import Progress
from tf_advdefense.evaluation.sources import Source
from tf_advdefense.images import as_float
from tf_advdefense.images import norms


@dataclasses.dataclass(frozen=True)
class Crafting:
    """A set and all that it is made of.

    Attributes:
      source: what is attacked.
      attack: how.
      data: the data set, for its classes and shape.
      images: those to be attacked.
      targets: int64 [n], the classes to reach; None for an untargeted attack.
      request: every setting that determines the set, JSON values.
      directory: where it lies; its name is the set's.
    """

    source: Source
    attack: Attack
    data: Dataset
    images: Split
    targets: np.ndarray | None
    request: dict[str, Any]
    directory: pathlib.Path

    def run(
        self,
        *,
        shard: tuple[int, int] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        command: str | None = None,
        progress: Callable[[str], Progress] | None = None,
        say: Callable[[str], None] = print,
    ) -> bool:
        """Crafts what is missing; returns whether the set is finished.

        Arguments and errors as of `crafted_sets.make_set`.
        """
        # Before anything is written: what the model does not stand is refused here.
        seconds = self._time_passes(overwrite)
        if overwrite and self.directory.exists():
            self._trace()
        # Whoever replaces what is there must be alone.
        shared = shard is not None and not overwrite
        with locks.held(self.directory, shared=shared) as lock:
            state = claims.claim(
                self.directory,
                self.request,
                overwrite=overwrite,
                resume=resume or shard is not None,
                convert=self._in_todays_terms,
            )
            if state == "finished":
                say(f"{self.directory} is finished: nothing to do.")
                return True
            started, todo = time.time(), self._missing(*(shard or (0, 1)))
            with released_on_failure(self.directory, state, "[!.]*.tfrecord-*"):
                say(self._announcement(todo, seconds))
                passes = [self._craft(i, progress) for i in todo]
            if self._missing():
                say(f"{self.directory}: these shards are done, others' are missing.")
                return False
            lock.alone()
            if not (self.directory / files.CONFIG).exists():  # Of a faster worker.
                # Where it was resumed or shared, nobody knows what all of it cost.
                whole = len(todo) == len(self._ranges)
                cost = {
                    **_mean_passes(passes if whole else []),
                    "seconds": round(time.time() - started) if whole else None,
                }
                say(self._outcome(self._finish(cost, command)))
        return True

    def _in_todays_terms(self, request: dict[str, Any]) -> dict[str, Any]:
        """A request that a former version wrote of such a set."""
        former = self.source.former_sha256
        names = {former: self.source.sha256} if former else {}
        return identity.renamed(without_kind(request), names)

    # === Shards ===

    @property
    def _ranges(self) -> list[tuple[int, int]]:
        return shards.shard_ranges(len(self.images), self.request["batch_size"])

    def _place(self, i: int) -> tuple[pathlib.Path, str, str, int, int]:
        """The first arguments of the functions of `adversarial_shards`."""
        name, split = self.directory.name, self.request["split"]
        return self.directory, name, split, i, len(self._ranges)

    def _missing(self, first: int = 0, step: int = 1) -> list[int]:
        """Of every `step`-th shard, from `first` on, those that are not there."""
        return [
            i
            for i in range(first, len(self._ranges), step)
            if not shards.shard_complete(*self._place(i))
        ]

    def _craft(
        self, i: int, progress: Callable[[str], Progress] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Writes one shard; returns the forward and backward passes of its images."""
        rows = slice(*self._ranges[i])
        title = f"{self.directory.name} shard {i + 1}/{len(self._ranges)}"
        examples = craft(
            self.source.model,
            self.attack,
            self.images.images[rows],
            self.images.labels[rows],
            self.images.index[rows],
            targets=None if self.targets is None else self.targets[rows],
            attack_labels=self.request["labels"],
            batch_size=self.request["batch_size"],
            seed=self.request["seed"],
            progress=progress(title) if progress else None,
        )
        passes = examples.pop("forwards"), examples.pop("backwards")
        if self.request["store"] != "float32":
            self._round(examples, self.images.images[rows])
        shards.write_shard(*self._place(i), examples, self.request["store"])
        return passes

    def _round(self, examples: dict[str, np.ndarray], clean: np.ndarray) -> None:
        """Replaces images by what the store keeps of them, and judges them anew."""
        images = shards.as_stored(examples["image"], self.request["store"])
        size = self.request["batch_size"]
        examples["image"] = images
        examples["prediction"] = scoring.classify(self.source.model, images, size)
        examples.update(norms(images, as_float(clean)))

    def _finish(self, cost: dict[str, Any], command: str | None) -> dict[str, Any]:
        directory, name, split, _, n = self._place(0)
        return shards.finish_set(
            directory,
            name,
            split,
            n,
            self.data.class_names,
            self.data.image_shape,
            self.request["store"],
            {
                "title": self.attack.title,
                **cost,
                "versions": runs.versions(),
                "git_commit": runs.git_commit(),
                "command": command,
            },
        )

    # === What is said ===

    def _trace(self) -> None:
        """Before a former set goes: what any part of the attack refuses is met here."""
        trace(
            self.source.model,
            self.attack,
            self.data.image_shape,
            targeted=self.targets is not None,
            batch_size=self.request["batch_size"],
        )

    def _time_passes(self, overwrite: bool) -> tuple[float, float]:
        """Seconds of a batch's passes; zeros for a finished set that is to stay."""
        if (self.directory / files.CONFIG).exists() and not overwrite:
            return 0.0, 0.0
        return time_passes(
            self.source.model,
            self.images.images,
            batch_size=self.request["batch_size"],
            gradient=self.attack.needs_gradient,
        )

    def _announcement(self, todo: Sequence[int], seconds: tuple[float, float]) -> str:
        count = sum(stop - start for start, stop in (self._ranges[i] for i in todo))
        shape, classes = self.data.image_shape, self.data.num_classes
        forwards, backwards = self.attack.cost(shape, classes)
        cost = cost_of(
            self.source.model,
            [(self.attack, count)],
            self.images.images,
            self.images.labels,
            num_classes=classes,
            batch_size=self.request["batch_size"],
            targeted=self.targets is not None,
            seconds=seconds,
        )
        return (
            f"Crafting {self.directory.name}: {count} images, at most {forwards} "
            f"forward and {backwards} backward passes each, {cost}."
        )

    def _outcome(self, config: dict[str, Any]) -> str:
        rate, lengths = config["success_rate"], config["mean_norms"] or {}
        share = "none" if rate is None else f"{100 * rate:.1f} %"
        means = "".join(f", mean {norm} {x:.4g}" for norm, x in lengths.items())
        total, right = len(self.images), config["clean_correct"]
        line = (
            f"{self.directory}: {total} images, {share} of the correctly classified "
            f"fooled{means}."
        )
        if diagnostics.is_at_chance(right, total, self.data.num_classes):
            line += (
                f"\nRed flag: accuracy at chance, {right} of {total} clean images: "
                f"{diagnostics.CHANCE}"
            )
        return line


def _mean_passes(
    passes: Sequence[tuple[np.ndarray, np.ndarray]],
) -> dict[str, float | None]:
    """Per image, of all shards; None where some were made by others."""
    names = ("forwards", "backwards")
    if not passes:
        return dict.fromkeys(names)
    return dict(zip(names, np.concatenate(passes, axis=1).mean(axis=1).tolist()))
