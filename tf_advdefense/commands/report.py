"""Compare trained models, clean and under attack, in one report.

    bin/report                                   # all runs, all test sets
    bin/report --runs=resnet50,resnet50-ensemble --attacks=pgd --eps=8/255
    bin/report --model_path=mine.keras --runs=   # a model from elsewhere, alone
    bin/report --model_path=mine.tflite --parent=mine.keras --runs=
    bin/report --threat=Linf:8/255,L2:0.5,L1:12  # AutoAttack in three balls
    bin/report --compare=old/results.json,new/results.json       # what changed

Scores every model on every adversarial set (transfer) and attacks each one itself
(white-box). Writes outputs/report: report.html, report.md, results.json,
per_example.npz, results.csv and figures/. Every measurement is kept in
outputs/measurements, too, and not taken again by any later report; where nothing has
changed at all, the report that is there is shown. --shard=i/n takes a share of the
measurements and writes no report; --workers=N has N processes do so. --compare
measures nothing: it pairs two result files by image and writes comparison.md and .json.
"""

from absl.flags import FlagValues

from tf_advdefense.commands import flags as kinds
from tf_advdefense.commands import sharing
from tf_advdefense.commands.group import Group
from tf_advdefense.commands.loading import quietly


def define(values: FlagValues) -> None:
    """The flags, group by group."""
    models = Group(values, "Models")
    models.value(
        "runs",
        None,
        "Runs to compare, * for any letters, zoo:NAME for networks that come with the "
        "package; default: all of the data set.",
        parse=kinds.words,
    )
    models.value(
        "model_path",
        [],
        "Models from elsewhere, too: .keras, .h5 or .tflite files, SavedModel "
        "directories.",
        parse=kinds.words,
    )
    models.text(
        "parent",
        None,
        "The float model that .tflite files of --model_path were made from: examples "
        "of attacks that need gradients are transferred from it.",
    )
    models.only_with("parent", "model_path")
    kinds.define_foreign(models, "parent")
    _define_attacks(values)
    kinds.define_data(values, may_fit=True)
    output = kinds.define_output(values)
    output.text("report_dir", None, "Default: OUTPUT_DIR/report.")
    output.value(
        "compare",
        None,
        "Two result files, OLD,NEW: what changed, image by image. Measures nothing.",
        parse=kinds.words,
    )
    output.text("note", None, "About the data, to stand beside every number.")
    output.switch("latex", False, "Write report.tex, its main tables, too.")
    sharing.define(values, "measurements")


def main(flags: FlagValues, command: str) -> None:
    """Takes what measurements are missing and writes the report, or compares two."""
    if flags.compare is not None:
        from tf_advdefense.commands.work.comparison import compare

        compare(flags)
        return
    from tf_advdefense.commands.work import current

    if not flags.shard and current.shown(flags):
        return
    if sharing.is_shared(flags):
        sharing.run_workers(flags, command)
    with quietly():
        from tf_advdefense.commands.work.report import report
    report(flags, command)


def _define_attacks(values: FlagValues) -> None:
    group = Group(values, "Attacks")
    group.value(
        "adv_data",
        None,
        "Test sets to score models on; default: all of the data set.",
        parse=kinds.words,
    )
    group.value(
        "threat",
        None,
        "What an attacker may change, the headline first, as Linf:8/255,L2:0.5,L1:12.",
        parse=kinds.threats,
    )
    group.value(
        "attacks",
        None,
        "On each model itself: quick, standard (AutoAttack), or names of `bin/list`, "
        "in every ball of --threat that they can work in; default: standard with "
        "--threat, fgsm,cw,sparse_l1 without.",
        parse=kinds.attacks,
    )
    group.value(
        "attack_args",
        "",
        "Hyperparameters for those of the attacks that have them: nb_iter=40, say.",
        parse=kinds.arguments,
    )
    group.value(
        "eps",
        ["1/255", "2/255", "4/255", "8/255"],
        "Radii of the Linf attacks without --threat.",
        parse=kinds.radii,
    )
    group.not_with("eps", "threat")
    group.whole(
        "num_examples", 1000, "First test images of white-box attacks.", at_least=1
    )
    group.whole(
        "num_costly",
        128,
        "The same for attacks of more than 150 passes.",
        at_least=1,
    )
    group.switch(
        "full",
        False,
        "All of --num_examples for costly attacks, too, and their full number of "
        "iterations.",
    )
