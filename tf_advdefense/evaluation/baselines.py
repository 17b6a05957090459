"""A baseline: a model of a results file, its headline threat model and its attacks.

    baseline = read_baseline("reports/results.json", model="mine")
    baseline.threat, baseline.attacked, baseline.robust

A gate repeats the attacks on the model itself at the headline's radius, on the same
images; what else the file holds (transfer, other radii) is left aside, so that both
sides met the same. This module does without TensorFlow.
"""

from collections.abc import Sequence
import dataclasses
import os
import pathlib
from typing import Any

from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.statistics import correct_by_index
from tf_advdefense.evaluation.threat_models import ThreatModel
from tf_advdefense.evaluation.threat_models import robustness
from tf_advdefense.evaluation.threat_models import threat_models
from tf_advdefense.reporting import formats


@dataclasses.dataclass(frozen=True)
class Baseline:
    """One model as it was measured.

    Attributes:
      name: of the model.
      dataset: `Results`' entry: name, fingerprint, class_names.
      threat: the headline.
      attacked: the records of the attacks that are to be repeated.
      robust: whether each image is right under all of them, by its index.
      clean: the same of clean images.
      settings: "seed" and "batch_size" of the attacks; empty where not recorded.
    """

    name: str
    dataset: dict[str, Any]
    threat: ThreatModel
    attacked: tuple[Record, ...]
    robust: dict[int, bool]
    clean: dict[int, bool]
    settings: dict[str, int]

    def check_data(self, name: str, fingerprint: str) -> None:
        """Raises ValueError for images that are not the baseline's."""
        if fingerprint != self.dataset["fingerprint"]:
            raise ValueError(
                "A gate needs the baseline's data set, "
                f"{self.dataset['name']} {self.dataset['fingerprint'][:12]}. "
                f"Received: {name} {fingerprint[:12]}. Give the same `dataset`, "
                "`image_size` and `color`, or make another `baseline`."
            )


def read_baseline(path: str | os.PathLike[str], model: str | None = None) -> Baseline:
    """The baseline in a results file, or in the directory that holds it.

    Args:
      path: of `results.json`, beside which `per_example.npz` lies.
      model: its name; None where there is only one.

    Raises:
      FileNotFoundError, ValueError: in one line, as `records.load_results` and
        `baseline_of`.
    """
    return baseline_of(*records.load_results(results_directory(path)), model)


def results_directory(path: str | os.PathLike[str]) -> pathlib.Path:
    """The directory of a `results.json`, or the directory itself."""
    path = pathlib.Path(path)
    return path.parent if path.name == "results.json" else path


def baseline_of(
    results: Results, per_example: PerExample, model: str | None = None
) -> Baseline:
    """The baseline in results that are at hand.

    Raises:
      ValueError: in one line: several models and no name, an unknown one, or one that
        was not attacked itself under the headline threat model.
    """
    name = _model(list(results["models"]), model)
    threat = next(iter(threat_models(results)), None)
    attacked = [] if threat is None else _attacked(results, per_example, name, threat)
    clean = clean_of(results, per_example, name)
    if threat is None or not attacked or clean is None:
        under = "a threat model" if threat is None else formats.within(threat)
        raise ValueError(
            "`baseline` must hold clean accuracy and attacks on its model itself. "
            f"Received: results without those of {name} under {under}. Make them with "
            "`compare`."
        )
    aside: Any = {**results, "records": attacked}
    worst = robustness(aside, per_example, name, threat)
    assert worst is not None, "its records share images: they are its core"
    return Baseline(
        name,
        results["dataset"],
        threat,
        tuple(r for r in attacked if r["setting"] == "white-box"),
        worst.right,
        clean,
        dict(results.get("settings") or {}),
    )


def clean_of(
    results: Results, per_example: PerExample, name: str
) -> dict[int, bool] | None:
    """Whether each clean image is right, by its index; None where not measured."""
    for record in results["records"]:
        if record["target"] == name and record["attack"] == "clean":
            return correct_by_index(per_example, record["key"])
    return None


def _model(known: Sequence[str], asked: str | None) -> str:
    if asked is None and len(known) == 1:
        return known[0]
    if asked is None or asked not in known:
        received = "none" if asked is None else f"baseline_model={asked}"
        raise ValueError(
            f"`baseline_model` must be one of {', '.join(known)}. Received: {received}."
        )
    return asked


def _attacked(
    results: Results, per_example: PerExample, name: str, threat: ThreatModel
) -> list[Record]:
    """The untargeted attacks on the model itself at this very radius."""
    found = robustness(results, per_example, name, threat)
    keys = () if found is None else found.keys
    own = [
        record
        for record in results["records"]
        if record["key"] in keys
        and record["setting"] in ("white-box", "oblivious")
        and "target" not in record["params"]
    ]
    return own if any(r["setting"] == "white-box" for r in own) else []
