"""MART (Wang et al. 2020, ICLR): images that are misclassified count for more.

The adversarial loss also presses down the strongest wrong class, and the divergence of
the predictions weighs by how little the model trusts the label of the clean image.
"""

from typing import Any
from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.defenses import losses
from tf_advdefense.defenses.crafting import climbed
from tf_advdefense.defenses.defense import Defense
from tf_advdefense.defenses.forward import both_passes

# Of the authors' code, so that no logarithm is infinite and no weight is zero.
_ABOVE_ONE, _HAIR = 1.0001, 1e-7


class Hyper(NamedTuple):
    """Wang et al. 2020 (ICLR, openreview.net/forum?id=rklOg6EFwS), equations 9 to 11.

    The values are those of the authors' code for a ResNet-18 on CIFAR-10.

    Attributes:
      eps: radius of the L-inf ball.
      eps_iter: length of a step.
      nb_iter: number of steps.
      craft_bn: BatchNorm while crafting, see `forward.crafting_model`.
      beta: the weight of the divergence, lambda in the paper.
      statistics: of BatchNorm, see `forward.both_passes`.
    """

    eps: float = 0.031
    eps_iter: float = 0.007
    nb_iter: int = 10
    craft_bn: str = "inference"
    beta: float = 5.0
    statistics: str = "clean"


def away_from_the_label(
    model: Any, batch: dict[str, tf.Tensor], hyper: Hyper
) -> dict[str, tf.Tensor]:
    """The batch with `adv_image`: steps up the cross-entropy of the label."""

    def loss(logits):
        return losses.cross_entropy(batch["label"], logits)

    return {**batch, "adv_image": climbed(model, batch, hyper, loss=loss)}


def mart_loss(
    model: Any, batch: dict[str, tf.Tensor], hyper: Hyper
) -> tuple[tf.Tensor, tf.Tensor]:
    """The boosted cross-entropy plus beta times the weighed divergence.

    The gradient flows through both predictions, and through the weights. Deviation: as
    in `trades.trades_loss`, one pass moves BatchNorm's statistics.

    Args:
      model: `keras.Model` to logits.
      batch: {"image", "label", "adv_image"}.

    Returns:
      (loss, a scalar; logits of the clean images, [n, classes]).
    """
    clean, adversarial = both_passes(
        model, batch["image"], batch["adv_image"], hyper.statistics
    )
    label = tf.one_hot(batch["label"], clean.shape[-1])
    boosted = tf.nn.softmax_cross_entropy_with_logits(label, adversarial)
    strongest = tf.reduce_max(tf.nn.softmax(adversarial) * (1 - label), axis=-1)
    boosted -= tf.math.log(_ABOVE_ONE - strongest)
    trusted = tf.reduce_sum(tf.nn.softmax(clean) * label, axis=-1)
    weighed = losses.divergence(clean, adversarial) * (1 + _HAIR - trusted)
    loss = losses.mean(boosted + hyper.beta * weighed, batch.get("weight"))
    return loss, clean


mart = Defense(
    name="mart",
    hyper=Hyper(),
    loss=mart_loss,
    craft=away_from_the_label,
    published={"cifar10": dict(eps=0.031, eps_iter=0.007, nb_iter=10, beta=5.0)},
)
