"""Fast adversarial training (Wong et al. 2020, arXiv:2001.03994).

A single step from a random start costs two gradients and is as good as PGD, as long as
training ends before catastrophic overfitting, on which `max_drop` keeps watch.
"""

from typing import Any
from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core import balls
from tf_advdefense.defenses import fgsm_at
from tf_advdefense.defenses.crafting import draw_keys
from tf_advdefense.defenses.defense import Defense
from tf_advdefense.defenses.forward import crafting_model


class Hyper(NamedTuple):
    """Wong et al. 2020 (arXiv:2001.03994), algorithm 3.

    Attributes:
      eps: radius of the L-inf ball.
      eps_iter: length of the step, published as 1.25 eps.
      craft_bn, adv_weight, statistics, label_smoothing: as of `fgsm_at`.
    """

    eps: float = 8 / 255
    eps_iter: float = 10 / 255
    craft_bn: str = "inference"
    adv_weight: float = 1.0
    statistics: str = "joint"
    label_smoothing: float = 0.0
    later = ("label_smoothing",)


def random_step(
    model: Any, batch: dict[str, tf.Tensor], hyper: Hyper
) -> dict[str, tf.Tensor]:
    """The batch with FGSM examples from a random start.

    A uniform draw from the L-inf ball of radius eps, a step of `eps_iter`, which may
    be longer than eps, and the projection onto the ball and the box.
    """
    x, eps = batch["image"], hyper.eps
    start = eps * balls.random_ball(draw_keys(batch), 0, x.shape[1:], float("inf"))
    adv = make_attack("fgsm", eps=hyper.eps_iter)(
        crafting_model(model, hyper.craft_bn),
        tf.clip_by_value(x + start, 0.0, 1.0),
        batch["label"],
    )
    adv = tf.clip_by_value(x + tf.clip_by_value(adv - x, -eps, eps), 0.0, 1.0)
    return {**batch, "adv_image": adv, "adv_label": batch["label"]}


fast_at = Defense(
    name="fast_at",
    hyper=Hyper(),
    loss=fgsm_at.loss,
    craft=random_step,
    published={
        "cifar10": dict(eps=8 / 255, eps_iter=10 / 255),
        "mnist": dict(eps=0.3, eps_iter=0.375),
    },
    training=dict(
        optimizer="sgd",
        learning_rate=0.2,
        weight_decay=5e-4,
        schedule="cyclic",
        epochs=15,
    ),
    max_drop=0.2,
)
