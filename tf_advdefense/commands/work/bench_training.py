"""Times a training step of each defence against what it cannot do without."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

from absl.flags import FlagValues
import keras
import tensorflow as tf

from tf_advdefense import defenses
from tf_advdefense.commands.work.timing import again
from tf_advdefense.commands.work.timing import bare_steps
from tf_advdefense.commands.work.timing import fit_steps
from tf_advdefense.commands.work.timing import in_turn
from tf_advdefense.commands.work.timing import input_gradient
from tf_advdefense.commands.work.timing import print_times
from tf_advdefense.defenses.defense import BoundDefense
from tf_advdefense.training import optimizers

_STEPS = 5  # Training steps in one timing.


class Needed(NamedTuple):
    """What a step cannot do without, each of a whole batch."""

    gradients: int = 0  # of the images
    forwards: int = 0
    steps: int = 1  # forward, backward and update

    def __str__(self) -> str:
        named = zip(self, ("gradients", "forwards", "steps"))
        return ", ".join(f"{number} {name}" for number, name in named if number)


# From the hyperparameters.
_NEEDED: dict[str, Callable[[dict[str, Any]], Needed]] = {
    "none": lambda hyper: Needed(),
    "adversarial": lambda hyper: Needed(),
    "ensemble": lambda hyper: Needed(),
    # Clean and adversarial images are seen; the gradient gives the labels, too.
    "ensemble_at": lambda hyper: Needed(1, 0, 2),
    "fgsm_at": lambda hyper: Needed(1, 0, 2),
    "pgd_at": lambda hyper: Needed(hyper["nb_iter"]),
    "trades": lambda hyper: Needed(hyper["nb_iter"], 0, 2),
    "mart": lambda hyper: Needed(hyper["nb_iter"], 0, 2),
    "fast_at": lambda hyper: Needed(1),
    "free_at": lambda hyper: Needed(steps=hyper["replays"]),
    # Which of the three examples is the worst, three forwards tell.
    "multi_norm": lambda hyper: Needed(
        sum(hyper[f"nb_iter_{norm}"] for norm in ("linf", "l2", "l1")), 3
    ),
    # The teacher's is a forward of its own.
    "rslad": lambda hyper: Needed(hyper["nb_iter"], 1, 2),
    "distillation": lambda hyper: Needed(0, 1),
}
# 150 gradients a step would be timed for minutes, and are like 9.
_CHEAPER = {"multi_norm": dict(nb_iter_linf=3, nb_iter_l2=3, nb_iter_l1=3)}


def time_training(
    flags: FlagValues, model: keras.Model, images: tf.Tensor, labels: tf.Tensor
) -> None:
    """A line per defence of --only: its steps, and what they are made of."""
    for name in flags.only or ():
        if name not in _NEEDED:
            raise ValueError(
                f"--training times {', '.join(_NEEDED)}. Received: --only={name}."
            )
    settings = optimizers.DEFAULTS.get(flags.model, optimizers.OTHER_MODELS)
    parts = (
        input_gradient(model, images, labels),
        tf.function(lambda: model(images, training=False), autograph=False),
        bare_steps(model, settings, images, labels, 1),
    )
    for name in flags.only or _NEEDED:
        defense = _made(name, model)
        needed = _NEEDED[name](defense.hyper)
        batches = again(_batch(defense, images, labels))
        step = fit_steps(model, settings, defense, batches, _STEPS)
        base, own = in_turn(flags.repeats, _floor(parts, needed), step)
        print_times(f"{_STEPS} x ({needed})", base)
        print_times(f"{_STEPS} steps of {name}", own, base)


def _floor(parts: tuple[Callable, ...], needed: Needed) -> Callable[[], None]:
    def floor() -> None:
        # As long as the steps: what else runs on the machine delays both alike.
        for _ in range(_STEPS):
            for part, number in zip(parts, needed):
                for _ in range(number):
                    part()

    return floor


def _made(name: str, model: keras.Model) -> BoundDefense:
    parts = {"teacher": model, "sources": [model]}
    needed = {part: parts[part] for part in defenses.needed_parts(name)}
    return defenses.make_defense(name, parts=needed, **_CHEAPER.get(name, {}))


def _batch(
    defense: BoundDefense, images: tf.Tensor, labels: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Half of it adversarial where sets are trained on."""
    if defense.kind.check_sources is None:
        return {"image": images, "label": labels}
    half = len(labels) // 2
    return {
        "image": images[:half],
        "label": labels[:half],
        "adv_image": images[half:],
        "adv_label": labels[half:],
    }
