"""Export a trained model as a SavedModel, with its evaluation beside it.

    bin/export --run=resnet50-ensemble
    bin/export --run=resnet50 --transforms=jpeg:quality=75,bit_depth:bits=3
    saved_model_cli show --dir=outputs/runs/resnet50-ensemble/saved_model --all

`serving_default` takes images float32 [None, height, width, channels] in [0, 1] and
returns logits, probabilities and class. evaluation.json holds the run's clean accuracy
and every record of the report on it.

--transforms puts input transformations in front of the run's model, as if it had been
trained without them. That is another model, of which nothing was measured: it goes to
saved_model-NAMES beside the run's own, and to a .keras file for adaptive attacks with
--model_path of make_adv and report.
"""

from absl.flags import FlagValues

from tf_advdefense.commands import flags as kinds
from tf_advdefense.commands.group import Group
from tf_advdefense.commands.loading import quietly


def define(values: FlagValues) -> None:
    """The flags, group by group."""
    model = Group(values, "Model")
    model.text("run", None, "Name of the run.")
    model.needed("run", "the name of a run is needed.")
    kinds.define_transforms(values)
    kinds.define_data_dir(Group(values, "Data, for patches of quilting"))
    output = kinds.define_output(values)
    output.text("to", None, "Directory; default: saved_model in the run's.")
    output.text("report_dir", None, "Default: OUTPUT_DIR/report, if there is one.")


def main(flags: FlagValues, command: str) -> None:
    """Writes the SavedModel and its evaluation."""
    with quietly():
        from tf_advdefense.commands.work.export import export
    export(flags)
