"""Takes the measurements that a report lacks, and writes it."""

import pathlib
from typing import Any

from absl.flags import FlagValues
import keras
import numpy as np

from tf_advdefense import datasets
from tf_advdefense import distribution
from tf_advdefense import reporting
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts import runs
from tf_advdefense.attacks.core import craft as engine
from tf_advdefense.commands.progress import duration
from tf_advdefense.commands.progress import progress
from tf_advdefense.commands.work import compared
from tf_advdefense.datasets import Dataset
from tf_advdefense.evaluation import diagnostics
from tf_advdefense.evaluation import measurements as comparison
from tf_advdefense.evaluation import records as results
from tf_advdefense.evaluation.measurements import Measurement
from tf_advdefense.evaluation.measurements import Target
from tf_advdefense.images import as_float

_GRID = 4  # Examples shown of each attack.


def report(flags: FlagValues, command: str) -> None:
    """Measures, and writes the report to --report_dir."""
    distribution.set_up()
    attacks = compared.chosen_attacks(flags)
    data = datasets.load(flags.dataset, flags.data_dir, flags.image_size)
    targets = compared.targets(flags, data)
    sets = compared.sets(flags, data)
    measurements = comparison.plan(
        targets,
        sets,
        attacks,
        data,
        num_examples=flags.num_examples,
        few=flags.num_examples if flags.full else flags.num_costly,
        batch_size=flags.batch_size,
        seed=flags.seed,
    )
    taken = _take(flags, measurements, data)
    final, per_example = _results(taken, targets, sets, data)
    final["dataset"]["note"] = flags.note
    final["commands"].append(command)
    directory = pathlib.Path(flags.report_dir or f"{flags.output_dir}/report")
    results.save_results(directory, final, per_example)
    written = reporting.write_report(
        directory, final, per_example, _examples(final, sets, data)
    )
    print(f"\n{reporting.render_tables(final)}\n\nReport: {written['html']}")


def _take(
    flags: FlagValues, measurements: list[Measurement], data: Dataset
) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """(record, arrays) of each measurement; what is missing is taken, and stored."""
    store = pathlib.Path(flags.output_dir, "measurements")
    taken = {m.key: results.stored(store, m.key) for m in measurements}
    todo = [m for m in measurements if taken[m.key] is None]
    paths = {m.target.name: m.target.path for m in todo}
    models = {name: runs.load_model(path) for name, path in paths.items()}
    _announce(todo, models, data, flags.batch_size)
    for measurement in todo:
        taken[measurement.key] = measurement.take(
            models[measurement.target.name],
            data,
            flags.batch_size,
            progress(measurement.title),
        )
        results.store(store, *taken[measurement.key])
    return list(taken.values())


def _announce(
    todo: list[Measurement],
    models: dict[str, keras.Model],
    data: Dataset,
    batch_size: int,
) -> None:
    """Say what the white-box attacks cost at most, from one timed batch per model."""
    if not todo:
        print("Everything is measured already.")
        return
    attacked = [m for m in todo if m.attack is not None]
    print(
        f"{len(todo)} measurements to take, {len(attacked)} of them white-box attacks.",
        flush=True,
    )
    total = 0.0
    for name in dict.fromkeys(m.target.name for m in attacked):
        own = [m for m in attacked if m.target.name == name]
        total += _cost(name, models[name], own, data, batch_size)
    print(
        f"The attacks take at most {duration(total)}; what is finished is kept.",
        flush=True,
    )


def _cost(
    name: str,
    model: keras.Model,
    attacked: list[Measurement],
    data: Dataset,
    batch_size: int,
) -> float:
    """The seconds that attacks on a model take at most, which are printed, too."""
    seconds = engine.time_passes(
        model,
        data.test.images,
        batch_size=batch_size,
        gradient=any(m.attack.function.gradient for m in attacked),
    )
    most = sum(
        engine.estimate(m.attack, m.num_examples, seconds, batch_size=batch_size)
        for m in attacked
    )
    print(
        f"  {name}: at most {duration(most)}, by {seconds[1]:.2f} s "
        "for the input gradient of a batch.",
        flush=True,
    )
    return most


def _results(
    taken: list[tuple[dict[str, Any], dict[str, np.ndarray]]],
    targets: list[Target],
    sets: list[Any],
    data: Dataset,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `results.save_results` takes, from the measurements of this report."""
    sources = {s.config["request"]["source"] for s in sets}
    role = comparison.roles({t.name: t.fields for t in targets}, sources)
    commands = [t.command for t in targets if t.command]
    final = {
        "dataset": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "class_names": list(data.class_names),
            "num_test": len(data.test),
        },
        "models": {
            t.name: {**t.fields, "role": role[t.name], "weights_sha256": t.sha256}
            for t in targets
        },
        "records": [record for record, _ in taken],
        "versions": runs.versions(),
        "commands": commands + [s.config["command"] for s in sets],
    }
    per_example = {name: a for _, arrays in taken for name, a in arrays.items()}
    final["flags"] = diagnostics.red_flags(final, per_example)
    return final, per_example


def _examples(
    final: dict[str, Any], sets: list[Any], data: Dataset
) -> list[dict[str, Any]]:
    """Image grids: a few correctly classified images of one set per attack."""

    def preference(adv_set: Any) -> tuple[bool, float]:
        request = adv_set.config["request"]
        role = final["models"].get(request["source"], {}).get("role")
        return role != "target", abs((request["params"].get("eps") or 0) - 8 / 255)

    chosen: dict[str, Any] = {}
    for adv_set in sorted(sets, key=preference):
        chosen.setdefault(adv_set.config["request"]["attack"], adv_set)
    return [_grid(chosen[attack], data) for attack in sorted(chosen)]


def _grid(adv_set: Any, data: Dataset) -> dict[str, Any]:
    request = adv_set.config["request"]
    arrays = adversarial_sets.read_arrays(adv_set)
    clean = comparison.clean_images(data, adv_set, arrays)
    shown = np.flatnonzero(arrays["label"] == arrays["clean_prediction"])[:_GRID]
    return {
        **{key: request[key] for key in ("attack", "eps_text", "source")},
        "clean": as_float(clean[shown]),
        "adversarial": arrays["image"][shown],
        **{
            key: arrays[key][shown]
            for key in ("label", "clean_prediction", "prediction")
        },
        "class_names": data.class_names,
    }
