"""Craft adversarial examples on a trained model and keep them as a TFDS data set.

    bin/make_adv --attack=cw                                # on resnet50
    bin/make_adv --attack=fgsm --eps=2/255,8/255            # a set each
    bin/make_adv --attack=fgsm --run=alexnet --split=train  # for training
    bin/make_adv --attack=pgd --model_path=mine.keras --attack_args=nb_iter=40
    bin/make_adv --attack=mim --run=resnet50,alexnet        # on both, to transfer

Writes outputs/adv/SOURCE-ATTACK-SPLIT. Interrupt it at will: --resume goes on with the
next shard. Functions keep CleverHans' defaults; here cw runs 5 x 200 iterations and
test sets hold 512 images, because the defaults on 10,000 would take days on a CPU.
"""

from absl.flags import FlagValues

from tf_advdefense.commands import flags as kinds
from tf_advdefense.commands import names
from tf_advdefense.commands import sharing
from tf_advdefense.commands.group import Group
from tf_advdefense.commands.loading import quietly


def define(values: FlagValues) -> None:
    """The flags, group by group."""
    _define_attack(values)
    _define_model(values)
    _define_images(values)
    kinds.define_data(values, may_fit=True)
    output = kinds.define_output(values)
    output.value(
        "name",
        None,
        "Of the set; default SOURCE-ATTACK[-epsEPS]-SPLIT.",
        parse=kinds.name,
    )
    output.choice(
        "store",
        "float32",
        names.STORES,
        "uint8 rounds to grey levels and judges success after rounding.",
    )
    kinds.define_resumable(output)
    sharing.define(values, "shards")


def main(flags: FlagValues, command: str) -> None:
    """Makes a set for each radius; `command` is recorded in them."""
    if flags.name and len(flags.eps) > 1:
        raise ValueError("--name takes one set. Received: several --eps.")
    if flags.targeted and flags.labels is not None:
        raise ValueError(
            "--labels are those that an untargeted attack leaves. Received: "
            f"--labels={flags.labels} beside --targeted. Leave one of them out."
        )
    if flags.eps and "eps" in flags.attack_args:
        raise ValueError(
            "A radius is given once. Received: --eps beside --attack_args=eps. Leave "
            "one of them out."
        )
    if sharing.is_shared(flags):
        sharing.run_workers(flags, command, ("shard", "overwrite"))
        return
    with quietly():
        from tf_advdefense.commands.work.make_adv import make_sets
    make_sets(flags, command)


def _define_attack(values: FlagValues) -> None:
    known = ", ".join(names.ATTACKS)
    group = Group(values, "Attack")
    group.value(
        "attack",
        None,
        f"{known}; `bin/list` tells what each is and costs.",
        parse=names.attack,
    )
    group.needed("attack", f"an attack is needed. Known: {known}.")
    group.value(
        "eps", [], "Radii, a set each; default: the attack's.", parse=kinds.radii
    )
    group.value(
        "attack_args",
        "",
        "Its hyperparameters: nb_iter=40,norm=2.",
        parse=kinds.arguments,
    )
    group.switch("targeted", False, "Reach a class instead of leaving one.")
    group.text(
        "target", "random", "With --targeted: random, least_likely or a class index."
    )
    group.only_with("target", "targeted")
    group.choice(
        "labels",
        None,
        ("true", "predicted"),
        "Labels to leave; default true, on train predicted (against label leaking).",
    )


def _define_model(values: FlagValues) -> None:
    group = Group(values, "Model")
    group.value(
        "run",
        ["resnet50"],
        "Name of the source run; of several, A,B, the mean of their losses is "
        "attacked.",
        parse=kinds.some_words,
    )
    group.text(
        "model_path",
        None,
        "A .keras, .h5 or .tflite file or SavedModel directory instead of a run.",
    )
    group.not_with("run", "model_path")
    kinds.define_foreign(group)


def _define_images(values: FlagValues) -> None:
    group = Group(values, "Images")
    group.choice("split", "test", ("train", "validation", "test"), "To attack.")
    group.whole(
        "num_examples",
        None,
        "First N images; default 512, of train those that the run was trained on.",
        at_least=1,
    )
