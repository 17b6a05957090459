"""Adversarial training with projected gradient descent on the current weights."""

from typing import NamedTuple

from tf_advdefense.defenses import fgsm_at
from tf_advdefense.defenses.defense import Defense


class Hyper(NamedTuple):
    """Madry et al. 2018 (arXiv:1706.06083), equation 2.1: adversarial images alone.

    Attributes:
      labels, craft_bn, adv_weight, statistics, label_smoothing: as of `fgsm_at`.
    """

    labels: str = "true"
    craft_bn: str = "inference"
    adv_weight: float = 1.0
    statistics: str = "joint"
    label_smoothing: float = 0.0
    later = ("label_smoothing",)


pgd_at = Defense(
    name="pgd_at",
    hyper=Hyper(),
    loss=fgsm_at.loss,
    craft=fgsm_at.craft,
    attack="pgd",
    published={
        "cifar10": dict(eps=8 / 255, eps_iter=2 / 255, nb_iter=10, rand_init=True),
        "mnist": dict(eps=0.3, eps_iter=0.01, nb_iter=40, rand_init=True),
    },
)
