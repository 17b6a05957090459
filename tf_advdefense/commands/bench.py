"""Time the hot paths against the arithmetic that they cannot do without.

    bin/bench                              # small_resnet, batch 128, this machine
    bin/bench --model=resnet50
    bin/bench --model_path=mine.keras
    bin/bench --training                   # adversarial training on the fly
    bin/bench --streaming                  # images in memory, and on the disk
    bin/bench --attacks --model_path=mine.keras      # on test images of --dataset

Prints the training step under `fit` as a ratio to the same model's bare compiled
forward + backward + update, PGD-20 as a ratio to 20 compiled input gradients, and the
seconds of each. Both sides of a ratio are timed in turn, and the median of the ratios
pair by pair is printed: it holds when the machine's speed drifts.

With --training it prints the training step of each defence of --only under `fit`, as a
ratio to the input gradients, forward passes and bare steps that it cannot do without:
of pgd_at with k steps, k gradients and one bare step; of trades, which sees each image
twice, two.

With --streaming it prints training steps on images of --dataset that are decoded where
they are needed as a ratio to steps on images in memory, with all that goes before a
step: reading, shuffling, flips and crops.

With --attacks it prints how long each attack of --only takes on one batch of test
images, in compiled input gradients of that batch (timed before and after it; cheap
attacks several times, of which the medians are printed), with the share of the
correctly classified that it fools, their mean norm, and its passes per image. Budgets
are those of make_adv. Run it while nothing else runs.
"""

from absl.flags import FlagValues

from tf_advdefense.commands import flags as kinds
from tf_advdefense.commands import names
from tf_advdefense.commands.group import Group
from tf_advdefense.commands.loading import quietly


def define(values: FlagValues) -> None:
    """The flags, group by group."""
    model = Group(values, "Model")
    model.value(
        "model",
        "small_resnet",
        f"{', '.join(names.MODELS)}, or keras:NAME, at 32x32x3 and 10 classes.",
        parse=names.model,
    )
    model.text("run", None, "A trained run instead.")
    model.text("model_path", None, "A .keras file or SavedModel instead.")
    timed = Group(values, "What is timed")
    timed.switch("attacks", False, "Time attacks on real images instead.")
    timed.switch("training", False, "Time defended training steps instead.")
    timed.switch("streaming", False, "Time steps on images from the disk instead.")
    timed.value(
        "only",
        None,
        "The attacks that --attacks, or the defences that --training times.",
        parse=kinds.words,
    )
    timed.whole("repeats", 9, "Timings of each.", at_least=1)
    kinds.define_data(values)
    kinds.define_output(values)


def main(flags: FlagValues, command: str) -> None:
    """Prints the times."""
    if flags.attacks and not (flags.model_path or flags.run):
        raise ValueError(
            "--attacks times attacks on a trained model. Received: none. "
            "Give --run=NAME or --model_path=mine.keras."
        )
    if flags.attacks:
        for name in flags.only or ():
            names.attack(name)
    with quietly():
        from tf_advdefense.commands.work.bench import bench
    bench(flags)
