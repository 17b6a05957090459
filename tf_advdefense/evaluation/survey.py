"""Several models under several attacks, measured and kept: what a report is made of.

    found = survey({"mine": model, "robust": run}, data, [("8/255", attack)], [adv])
    found.results["records"], found.per_example
    found.write("outputs/report")

Every model is scored clean, on every adversarial set (transfer), and attacked itself
(white-box). Each measurement is kept in the store as soon as it is taken, and not taken
again by any later survey.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os
from typing import Any
from typing import TypeAlias

from tf_advdefense import distribution
from tf_advdefense import reporting
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts.adversarial_sets import AdversarialSet
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.classifiers import said
from tf_advdefense.evaluation.example_grids import example_grids
from tf_advdefense.evaluation.measurements import Measurement
from tf_advdefense.evaluation.plan import plan
from tf_advdefense.evaluation.plan import searches
from tf_advdefense.evaluation.progress import Progress
from tf_advdefense.evaluation.red_flags import red_flags
from tf_advdefense.evaluation.reference import placements
from tf_advdefense.evaluation.stale_sets import stale_sets
from tf_advdefense.evaluation.taking import Say
from tf_advdefense.evaluation.taking import Taking
from tf_advdefense.evaluation.taking import share_of
from tf_advdefense.evaluation.targets import ModelOrPath
from tf_advdefense.evaluation.targets import Target
from tf_advdefense.evaluation.targets import roles
from tf_advdefense.evaluation.targets import target_of_model
from tf_advdefense.evaluation.targets import target_of_run
from tf_advdefense.evaluation.threat_models import ThreatModel
from tf_advdefense.reporting import summary
from tf_advdefense.reporting.deployed import agreement

Surveyed: TypeAlias = ModelOrPath | runs.Run | Target
# A radius as it is to be written, or None, and the attack.
Chosen: TypeAlias = tuple[str | None, Attack]


@dataclasses.dataclass(frozen=True)
class Survey:
    """What was measured, as `records` describes it, of which images."""

    results: records.Results
    per_example: records.PerExample
    data: Dataset
    sets: Sequence[AdversarialSet] = ()

    def write(self, directory: str | os.PathLike[str], **parts: Any) -> dict[str, Any]:
        """Results and report into a directory; returns `reporting.write_report`'s.

        Raises:
          FileExistsError: it holds files by the names of a report's, and no report.
        """
        reporting.check_place(directory)
        records.save_results(directory, self.results, self.per_example)
        grids = example_grids(self.results, self.sets, self.data)
        return reporting.write_report(
            directory, self.results, self.per_example, grids, **parts
        )


@distribution.full_float32()
def survey(
    models: Mapping[str, Surveyed],
    data: Dataset,
    attacks: Iterable[Chosen] = (),
    sets: Sequence[AdversarialSet] = (),
    *,
    threats: Sequence[ThreatModel] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    store: str | os.PathLike[str] | None = None,
    output_dir: str | os.PathLike[str] = "outputs",
    num_examples: int = 1000,
    num_costly: int = 128,
    batch_size: int = 128,
    seed: int = 0,
    note: str | None = None,
    command: str | None = None,
    progress: Callable[[str, int | None], Progress] | None = None,
    say: Say = print,
) -> Survey:
    """Measures models side by side.

    Args:
      models: name to a `keras.Model` from images in [0, 1] to logits, the path of a
        `.keras` file or SavedModel directory, a finished run, or a `Target`.
      data: the data set, of whose test images all numbers are.
      attacks: pairs of a radius as it is to be written ("8/255"; None without one) and
        an attack; each is run white-box on every model.
      sets: finished adversarial sets of test images. Those whose source has been
        trained again are left out, and named.
      threats: what was asked for, the headline first; none where only attacks were.
      groups: name to models that differ by their seed, of which a mean is wanted.
      store: a directory of measurements, to be read and added to; None keeps nothing.
      output_dir: where the runs that sets were made of are looked up.
      num_examples: first test images for white-box attacks.
      num_costly: the same for those of more than `plan.CHEAP` passes per image.
      batch_size: images per batch.
      seed: of the attacks' random draws.
      note: about the data, to stand beside every number.
      command: the command line that asks for it, for the report.
      progress: as `progress.progress`: from a measurement's title and the number of
        its images that are right when clean to a function that is told how far it is.
      say: called with a line about what is to be done and what it costs.

    Raises:
      ValueError: in one line, for a model that cannot be measured on `data`, a run of
        another data set, no model at all, or a set that is not of test images.
    """
    targets, sets, stale = _compared(models, data, sets, output_dir, say)
    settings = {"few": num_costly, "batch_size": batch_size, "seed": seed}
    planned = _planned(targets, sets, attacks, data, num_examples, settings)
    taking = Taking(data, batch_size, store, progress, say)
    taken = taking.all_of(planned)
    beside = searches(planned, [record for record, _ in taken], data, **settings)
    for each in beside:
        say(f"Gradients vanish: {each.title}, which needs none, is run beside.")
    if beside:
        taken += taking.all_of(beside)
    per_example = {name: array for _, part in taken for name, array in part.items()}
    results = _results([record for record, _ in taken], targets, sets, data)
    for line in agreement(results["records"]):
        say(line)
    results["dataset"]["note"] = note
    results["stale_sets"] = stale
    results["commands"] += [command] if command else []
    results["groups"] = {name: list(each) for name, each in (groups or {}).items()}
    results["threat_models"] = [threat.as_json() for threat in threats]
    results["settings"] = {"seed": seed, "batch_size": batch_size}
    results["reference"] = placements(results, per_example)
    results["flags"] = red_flags(results, per_example, data)
    return Survey(results, per_example, data, sets)


@distribution.full_float32()
def take_share(
    share: tuple[int, int],
    models: Mapping[str, Surveyed],
    data: Dataset,
    attacks: Iterable[Chosen] = (),
    sets: Sequence[AdversarialSet] = (),
    *,
    store: str | os.PathLike[str],
    output_dir: str | os.PathLike[str] = "outputs",
    num_examples: int = 1000,
    num_costly: int = 128,
    batch_size: int = 128,
    seed: int = 0,
    progress: Callable[[str, int | None], Progress] | None = None,
    say: Say = print,
) -> None:
    """Takes some of a survey's measurements into its store, as one of several does.

    Args:
      share: (i, n): every n-th of them, from the i-th on; see `taking.share_of`.
      models, data, attacks, sets, store, output_dir, num_examples, num_costly,
        batch_size, seed, progress, say: as of `survey`, which see for errors, too.
    """
    targets, sets, _ = _compared(models, data, sets, output_dir, say)
    settings = {"few": num_costly, "batch_size": batch_size, "seed": seed}
    planned = _planned(targets, sets, attacks, data, num_examples, settings)
    taking = Taking(data, batch_size, store, progress, say)
    taking.all_of(share_of(planned, data, *share))


def is_of_test_images(adv_set: AdversarialSet, data: Dataset) -> bool:
    """Whether a set was made from the test images of this data set."""
    request = adv_set.config["request"]
    same = request["dataset_fingerprint"] == data.fingerprint
    return same and request["split"] == "test"


# === What is compared ===


def _compared(
    models: Mapping[str, Surveyed],
    data: Dataset,
    sets: Sequence[AdversarialSet],
    output_dir: str | os.PathLike[str],
    say: Say,
) -> tuple[list[Target], list[AdversarialSet], dict[str, str]]:
    """The targets, the sets that still are of their source, and those that are not."""
    for line in said(data.name, data.notes, ()):
        say(line)
    targets = _targets(models, data)
    for target in targets:
        for line in said(target.name, *target.adaptation):
            say(line)
    _check_sets(sets, data)
    stale = stale_sets(sets, targets, output_dir)
    if stale:
        say(summary.left_out(stale))
    return targets, [each for each in sets if each.name not in stale], stale


def _planned(
    targets: Sequence[Target],
    sets: Sequence[AdversarialSet],
    attacks: Iterable[Chosen],
    data: Dataset,
    num_examples: int,
    settings: dict[str, int],
) -> list[Measurement]:
    """Each measurement once."""
    planned = plan(
        targets, sets, list(attacks), data, num_examples=num_examples, **settings
    )
    return list({each.key: each for each in planned}.values())


def _targets(models: Mapping[str, Surveyed], data: Dataset) -> list[Target]:
    if not models:
        raise ValueError("A comparison needs a model. Received: `models` is empty.")
    return [_target(name, model, data) for name, model in models.items()]


def _target(name: str, model: Surveyed, data: Dataset) -> Target:
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
