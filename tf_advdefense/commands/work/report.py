"""Compares what flags name: runs and models from elsewhere, attacks, sets."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import fnmatch
import functools
import pathlib
from typing import Any

from absl.flags import FlagValues

from tf_advdefense import distribution
from tf_advdefense import locks
from tf_advdefense import reporting
from tf_advdefense import zoo
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts import manifest
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts import saved_model
from tf_advdefense.artifacts.adversarial_sets import AdversarialSet
from tf_advdefense.artifacts.files import CONFIG
from tf_advdefense.artifacts.files import check_writable
from tf_advdefense.artifacts.files import remove_leftovers
from tf_advdefense.artifacts.runs import Run
from tf_advdefense.commands.work import current
from tf_advdefense.commands.work.data import dataset_of
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.batch_sizes import resolved
from tf_advdefense.evaluation.classifiers import loaded
from tf_advdefense.evaluation.evaluate import threat
from tf_advdefense.evaluation.parents import with_parent
from tf_advdefense.evaluation.progress import progress
from tf_advdefense.evaluation.suites import Chosen
from tf_advdefense.evaluation.suites import chosen
from tf_advdefense.evaluation.survey import is_of_test_images
from tf_advdefense.evaluation.survey import survey
from tf_advdefense.evaluation.survey import take_share
from tf_advdefense.evaluation.targets import Target
from tf_advdefense.evaluation.targets import model_name
from tf_advdefense.evaluation.targets import target_of_model
from tf_advdefense.evaluation.threat_models import ThreatModel
from tf_advdefense.reporting import model_card

# Without --threat: of each kind one, at a cost that two processors bear.
_DEFAULT = ["fgsm", "cw", "sparse_l1"]


def report(flags: FlagValues, command: str) -> None:
    """Measures, and writes the report to --report_dir, which no other process does.

    With --shard it takes a share of the measurements, and writes nothing else.
    """
    if flags.shard:
        _take_share(flags)
        return
    directory = current.directory_of(flags)
    check_writable(directory)  # Before anything is measured.
    reporting.check_place(directory)
    with locks.held(directory, parameter="report_dir"):
        _report(flags, command, directory)


def _report(flags: FlagValues, command: str, directory: pathlib.Path) -> None:
    request = current.request_of(flags)
    trained, given = _compared(flags)
    models, data, sets = (given[name] for name in ("models", "data", "sets"))
    found = survey(
        **given,
        threats=_threats(flags),
        groups=_groups(flags),
        note=flags.note,
        command=command,
    )
    remove_leftovers(directory)
    files = found.write(directory, latex=flags.latex)
    for run in models.values():
        if isinstance(run, Run) and not run.packaged:
            _write_card(run, (found.results, found.per_example))
    read = [each.directory / CONFIG for each in (*trained, *sets)]
    read += [data.directory, *flags.model_path, *filter(None, [flags.parent])]
    manifest.write(directory, request, read, _written(directory, files))
    tables = reporting.render_tables(found.results, found.per_example)
    print(f"\n{tables}\n\nReport: {files['html']}")


def _take_share(flags: FlagValues) -> None:
    take_share(flags.shard, **_compared(flags)[1])


def _compared(flags: FlagValues) -> tuple[list[Run], dict[str, Any]]:
    """The runs that are named, and what `survey` takes of the flags."""
    distribution.set_up()
    trained = _named_runs(flags)
    data = dataset_of(flags, trained, test_only=True)
    models = _models(flags, trained, data)
    return trained, {
        "models": models,
        "data": data,
        "attacks": _attacks(flags, _threats(flags), data),
        "sets": _sets(flags, data),
        **_settings(flags, models, data),
    }


def _settings(
    flags: FlagValues, models: dict[str, Any], data: Dataset
) -> dict[str, Any]:
    """How measurements are taken."""
    each = (m.load() if isinstance(m, Target) else loaded(m) for m in models.values())
    return {
        "store": records.store_of(flags.output_dir),
        "output_dir": flags.output_dir,
        "num_examples": flags.num_examples,
        "num_costly": flags.num_examples if flags.full else flags.num_costly,
        "batch_size": resolved(flags.batch_size, each, data.test.images.shape[1:]),
        "seed": flags.seed,
        "progress": progress,
        "say": functools.partial(print, flush=True),
    }


def _threats(flags: FlagValues) -> list[ThreatModel]:
    return [threat(norm, radius) for norm, radius in flags.threat or ()]


def _written(directory: pathlib.Path, files: dict[str, Any]) -> Iterator[pathlib.Path]:
    yield from (directory / name for name in ("results.json", "per_example.npz"))
    for path in files.values():
        yield from path if isinstance(path, list) else [path]


def _write_card(run: Run, measured: tuple[Any, Any]) -> None:
    """What was measured of a run, into its card and that of its export."""
    card = model_card.rendered(model_card.card(run.config, measured, name=run.name))
    saved_model.write_card(run.directory, card)
    if saved_model.exported_of_run(run.directory / "saved_model"):
        saved_model.write_card(run.directory / "saved_model", card)


def _attacks(
    flags: FlagValues, threats: Sequence[ThreatModel], data: Dataset
) -> list[Chosen]:
    """The attacks in the balls of --threat, or Linf ones at every --eps."""
    asked = flags.attacks
    if asked is None:
        asked = ["standard"] if threats else _DEFAULT
    if not asked:
        return []
    return chosen(
        asked,
        threats or [threat("Linf", eps) for eps in flags.eps],
        data.test.images,
        full=flags.full,
        arguments=flags.attack_args,
    )


def _models(flags: FlagValues, trained: list[Run], data: Dataset) -> dict[str, Any]:
    """Name to what is compared: the runs, and the models from elsewhere."""
    if flags.runs is None:  # those of the data set, of all there are
        same = data.fingerprint
        trained = [
            run
            for run in trained
            if run.config["request"]["dataset_fingerprint"] == same
        ]
    models: dict[str, Any] = {run.name: run for run in trained}
    for path in flags.model_path:
        name = model_name(path)
        if name in models:
            raise ValueError(
                "Models need names of their own. Received: "
                f"--model_path={path} beside another {name}. Copy it to another name."
            )
        # Refused before the sets are read, if it cannot be measured.
        models[name] = _elsewhere(flags, path, data)
    if flags.parent:
        models = with_parent(models, _elsewhere(flags, flags.parent, data))
    if not models:
        raise FileNotFoundError(
            f"No finished run of {data.name} in {flags.output_dir}. Train one with "
            "`train_run`, or give --model_path."
        )
    return models


def _elsewhere(flags: FlagValues, path: str, data: Dataset) -> Target:
    """The model of a path, which takes what flags say of it."""
    return target_of_model(
        model_name(path),
        pathlib.Path(path),
        data,
        input_range=flags.input_range,
        preprocess=flags.preprocess,
    )


def _named_runs(flags: FlagValues) -> list[Run]:
    """Those of --runs, or all there are."""
    names = runs.list_runs(flags.output_dir)
    load = functools.partial(runs.load_run, flags.output_dir)
    if flags.runs is None:
        return _readable(names, load)
    names = [name for each in flags.runs for name in _matching(each, names)]
    return [load(name) for name in dict.fromkeys(names)]


def _readable(names: Sequence[str], load: Callable[[str], Any]) -> list[Any]:
    """What can be loaded; of the rest, which nobody asked for, a line is said."""
    found, damaged = [], []
    for name in names:
        try:
            found.append(load(name))
        except (ValueError, OSError) as error:
            damaged.append(str(error).split(". ")[0].rstrip("."))
    if damaged:
        print(f"Left out, as it cannot be read: {'; '.join(damaged)}.", flush=True)
    return found


def _groups(flags: FlagValues) -> dict[str, list[str]]:
    """Each pattern of --runs and the several runs that it stands for."""
    names = runs.list_runs(flags.output_dir)
    patterns = [p for p in flags.runs or () if not p.startswith(zoo.PREFIX)]
    found = {each: _matching(each, names) for each in patterns}
    return {each: members for each, members in found.items() if len(members) > 1}


def _matching(pattern: str, names: Sequence[str]) -> list[str]:
    """The runs of a name, or of a pattern such as pgd_at-s* or zoo:*."""
    if pattern.startswith(zoo.PREFIX):
        names = [zoo.PREFIX + name for name in zoo.names()]
    return fnmatch.filter(names, pattern) or [pattern]


def _sets(flags: FlagValues, data: Dataset) -> list[AdversarialSet]:
    """The adversarial sets of test images, in the order of their names."""
    load = functools.partial(adversarial_sets.load_set, flags.output_dir)
    glance = functools.partial(load, verify=False)
    if flags.adv_data is None:
        found = _readable(adversarial_sets.list_sets(flags.output_dir), glance)
        usable = [s.name for s in found if is_of_test_images(s, data)]
        return _readable(usable, load)
    for each in map(glance, flags.adv_data):
        if not is_of_test_images(each, data):
            raise ValueError(
                f"--adv_data takes sets of {data.name}'s test images. Received: "
                f"{each.name}. Craft one with `make_set(split='test')`."
            )
    return [load(name) for name in flags.adv_data]
