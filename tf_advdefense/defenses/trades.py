"""TRADES (Zhang et al. 2019, arXiv:1901.08573): accuracy on clean images, traded.

The loss is the clean cross-entropy plus beta times the divergence of the prediction on
a neighbour from that on the image (equation 5); the neighbour is where it is largest.
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
from tf_advdefense.defenses.forward import crafting_model


class Hyper(NamedTuple):
    """Zhang et al. 2019 (arXiv:1901.08573), equation 5 and algorithm 1.

    Attributes:
      eps: radius of the L-inf ball.
      eps_iter: length of a step.
      nb_iter: number of steps.
      craft_bn: BatchNorm while crafting, see `forward.crafting_model`.
      beta: the trade-off, 1/lambda in the paper, 1 to 10 there.
      statistics: of BatchNorm, see `forward.both_passes`.
    """

    eps: float = 0.031
    eps_iter: float = 0.007
    nb_iter: int = 10
    craft_bn: str = "inference"
    beta: float = 6.0
    statistics: str = "clean"


def most_divergent(
    model: Any, batch: dict[str, tf.Tensor], hyper: Hyper
) -> dict[str, tf.Tensor]:
    """The batch with `adv_image`: up the divergence from the prediction on `image`."""
    model_fn = inference(crafting_model(model, hyper.craft_bn))
    clean = tf.stop_gradient(model_fn(batch["image"]))
    adv = climbed(model, batch, hyper, loss=functools.partial(losses.divergence, clean))
    return {**batch, "adv_image": adv}


def trades_loss(
    model: Any,
    batch: dict[str, tf.Tensor],
    hyper: Hyper,
    *,
    criterion: losses.Criterion = losses.cross_entropy,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss of the clean images plus beta times the mean divergence.

    The gradient flows through both predictions. Deviation: the authors run clean
    images twice and adversarial ones once through BatchNorm in training mode, and all
    three update its moving statistics; here only the named one does.

    Args:
      model: `keras.Model` to logits.
      batch: {"image", "label", "adv_image"}.
      criterion: the loss of the clean images, in the paper the cross-entropy.

    Returns:
      (loss, a scalar; logits of the clean images, [n, classes]).
    """
    clean, adversarial = both_passes(
        model, batch["image"], batch["adv_image"], hyper.statistics
    )
    weight = batch.get("weight")
    robust = losses.mean(losses.divergence(clean, adversarial), weight)
    natural = criterion(losses.targets_of(batch), clean, weight=weight)
    return natural + hyper.beta * robust, clean


trades = Defense(
    name="trades",
    hyper=Hyper(),
    loss=trades_loss,
    craft=most_divergent,
    published={
        "cifar10": dict(eps=0.031, eps_iter=0.007, nb_iter=10, beta=6.0),
        "mnist": dict(eps=0.3, eps_iter=0.01, nb_iter=40, beta=1.0),
    },
)
