"""Adversarial training with a single step on the current weights."""

from typing import Any
from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.defenses import losses
from tf_advdefense.defenses.crafting import against_current
from tf_advdefense.defenses.defense import Defense
from tf_advdefense.defenses.robust_accuracy import under_its_attack


class Hyper(NamedTuple):
    """Goodfellow et al. 2015 (arXiv:1412.6572), section 6.

    Deviation: the attack leaves the model's own predictions, after Kurakin et al. 2017
    (arXiv:1611.01236), section 4.2, and not the labels, which a single step gives away.

    Attributes:
      labels: that the attack leaves, "true" or "predicted"; see
        `crafting.against_current`.
      craft_bn: BatchNorm while crafting, see `forward.crafting_model`.
      adv_weight: in (0, 1], of the adversarial images in the loss.
      statistics: of BatchNorm, see `forward.both_passes`.
      label_smoothing: in [0, 1], see `losses.cross_entropy`; Pang et al. 2021
        (arXiv:2010.00467), section 3.5, find some of it to help against PGD.
    """

    labels: str = "predicted"
    craft_bn: str = "inference"
    adv_weight: float = 0.5
    statistics: str = "joint"
    label_smoothing: float = 0.0
    later = ("label_smoothing",)


def craft(
    model: Any, batch: dict[str, tf.Tensor], hyper: Any, *, attack: Any
) -> dict[str, tf.Tensor]:
    """The batch with an adversarial copy of each image."""
    return against_current(model, batch, attack, hyper.labels, hyper.craft_bn)


def loss(
    model: Any,
    batch: dict[str, tf.Tensor],
    hyper: Any,
    *,
    criterion: losses.Criterion | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Of clean and adversarial images, weighed: see `losses.adversarial`."""
    criterion = losses.smoothed(criterion, hyper.label_smoothing)
    return losses.adversarial(
        model, batch, hyper.adv_weight, hyper.statistics, criterion
    )


fgsm_at = Defense(
    name="fgsm_at",
    hyper=Hyper(),
    loss=loss,
    craft=craft,
    attack="fgsm",
    published={"cifar10": {"eps": 8 / 255}, "mnist": {"eps": 0.25}},
    score=under_its_attack,
)
