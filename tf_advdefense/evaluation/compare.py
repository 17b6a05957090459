"""Several models under several attacks: measured, kept, and written as a report.

    compare({"mine": model, "robust": "robust.keras"}, data, attacks=["fgsm", "cw"])
    compare({run.name: run}, data, attacks=[("8/255", make_attack("pgd"))], sets=[adv])

Every model is scored clean, on every adversarial set (transfer), and attacked itself
(white-box). Each measurement is kept in OUTPUT_DIR/measurements as soon as it is taken,
and not taken again by any later comparison.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os
import pathlib
from typing import Any
from typing import TypeAlias

import keras

from tf_advdefense import reporting
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts.adversarial_sets import AdversarialSet
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.craft import estimate
from tf_advdefense.attacks.core.craft import time_passes
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation import attack_facts
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.classifiers import said
from tf_advdefense.evaluation.example_grids import example_grids
from tf_advdefense.evaluation.looks import Looks
from tf_advdefense.evaluation.measurements import Measurement
from tf_advdefense.evaluation.measurements import Progress
from tf_advdefense.evaluation.plan import plan
from tf_advdefense.evaluation.plan import searches
from tf_advdefense.evaluation.red_flags import red_flags
from tf_advdefense.evaluation.stale_sets import stale_sets
from tf_advdefense.evaluation.targets import ModelOrPath
from tf_advdefense.evaluation.targets import Target
from tf_advdefense.evaluation.targets import roles
from tf_advdefense.evaluation.targets import target_of_model
from tf_advdefense.evaluation.targets import target_of_run
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import summary

Compared: TypeAlias = ModelOrPath | runs.Run | Target
Chosen = str | Attack | tuple[str | None, Attack]
Say = Callable[[str], None]
Taken = tuple[records.Record, records.PerExample]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What was measured, as `records` describes it, and the report's files."""

    results: records.Results
    per_example: records.PerExample
    files: dict[str, Any]  # of `reporting.write_report`


def compare(
    models: Mapping[str, Compared],
    data: Dataset,
    attacks: Iterable[Chosen] = (),
    sets: Sequence[AdversarialSet] = (),
    *,
    output_dir: str | os.PathLike[str] = "outputs",
    report_dir: str | os.PathLike[str] | None = None,
    num_examples: int = 1000,
    num_costly: int = 128,
    batch_size: int = 128,
    seed: int = 0,
    note: str | None = None,
    command: str | None = None,
    progress: Callable[[str], Progress] | None = None,
    say: Say = print,
) -> Comparison:
    """Measures models side by side and writes a report.

    Args:
      models: name to a `keras.Model` from images in [0, 1] to logits, the path of a
        `.keras` file or SavedModel directory, a finished run, or a `Target`.
      data: the data set, of whose test images all numbers are.
      attacks: names, attacks, or pairs of a radius as it is to be written ("8/255";
        None without one) and an attack; each is run white-box on every model.
      sets: finished adversarial sets of test images. Those whose source has been
        trained again are left out, and named.
      output_dir: holds the stored measurements, in `measurements`.
      report_dir: where the report goes; OUTPUT_DIR/report by default.
      num_examples: first test images for white-box attacks.
      num_costly: the same for those of more than `plan.CHEAP` passes per image.
      batch_size: images per batch.
      seed: of the attacks' random draws.
      note: about the data, to stand beside every number.
      command: the command line that asks for it, for the report.
      progress: gives, for a measurement's title, a function that is called with the
        numbers of images done, of all, and of the fooled.
      say: called with a line about what is to be done and what it costs.

    Raises:
      ValueError: in one line, for a model that cannot be measured on `data`, a run of
        another data set, no model at all, or a set that is not of test images.
    """
    targets = _targets(models, data)
    for target in targets:
        for line in said(target.name, *target.adaptation):
            say(line)
    _check_sets(sets, data)
    stale = stale_sets(sets, targets, output_dir)
    sets = [each for each in sets if each.name not in stale]
    if stale:
        say(summary.left_out(stale))
    measurements = plan(
        targets,
        sets,
        [_with_text(each) for each in attacks],
        data,
        num_examples=num_examples,
        few=num_costly,
        batch_size=batch_size,
        seed=seed,
    )
    store = pathlib.Path(output_dir, "measurements")
    taken = _take(measurements, data, batch_size, store, progress, say)
    beside = searches(
        measurements,
        [record for record, _ in taken],
        data,
        few=num_costly,
        batch_size=batch_size,
        seed=seed,
    )
    for each in beside:
        say(f"Gradients vanish: {each.title}, which needs none, is run beside.")
    if beside:
        taken += _take(beside, data, batch_size, store, progress, say)
    per_example = {name: array for _, part in taken for name, array in part.items()}
    results = _results([record for record, _ in taken], targets, sets, data)
    results["dataset"]["note"] = note
    results["stale_sets"] = stale
    results["commands"] += [command] if command else []
    results["flags"] = red_flags(results, per_example, data)
    directory = pathlib.Path(report_dir or pathlib.Path(output_dir, "report"))
    records.save_results(directory, results, per_example)
    grids = example_grids(results, sets, data)
    files = reporting.write_report(directory, results, per_example, grids)
    return Comparison(results, per_example, files)


