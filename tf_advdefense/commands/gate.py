"""Fail where a model is less robust than a baseline, beyond chance.

    bin/report --runs= --model_path=old.keras --threat=Linf:8/255 --output_dir=old
    bin/gate --baseline=old/report/results.json --model_path=new.keras
    bin/gate --baseline=old/report/results.json --run=resnet50 --min_robust=40

Runs the attacks of the baseline's headline threat model, with their hyperparameters, on
the same images, and compares image by image. It fails if robust accuracy dropped by
more than --max_drop points and the drop is beyond chance (one-sided exact McNemar test,
5 %), or lies below --min_robust. The line it prints says how often such a gate fails
an equal model, and how often it misses a drop. Exit code 0 for a pass, 1 for a failure,
2 for wrong input. Measurements are kept in outputs/measurements and not taken again.
"""

from absl.flags import FlagValues

from tf_advdefense.commands import flags as kinds
from tf_advdefense.commands.group import Group
from tf_advdefense.commands.loading import quietly


def define(values: FlagValues) -> None:
    """The flags, group by group."""
    model = Group(values, "Model")
    model.text("model_path", None, "A .keras or .h5 file, or a SavedModel directory.")
    model.text("run", None, "Or the name of a run.")
    kinds.define_foreign(model)
    _define_gate(values)
    kinds.define_data(values)
    output = kinds.define_output(values)
    output.text("junit", None, "Write the criteria to this file, as JUnit's XML.")
    output.switch("github", False, "Print annotations for GitHub's workflows, too.")


def main(flags: FlagValues, command: str) -> int:
    """Measures and decides; returns the exit code."""
    with quietly():
        from tf_advdefense.commands.work.gate import gate
    return gate(flags)


def _define_gate(values: FlagValues) -> None:
    group = Group(values, "Gate")
    group.text("baseline", None, "The results.json of a report on the former model.")
    group.needed("baseline", "the results.json of a report is needed.")
    group.text("baseline_model", None, "Its name, where the file holds several.")
    group.value(
        "max_drop",
        2.0,
        "Points of robust accuracy that may be lost.",
        parse=kinds.number,
    )
    group.value(
        "min_robust",
        None,
        "The least robust accuracy, in per cent; default: none.",
        parse=kinds.number,
    )
    group.value(
        "max_clean_drop",
        None,
        "Points of clean accuracy that may be lost; default: any.",
        parse=kinds.number,
    )
