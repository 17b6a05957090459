"""What an evaluation found of one model: numbers, a table, a plot, a report.

    result = evaluate(model, images, labels)
    result.robust_accuracy.value, result.robust_accuracy.interval
    result.flags, result.table(), result.plot()
    result.save("report")

`evaluate` and `compare` make these objects; they hold results and per-example arrays
as `records` describes them.
"""

import dataclasses
import functools
from html import escape
import os
import pathlib
from typing import Any
from typing import NamedTuple

from matplotlib.figure import Figure

from tf_advdefense.evaluation.baselines import clean_of
from tf_advdefense.evaluation.records import Flag
from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.statistics import Pair
from tf_advdefense.evaluation.statistics import paired_masks
from tf_advdefense.evaluation.survey import Survey
from tf_advdefense.evaluation.threat_models import Robustness
from tf_advdefense.evaluation.threat_models import ThreatModel
from tf_advdefense.evaluation.threat_models import robustness
from tf_advdefense.evaluation.threat_models import threat_models
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import shown
from tf_advdefense.reporting import verdict
from tf_advdefense.reporting.plot import robustness_plot


class Share(NamedTuple):
    """A share of images that are right, its 95 % Wilson interval, and their number."""

    value: float
    interval: tuple[float, float]
    n: int

    def __str__(self) -> str:
        return (
            f"{formats.percent(self.value)} % ({formats.interval(self.interval)}, "
            f"n = {formats.count(self.n)})"
        )


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One model of a survey.

    Attributes:
      name: of the model.
      survey: all that was measured with it.
    """

    name: str
    survey: Survey

    @property
    def threat_models(self) -> list[ThreatModel]:
        """Those it was attacked under, the headline first."""
        return threat_models(self.survey.results)

    def under(self, threat: ThreatModel) -> Robustness | None:
        """Which images withstand a threat model; None where nothing was measured."""
        survey = self.survey
        return robustness(survey.results, survey.per_example, self.name, threat)

    @property
    def robust_accuracy(self) -> Share | None:
        """The worst case under the first threat model; None without any."""
        found = self.robust_accuracies
        return next(iter(found.values())) if found else None

    @property
    def robust_accuracies(self) -> dict[ThreatModel, Share]:
        """The worst case under each threat model."""
        each = {threat: self.under(threat) for threat in self.threat_models}
        return {
            threat: Share(found.accuracy, found.interval, found.num_examples)
            for threat, found in each.items()
            if found is not None
        }

    @property
    def clean_accuracy(self) -> Share:
        """Of all the images that were given."""
        clean = next(r for r in self.records if r["attack"] == "clean")
        low, high = clean["interval"]
        return Share(clean["accuracy"], (low, high), clean["num_examples"])

    @property
    def flags(self) -> list[Flag]:
        """Reasons to distrust a number; see docs/diagnostics.md."""
        return self.survey.results["flags"]

    @property
    def records(self) -> list[Record]:
        """Its measurements, `records.Record` each."""
        every = self.survey.results["records"]
        return [record for record in every if record["target"] == self.name]

    @property
    def per_example(self) -> PerExample:
        """The arrays of its measurements, by "KEY/NAME"; see `records`."""
        keys = {record["key"] for record in self.records}
        every = self.survey.per_example.items()
        return {name: a for name, a in every if name.rpartition("/")[0] in keys}

    def table(self) -> shown.Shown:
        """A row per measurement; prints as text, and as HTML in a notebook."""
        return shown.measurements(self.records)

    def plot(self) -> Figure:
        """Accuracy against the radius, in each norm that was attacked."""
        return robustness_plot(self.survey.results, self.survey.per_example)

    def save(self, directory: str | os.PathLike[str]) -> pathlib.Path:
        """Writes the report of `bin/report` there; returns the path of its page."""
        return self.survey.write(directory)["html"]

    def robustbench_json(self, **about: Any) -> dict[str, Any]:
        """The entry of RobustBench's leaderboard, whose keys never change.

        Args:
          **about: what only its author knows: link, authors, venue, additional_data.
        """
        model = self.survey.results["models"][self.name]
        threat = self.threat_models[0]
        found = self.under(threat)
        assert found is not None, "nothing was attacked within a radius"
        alone = {record["attack"] for record in self.records} == {"clean", "autoattack"}
        accuracy = f"{100 * found.accuracy:.2f}"
        return {
            "link": None,
            "name": self.name,
            "authors": None,
            "additional_data": None,
            "number_forward_passes": 1,
            "dataset": self.survey.results["dataset"]["name"],
            "venue": None,
            "architecture": model["model"],
            "eps": threat.eps_text,
            "clean_acc": f"{100 * found.clean_accuracy:.2f}",
            "reported": accuracy,
            "autoattack_acc": accuracy if alone else None,
            "unreliable": bool(self.flags),
            "footnote": (
                f"{found.num_examples} images; 95 % interval "
                f"{formats.interval(found.interval)} %."
            ),
            **about,
        }

    @functools.cached_property
    def verdict(self) -> str:
        """What was found, in a sentence or two."""
        return verdict.of_model(self.survey.results, self.survey.per_example, self.name)

    def __str__(self) -> str:
        return "\n".join([self.verdict, *shown.warnings(self.flags)])

    def __repr__(self) -> str:
        return f"<Evaluation of {self.name}: {self.verdict}>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.verdict)}</p>{self.table()._repr_html_()}"


class Difference(NamedTuple):
    """Two models on the same images: `pair` has the first's lead and an exact p."""

    first: str
    second: str
    threat: ThreatModel | None  # None: clean
    pair: Pair


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Several models of a survey, by name: `comparison["mine"].robust_accuracy`."""

    survey: Survey

    @property
    def evaluations(self) -> dict[str, Evaluation]:
        """Each model's."""
        return {n: Evaluation(n, self.survey) for n in self.survey.results["models"]}

    def __getitem__(self, name: str) -> Evaluation:
        return self.evaluations[name]

    @property
    def differences(self) -> list[Difference]:
        """Every two models, clean and under each threat model, paired by image."""
        names = list(self.evaluations)
        found = []
        for threat in (None, *threat_models(self.survey.results)):
            masks = {name: self._right(name, threat) for name in names}
            for i, first in enumerate(names):
                for second in names[i + 1 :]:
                    pair = paired_masks(masks[first], masks[second])
                    if pair is not None:
                        found.append(Difference(first, second, threat, pair))
        return found

    def _right(self, name: str, threat: ThreatModel | None) -> dict[int, bool]:
        """Whether each image is right, by its index."""
        survey = self.survey
        if threat is None:
            return clean_of(survey.results, survey.per_example, name) or {}
        robust = self[name].under(threat)
        return {} if robust is None else robust.right

    def table(self) -> shown.Shown:
        """The differences; prints as text, and as HTML in a notebook."""
        return shown.differences(self.differences)

    def plot(self) -> Figure:
        """Accuracy against the radius, in each norm that was attacked."""
        return robustness_plot(self.survey.results, self.survey.per_example)

    def save(self, directory: str | os.PathLike[str]) -> pathlib.Path:
        """Writes the report of `bin/report` there; returns the path of its page."""
        return self.survey.write(directory)["html"]

    def __str__(self) -> str:
        found = [each.verdict for each in self.evaluations.values()]
        flags = shown.warnings(self.survey.results["flags"])
        return "\n".join([*found, str(self.table()), *flags])
