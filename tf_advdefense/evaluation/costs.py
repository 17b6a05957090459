"""What attacks on a model will take, said before they are run.

    cost = cost_of(model, [(make_attack("cw"), 128)], images, labels, num_classes=10)
    print(f"The attack takes {cost}.")        # about 2.9 min, at most 9.7 min

The bound is the time of a batch's passes times how many an attack makes at most. Most
attacks leave an image as soon as it is fooled, so that they take a hundredth of it on
one network and all of it on another: where the bound is long, PGD-10 on one batch tells
how many images are right, and how many of those an attack will have to work on.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.core.craft import estimate
from tf_advdefense.attacks.core.craft import time_passes
from tf_advdefense.attacks.core.model_fn import is_random
from tf_advdefense.evaluation.attack_facts import at_radius
from tf_advdefense.reporting import formats

Job = tuple[Attack, int]  # An attack, and on how many images.
_SHORT = 60.0  # Seconds for which nobody needs to know better.
_STEPS = 10


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds of attacks on a model.

    Attributes:
      likely: what they will take; None: not known better than `most`.
      most: what they take at most.
      timed: what was timed, in words.
    """

    likely: float | None
    most: float
    timed: str

    def __str__(self) -> str:
        """ "about 2.9 min, at most 9.7 min", or the bound alone."""
        most = f"at most {formats.seconds(self.most)}"
        if self.likely is None:
            return most
        return f"about {formats.seconds(self.likely)}, {most}"


def cost_of(
    model: Any,
    jobs: Sequence[Job],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    batch_size: int = 128,
    targeted: bool = False,
    seconds: tuple[float, float] | None = None,
) -> Cost:
    """Times a batch, and looks where the attacks may stop early.

    Args:
      model: from images in [0, 1] to logits, or a list of them.
      jobs: the attacks on it.
      images: uint8 or float `[n, height, width, channels]`, of which the first count.
      labels: int `[n]`.
      num_classes, batch_size: of the attacks.
      targeted: whether they are: then only the bound is known.
      seconds: of `time_passes`, if they are known.

    Raises:
      ValueError: in one line, for a model without the gradient that they need.
    """
    gradient = any(attack.needs_gradient for attack, _ in jobs)
    if seconds is None:
        seconds = time_passes(model, images, batch_size=batch_size, gradient=gradient)
    bounds = [
        estimate(
            attack,
            count,
            seconds,
            image_shape=images.shape[1:],
            num_classes=num_classes,
            batch_size=batch_size,
        )
        for attack, count in jobs
    ]
    name = "the input gradient" if gradient else "the forward pass"
    timed = f"{seconds[gradient]:.2f} s for {name} of a batch"
    most = sum(bounds)
    if most <= _SHORT or targeted or not gradient or is_random(model):
        return Cost(None, most, timed)
    look = Look(model, images[:batch_size], labels[:batch_size], batch_size)
    shares = [look.share(attack) for attack, _ in jobs]
    return Cost(float(np.dot(shares, bounds)), most, timed)


def total(costs: Sequence[Cost]) -> Cost:
    """Of several models."""
    most = sum(cost.most for cost in costs)
    if all(cost.likely is None for cost in costs):
        return Cost(None, most, "")
    likely = [c.most if c.likely is None else c.likely for c in costs]
    return Cost(sum(likely), most, "")


@dataclasses.dataclass(frozen=True)
class Look:
    """What one batch of images shows of how much of their passes attacks will take."""

    model: Any
    images: np.ndarray
    labels: np.ndarray
    batch_size: int
    seen: dict[Any, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def share(self, attack: Attack) -> float:
        """The share of its passes at most that an attack will take."""
        if attack.spent is None:
            return 1.0
        if attack.goal != "fixed-eps":  # It fools every image in the end.
            right, _ = self._outcome(None, 0.0)
            return share(attack.spent, right, 0.0)
        return share(attack.spent, *self._outcome(attack.norm, attack.eps))

    def _outcome(self, norm: float | None, eps: float) -> tuple[float, float]:
        """The shares of images that are right, clean and under PGD-10."""
        if (norm, eps) not in self.seen:
            attack = make_attack("fgsm", eps=0.0)  # Leaves all as they are.
            if eps:
                pgd = make_attack("pgd", norm=norm, nb_iter=_STEPS)
                attack = at_radius(pgd, eps)
            found = craft(
                self.model,
                attack,
                self.images,
                self.labels,
                batch_size=self.batch_size,
            )
            clean = found["clean_prediction"] == found["label"]
            still = clean & (found["prediction"] == found["label"])
            self.seen[norm, eps] = float(np.mean(clean)), float(np.mean(still))
        return self.seen[norm, eps]


def share(spent: float, right: float, left: float) -> float:
    """Of its passes at most, what an attack takes that stops image by image.

    Args:
      spent: the share that an image which it fools takes.
      right: the share of images that are right when clean; it leaves the others alone.
      left: the share that it does not fool, which take all of its passes.
    """
    return left + spent * max(0.0, right - left)
