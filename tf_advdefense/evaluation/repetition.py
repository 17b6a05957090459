"""A baseline's attacks repeated on another model, and the gate's decision about it.

    result = gate("mine.keras", "baseline/results.json", max_drop=2, min_robust=40)
    assert result.passed, result.line

The attacks are rebuilt from the baseline's records, with every hyperparameter, seed and
batch size that it holds, and run on the same images.
"""

from collections.abc import Mapping
import functools
import os
from typing import Any

import keras
import numpy as np

from tf_advdefense import datasets
from tf_advdefense.artifacts import runs
from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets.arrays import from_arrays
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.baselines import Baseline
from tf_advdefense.evaluation.baselines import baseline_of
from tf_advdefense.evaluation.baselines import clean_of
from tf_advdefense.evaluation.baselines import read_baseline
from tf_advdefense.evaluation.gate import GateResult
from tf_advdefense.evaluation.gate import Limits
from tf_advdefense.evaluation.gate import decide
from tf_advdefense.evaluation.outcome import Evaluation
from tf_advdefense.evaluation.progress import progress
from tf_advdefense.evaluation.survey import Survey
from tf_advdefense.evaluation.survey import Surveyed
from tf_advdefense.evaluation.survey import survey
from tf_advdefense.evaluation.targets import Target
from tf_advdefense.evaluation.targets import model_name
from tf_advdefense.evaluation.targets import target_of_model
from tf_advdefense.evaluation.targets import target_of_run
from tf_advdefense.evaluation.threat_models import robustness
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import shown


def gate(
    model: Surveyed,
    baseline: str | os.PathLike[str] | Evaluation | Baseline,
    max_drop: float = 2.0,
    min_robust: float | None = None,
    *,
    max_clean_drop: float | None = None,
    images: Any = None,
    labels: Any = None,
    name: str | None = None,
    baseline_model: str | None = None,
    input_range: tuple[float, float] | None = None,
    preprocess: str | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    data_dir: str | None = None,
    verbose: bool = True,
) -> GateResult:
    """Whether a model is as robust as a baseline, with the error rates of the answer.

    Args:
      model: a `keras.Model`, the path of one, a finished run, or a `Target`.
      baseline: the path of a `results.json` beside its `per_example.npz`, an
        `Evaluation` of `evaluate`, or what `read_baseline` returns.
      max_drop: points of robust accuracy that it may lose, beyond chance.
      min_robust: the least robust accuracy in per cent; None asks for none.
      max_clean_drop: points of clean accuracy that it may lose, beyond chance.
      images, labels: as of `evaluate`, the baseline's; None takes the data set of its
        name.
      name: of the model; default: that of its file, or its own.
      baseline_model: its name in a file of several.
      input_range, preprocess: what the model takes; found out by default.
      batch_size, seed: of the attacks; default: the baseline's, or else 128 and 0.
      output_dir: measurements are kept there, and not taken again; None keeps nothing.
      data_dir: where TFDS finds a data set that is named.
      verbose: print what is done and decided, and show progress.

    Returns:
      A `GateResult`: passed, line, pair, rates.

    Raises:
      FileNotFoundError, ValueError: in one line, for other images than the baseline's,
        values out of range, or a model that cannot be measured on them.
    """
    limits = Limits(max_drop, min_robust, max_clean_drop)
    former = _baseline(baseline, baseline_model)
    data = _data(former, images, labels, data_dir)
    former.check_data(data.name, data.fingerprint)
    target = _target(model, name, data, input_range, preprocess)
    settings = {"batch_size": 128, "seed": 0, **former.settings}
    asked = {"batch_size": batch_size, "seed": seed}
    found = repeated(
        former,
        target,
        data,
        **settings | {k: v for k, v in asked.items() if v is not None},
        store=None if output_dir is None else records.store_of(output_dir),
        progress=progress if verbose else None,
        say=functools.partial(print, flush=True) if verbose else _silent,
    )
    result = judged(former, found, target.name, limits)
    if verbose:
        print("\n".join([*shown.warnings(result.flags), result.line]), flush=True)
    return result


def repeated(
    former: Baseline, target: Target, data: Dataset, **settings: Any
) -> Survey:
    """The baseline's attacks on a model, on as many images; `settings` of `survey`."""
    count = _count(former, data)
    return survey(
        {target.name: target},
        data,
        [(record["eps_text"], rebuilt(record)) for record in former.attacked],
        threats=[former.threat],
        num_examples=count,
        num_costly=count,
        **settings,
    )


def judged(former: Baseline, found: Survey, name: str, limits: Limits) -> GateResult:
    """The decision about a model that was measured under the baseline's attacks."""
    worst = robustness(found.results, found.per_example, name, former.threat)
    assert worst is not None, "the attacks were just run"
    clean = clean_of(found.results, found.per_example, name)
    return decide(
        former.robust,
        worst.right,
        limits,
        under=formats.within(former.threat),
        clean=(former.clean, clean or {}),
        flags=tuple(found.results["flags"]),
    )


def rebuilt(record: Mapping[str, Any]) -> Attack:
    """The attack of a record, from its name and hyperparameters as JSON has them.

    Raises:
      ValueError: in one line, for a name or hyperparameter that is not known today.
    """
    hyper: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in record["params"].items()
    }
    if hyper.get("norm") is not None:
        hyper["norm"] = float(hyper["norm"])
    return make_attack(record["attack"], **hyper)


def _baseline(given: Any, model: str | None) -> Baseline:
    if isinstance(given, Baseline):
        return given
    if isinstance(given, Evaluation):
        survey = given.survey
        return baseline_of(survey.results, survey.per_example, model or given.name)
    return read_baseline(given, model)


def _data(
    former: Baseline, images: Any, labels: Any, data_dir: str | None
) -> datasets.Dataset:
    if isinstance(images, Dataset):
        return images
    if images is None or isinstance(images, str):
        name = images or former.dataset["name"]
        return datasets.load(name, data_dir=data_dir, test_only=True)
    return from_arrays(images, labels, class_names=former.dataset["class_names"])


def _target(
    model: Any,
    name: str | None,
    data: Dataset,
    input_range: tuple[float, float] | None,
    preprocess: str | None,
) -> Target:
    if isinstance(model, Target):
        return model
    if isinstance(model, runs.Run):
        return target_of_run(model, data)
    own = model.name if isinstance(model, keras.Model) else model_name(model)
    return target_of_model(
        name or own, model, data, input_range=input_range, preprocess=preprocess
    )


def _count(former: Baseline, data: Dataset) -> int:
    """How many first test images hold all that the baseline was attacked on."""
    places = np.flatnonzero(np.isin(data.test.index, list(former.robust)))
    return int(places[-1]) + 1


def _silent(line: str) -> None:
    """Says nothing."""
