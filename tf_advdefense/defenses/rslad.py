"""RSLAD (Zi et al. 2021, arXiv:2108.07969): a robust teacher's soft labels.

A small model learns what a robust one thinks of the clean images, on them and on their
adversarial neighbours, which are where it disagrees most. Hard labels are not used.
"""

import functools
from typing import Any
from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.defenses import losses
from tf_advdefense.defenses.crafting import climbed
from tf_advdefense.defenses.defense import Defense
from tf_advdefense.defenses.forward import both_passes


class Hyper(NamedTuple):
    """Zi et al. 2021 (arXiv:2108.07969), equations 4 to 6, for CIFAR-10.

    Attributes:
      eps: radius of the L-inf ball.
      eps_iter: length of a step.
      nb_iter: number of steps.
      craft_bn: BatchNorm while crafting, see `forward.crafting_model`.
      adv_weight: of the adversarial images in the loss, alpha in the paper.
      statistics: of BatchNorm, see `forward.both_passes`.
    """

    eps: float = 8 / 255
    eps_iter: float = 2 / 255
    nb_iter: int = 10
    craft_bn: str = "inference"
    adv_weight: float = 5 / 6
    statistics: str = "clean"


def away_from_the_teacher(
    model: Any, batch: dict[str, tf.Tensor], hyper: Hyper, *, teacher: Any
) -> dict[str, tf.Tensor]:
    """The batch with `adv_image`, and `teacher_logits` of its clean images."""
    logits = tf.stop_gradient(inference(teacher)(batch["image"]))
    far = functools.partial(losses.divergence, logits)
    adv = climbed(model, batch, hyper, loss=far)
    return {**batch, "adv_image": adv, "teacher_logits": logits}


def rslad_loss(
    model: Any, batch: dict[str, tf.Tensor], hyper: Hyper
) -> tuple[tf.Tensor, tf.Tensor]:
    """The divergence from the teacher, weighed over adversarial and clean images.

    Deviation: the authors' code takes the mean over the classes, too, not their sum,
    which is a tenth of this loss, to be had by a tenth of their learning rate.

    Args:
      model: `keras.Model` to logits.
      batch: {"image", "adv_image", "teacher_logits"}.

    Returns:
      (loss, a scalar; logits of the clean images, [n, classes]).
    """
    clean, adversarial = both_passes(
        model, batch["image"], batch["adv_image"], hyper.statistics
    )
    teacher, weight = batch["teacher_logits"], hyper.adv_weight
    found = weight * losses.divergence(teacher, adversarial)
    found += (1 - weight) * losses.divergence(teacher, clean)
    return losses.mean(found, batch.get("weight")), clean


rslad = Defense(
    name="rslad",
    hyper=Hyper(),
    loss=rslad_loss,
    craft=away_from_the_teacher,
    parts=("teacher",),
    published={"cifar10": dict(eps=8 / 255, eps_iter=2 / 255, nb_iter=10)},
)