def is_of_test_images(adv_set: AdversarialSet, data: Dataset) -> bool:
    """Whether a set was made from the test images of this data set."""
    request = adv_set.config["request"]
    same = request["dataset_fingerprint"] == data.fingerprint
    return same and request["split"] == "test"


# === What is compared ===


def _targets(models: Mapping[str, Compared], data: Dataset) -> list[Target]:
    if not models:
        raise ValueError("A comparison needs a model. Received: `models` is empty.")
    return [_target(name, model, data) for name, model in models.items()]


def _target(name: str, model: Compared, data: Dataset) -> Target:
    if isinstance(model, Target):
        return dataclasses.replace(model, name=name)
    if isinstance(model, runs.Run):
        return dataclasses.replace(target_of_run(model, data), name=name)
    return target_of_model(name, model, data)


def _check_sets(sets: Sequence[AdversarialSet], data: Dataset) -> None:
    for adv_set in sets:
        if not is_of_test_images(adv_set, data):
            raise ValueError(
                f"`sets` takes sets of {data.name}'s test images. Received: "
                f"{adv_set.name}. Craft one with `make_set`."
            )


def _with_text(chosen: Chosen) -> tuple[str | None, Attack]:
    if isinstance(chosen, tuple):
        return chosen
    attack = attack_facts.made(chosen)
    return attack_facts.eps_text(attack), attack


# === Measuring ===


def _take(
    measurements: Sequence[Measurement],
    data: Dataset,
    batch_size: int,
    store: pathlib.Path,
    progress: Callable[[str], Progress] | None,
    say: Say,
) -> list[Taken]:
    """All of them, in their order: as they are stored, else taken and stored."""
    known = {m.key: records.stored(store, m.key) for m in measurements}
    taken = {key: found for key, found in known.items() if found is not None}
    todo = [m for m in measurements if m.key not in taken]
    targets = {m.target.name: m.target for m in todo}
    models = {name: target.load() for name, target in targets.items()}
    _announce(todo, models, data, batch_size, say)
    looks = Looks()
    for each in todo:
        shown = progress(each.title) if progress else None
        model = models[each.target.name]
        taken[each.key] = each.take(model, data, batch_size, shown, looks)
        records.store(store, *taken[each.key])
    return [taken[key] for key in known]


def _announce(
    todo: Sequence[Measurement],
    models: Mapping[str, keras.Model],
    data: Dataset,
    batch_size: int,
    say: Say,
) -> None:
    """Says what the white-box attacks cost at most, from one timed batch per model."""
    if not todo:
        say("Everything is measured already.")
        return
    attacked = [
        (m.target.name, m.attack, m.num_examples) for m in todo if m.attack is not None
    ]
    say(f"{len(todo)} measurements to take, {len(attacked)} of them white-box attacks.")
    total = 0.0
    for name in dict.fromkeys(name for name, *_ in attacked):
        own = [(attack, count) for target, attack, count in attacked if target == name]
        gradient = any(attack.needs_gradient for attack, _ in own)
        seconds = time_passes(
            models[name], data.test.images, batch_size=batch_size, gradient=gradient
        )
        most = sum(
            estimate(
                attack,
                count,
                seconds,
                image_shape=data.image_shape,
                num_classes=data.num_classes,
                batch_size=batch_size,
            )
            for attack, count in own
        )
        total += most
        say(
            f"  {name}: at most {formats.seconds(most)}, by {seconds[1]:.2f} s for "
            "the input gradient of a batch."
        )
    say(f"The attacks take at most {formats.seconds(total)}; what is finished is kept.")


# === Results ===


def _results(
    measured: list[records.Record],
    targets: Sequence[Target],
    sets: Sequence[AdversarialSet],
    data: Dataset,
) -> records.Results:
    """All of `records.Results` but its flags and what the caller adds."""
    sources = {s.config["request"]["source"] for s in sets}
    role = roles({t.name: t.fields for t in targets}, sources)
    models: Any = {
        t.name: {**t.fields, "role": role[t.name], "weights_sha256": t.sha256}
        for t in targets
    }
    commands = [t.command for t in targets] + [s.config["command"] for s in sets]
    return {
        "dataset": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "class_names": list(data.class_names),
            "num_test": len(data.test),
        },
        "models": models,
        "records": measured,
        "versions": runs.versions(),
        "commands": [each for each in commands if each],
    }
