"""Train a classifier, defended or not, and export it as a SavedModel.

    bin/train --model=resnet50
    bin/train --model=resnet50 --defense=adversarial --adv_data=resnet50-fgsm-train
    bin/train --model=resnet50 --defense=ensemble --adv_data=alexnet-fgsm-train
    bin/train --model=resnet50 --defense=ensemble_at --sources=alexnet,small_resnet
    bin/train --model=resnet50 --defense=pgd_at --eps=4/255 --defense_args=nb_iter=7
    bin/train --model=resnet50 --transforms=jpeg:quality=75,bit_depth:bits=3
    bin/train --model_path=mine.keras --defense=pgd_at --freeze='block1_*'
    bin/train --init_from=resnet50-fast_at --defense=pgd_at --name=resnet50-pgd_at

Writes outputs/runs/NAME: model.keras, saved_model/, history.csv, logs/ and
config.json, which says how it was made. Interrupt it at will: --resume goes on exactly.
"""

from absl.flags import FlagValues

from tf_advdefense.commands import flags as kinds
from tf_advdefense.commands import names
from tf_advdefense.commands.group import Group
from tf_advdefense.commands.loading import quietly


def define(values: FlagValues) -> None:
    """The flags, group by group."""
    _define_model(values)
    _define_training(values)
    _define_defense(values)
    _define_sets(values)
    kinds.define_transforms(values)
    _define_data(values)
    _define_machine(values)
    output = kinds.define_output(values)
    output.value(
        "name",
        None,
        "Of the run; default MODEL[-DEFENSE][-TRANSFORMS].",
        parse=kinds.name,
    )
    kinds.define_resumable(output)


def main(flags: FlagValues, command: str) -> None:
    """Trains the run that the flags describe; `command` is recorded in it."""
    given = [flags.model, flags.model_path, flags.init_from]
    if sum(each is not None for each in given) != 1:
        raise ValueError(
            "One of `model`, `model_path` and `init_from` says what is trained. "
            f"Received: {', '.join(filter(None, given)) or 'none'}. Known models: "
            f"{', '.join(names.MODELS)}, or keras:NAME."
        )
    with quietly():
        from tf_advdefense.commands.work.train import train
    train(flags, command)


def _define_model(values: FlagValues) -> None:
    known = f"{', '.join(names.MODELS)}, or keras:NAME"
    group = Group(values, "Model")
    group.value("model", None, f"{known} of keras.applications.", parse=names.model)
    group.value(
        "model_args", "", "Arguments of the model: width=16.", parse=kinds.arguments
    )
    group.text(
        "model_path",
        None,
        "A trained .keras or .h5 file instead, to go on from its weights.",
    )
    group.text("init_from", None, "A run instead, to go on from its weights.")
    kinds.define_foreign(group)
    group.value(
        "freeze",
        [],
        "Layers that are not trained, by name, * for any letters.",
        parse=kinds.words,
    )


def _define_training(values: FlagValues) -> None:
    group = Group(values, "Training (defaults are the model's, or the defence's)")
    group.whole("epochs", None, "Passes over train.", at_least=1, at_most=10**6)
    group.value("learning_rate", None, "Peak rate.", parse=kinds.number)
    group.choice("schedule", None, names.SCHEDULES, "Of the learning rate.")
    group.choice("optimizer", None, names.OPTIMIZERS, "What makes the steps.")
    group.value("weight_decay", None, "Coefficient.", parse=kinds.number)
    group.choice(
        "average",
        None,
        names.AVERAGES,
        "Of the weights, scored and kept instead of the last ones.",
    )
    group.value(
        "average_args", "", "Its hyperparameters: decay=0.99.", parse=kinds.arguments
    )
    group.value(
        "clip_norm", None, "Largest norm of a gradient: 1, say.", parse=kinds.number
    )
    group.value(
        "awp",
        0.0,
        "Adversarial weight perturbation, a share of each kernel's norm: 0.005.",
        parse=kinds.number,
    )
    group.whole(
        "train_examples", None, "Use only the first N training images.", at_least=1
    )


def _define_defense(values: FlagValues) -> None:
    group = Group(values, "Defence")
    group.value(
        "defense",
        "none",
        f"{', '.join(names.DEFENSES)}; `bin/list` explains each.",
        parse=names.defense,
    )
    group.value(
        "eps",
        None,
        "Radius of a defence that crafts, such as 8/255; default: as published for "
        "the data set.",
        parse=kinds.number,
    )
    group.value(
        "attack",
        None,
        "To craft with, for defences that take another; its hyperparameters go into "
        "--defense_args.",
        parse=names.attack,
    )
    group.value(
        "defense_args",
        "",
        "Hyperparameters of the defence and of its attack: nb_iter=7,eps_iter=2/255.",
        parse=kinds.arguments,
    )
    group.text(
        "teacher",
        None,
        "Of distillation and rslad: a run, a .keras file or a SavedModel, of the same "
        "data set.",
    )
    group.value(
        "sources",
        [],
        "Of ensemble_at: static models to craft on, runs, .keras files or SavedModels "
        "of the same data set.",
        parse=kinds.words,
    )
    group.choice(
        "craft_bn",
        None,
        names.CRAFT_BN,
        "BatchNorm while crafting: by its moving statistics (default) or the batch's, "
        "updating nothing.",
    )


def _define_sets(values: FlagValues) -> None:
    group = Group(values, "Adversarial sets, for the defences adversarial and ensemble")
    group.value("adv_data", [], "Names of the sets to train on.", parse=kinds.words)
    group.value(
        "adv_fraction",
        0.5,
        "Share of each batch that is adversarial (the paper's comment says one third).",
        parse=kinds.share,
    )
    group.switch("augment_adv", True, "Flip and crop the adversarial images.")
    for name in ("adv_fraction", "augment_adv"):
        group.only_with(name, "adv_data")


def _define_data(values: FlagValues) -> None:
    data = kinds.define_data(values, batch_size=None)
    data.switch("augment", True, "Flip and crop the clean images.")
    data.switch(
        "flip",
        None,
        "Flip at random; default: unless the data set is of characters.",
    )
    data.whole(
        "crop",
        None,
        "Pixels of padding that a random crop is taken from; default: a sixteenth of "
        "the side.",
        at_least=0,
    )
    data.value(
        "crop_area",
        None,
        "Or a part of the image, resized, of at least this share of its area: 0.08, "
        "say, as networks for ImageNet are trained.",
        parse=kinds.number,
    )
    data.not_with("crop_area", "crop")
    data.whole(
        "cutout", None, "Side of a square of grey in each image: 8, say.", at_least=1
    )
    data.value(
        "cutmix",
        None,
        "Share of the clean images that get a part of another and of its class: 0.5, "
        "say.",
        parse=kinds.number,
    )


def _define_machine(values: FlagValues) -> None:
    group = Group(values, "Machine (the defaults are right for a CPU)")
    group.choice(
        "distribute",
        "none",
        names.STRATEGIES,
        "Several GPUs: mirrored shares each batch out; --batch_size is of all.",
    )
    group.switch(
        "mixed_precision",
        False,
        "GPUs: compute in 16 bits; examples are crafted in float32 all the same.",
    )
    group.switch("jit_compile", False, "Compile with XLA; try it on GPUs.")
    group.whole(
        "steps_per_execution",
        1,
        "Steps in a call from Python; GPUs and small models: 10 or more.",
        at_least=1,
    )
    group.whole(
        "checkpoint_steps",
        1000,
        "Steps after which a long epoch has a checkpoint within it.",
        at_least=1,
    )
