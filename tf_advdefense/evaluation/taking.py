"""Takes the measurements of a survey that are not in its store yet.

taken = Taking(data, 128, store, progress, print).all_of(measurements)
record, arrays = taken[0]
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

import keras

from tf_advdefense.attacks.core.craft import time_passes
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets.stored import Stored
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.costs import cost_of
from tf_advdefense.evaluation.costs import total
from tf_advdefense.evaluation.last_crafted import LastCrafted
from tf_advdefense.evaluation.looks import Looks
from tf_advdefense.evaluation.measurements import Measurement
from tf_advdefense.evaluation.progress import Progress
from tf_advdefense.images import fitting
from tf_advdefense.reporting import formats

Say = Callable[[str], None]
Taken = tuple[records.Record, records.PerExample]


@dataclasses.dataclass(frozen=True)
class Taking:
    """Takes measurements that are not in the store, and keeps them there.

    Attributes:
      data, batch_size: what they are taken on, and how.
      store: a directory; None keeps nothing.
      progress: as `progress.progress`; None shows nothing.
      say: called with a line about what is to be done and what it costs.
    """

    data: Dataset
    batch_size: int
    store: records.Path | None
    progress: Callable[[str, int | None], Progress] | None
    say: Say

    def all_of(self, measurements: Sequence[Measurement]) -> list[Taken]:
        """All of them, in their order: as they are stored, else taken and stored."""
        taken = {m.key: found for m in measurements if (found := self._stored(m.key))}
        todo = _ordered([m for m in measurements if m.key not in taken], self.data)
        targets = {t.name: t for m in todo for t in (m.target, m.parent) if t}
        models = {name: target.load() for name, target in targets.items()}
        _announce(todo, models, self.data, self.batch_size, self.say)
        looks, crafting = Looks(), LastCrafted()
        for each in todo:
            found = each.take(
                models[each.target.name],
                self.data,
                self.batch_size,
                self._shown(each, taken),
                looks,
                models[each.parent.name] if each.parent else None,
                crafting,
            )
            taken[each.key] = found
            if self.store is not None:
                records.store(self.store, *found)
        return [taken[m.key] for m in measurements]

    def _shown(self, each: Measurement, taken: Mapping[str, Taken]) -> Progress | None:
        """What is told how far an attack is; of its model's clean images it knows."""
        if self.progress is None or each.attack is None:
            return None
        attacked = (each.parent or each.target).name
        clean = [
            arrays[f"{record['key']}/ok"]
            for record, arrays in taken.values()
            if record["target"] == attacked and record["attack"] == "clean"
        ]
        # Who overlooks the defence sees what its stand-in makes of the examples.
        known = clean and each.record["setting"] == "white-box"
        right = int(clean[0][: each.num_examples].sum()) if known else None
        return self.progress(each.title, right)

    def _stored(self, key: str) -> Taken | None:
        return None if self.store is None else records.stored(self.store, key)


def share_of(
    measurements: Sequence[Measurement], data: Dataset, index: int, number: int
) -> list[Measurement]:
    """What one of several processes takes: measurements on every `number`-th examples.

    The costliest come first, so that none is left when the others are done.

    Args:
      measurements: of all.
      data: that they are taken on.
      index: of the process, below `number`.
      number: of processes.
    """
    costs: dict[str, float] = {}
    for each in measurements:
        passes = 0.0
        if each.attack is not None:
            passes = max(each.attack.cost(data.image_shape, data.num_classes))
        costs.setdefault(each.examples_key, passes * each.num_examples)
    mine = sorted(costs, key=lambda key: -costs[key])[index::number]
    return [each for each in measurements if each.examples_key in mine]


def _ordered(todo: Sequence[Measurement], data: Dataset) -> list[Measurement]:
    """Those on the same examples, which are crafted once, one after the other.

    Clean images come first, unless they are many: an attack on the first ones has ended
    before all images of a large set are decoded.
    """
    last = isinstance(data.test.images, Stored)
    first: dict[str, int] = {}
    for i, each in enumerate(todo):
        first.setdefault(each.examples_key, i)
    return sorted(
        todo,
        key=lambda each: (last and each.attack is None, first[each.examples_key]),
    )


def _announce(
    todo: Sequence[Measurement],
    models: Mapping[str, keras.Model],
    data: Dataset,
    batch_size: int,
    say: Say,
) -> None:
    """Says what attacks and scoring cost, by one batch of each model attacked."""
    if not todo:
        say("Everything is measured already.")
        return
    crafted = {
        m.examples_key: ((m.parent or m.target).name, m.attack, m.num_examples)
        for m in todo
        if m.attack is not None
    }
    attacked = list(crafted.values())
    say(f"{len(todo)} measurements to take, {len(attacked)} of them white-box attacks.")
    images, costs, scoring = data.test.images, [], 0.0
    for name in dict.fromkeys(name for name, *_ in attacked):
        jobs = [(attack, count) for target, attack, count in attacked if target == name]
        gradient = any(attack.needs_gradient for attack, _ in jobs)
        seconds = time_passes(
            models[name], images, batch_size=batch_size, gradient=gradient
        )
        cost = cost_of(
            models[name],
            jobs,
            images,
            data.test.labels,
            num_classes=data.num_classes,
            batch_size=batch_size,
            seconds=seconds,
        )
        say(f"  {name}: {cost}, by {cost.timed}.")
        costs.append(cost)
        own = [each for each in todo if each.target.name == name]
        scoring += _scoring(own, seconds) / fitting(batch_size, len(images))
    beside = f", scoring about {formats.seconds(scoring)}" if costs else ""
    say(f"The attacks take {total(costs)}{beside}; what is finished is kept.")


def _scoring(
    measurements: Sequence[Measurement], seconds: tuple[float, float]
) -> float:
    """Seconds of the passes beside those of attacks, times the size of a batch.

    Clean images take one forward pass. Examples take five: their classes and those of
    their clean copies, the log odds of both, and those rounded to grey levels; and the
    look at a model's gradients two of each, once for an image.
    """
    forward, gradient = seconds
    looked = [
        m.num_examples
        for m in measurements
        if m.record["setting"] == "white-box" and m.record["access"] == "gradients"
    ]
    return sum(
        m.num_examples * (5 if m.attack else 1) for m in measurements
    ) * forward + max(looked, default=0) * 2 * (forward + gradient)
