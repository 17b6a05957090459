"""Ensemble adversarial training (Tramèr et al. 2018, arXiv:1705.07204), on the fly.

Examples of static models do not follow the trained weights, which therefore cannot
learn to make their own gradient useless to a single step. The trained model is one of
the sources. It defends against transfer, not white-box; judge it on sources that it was
not trained with.
"""

from collections.abc import Sequence
import functools
from typing import Any
from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.defenses import fgsm_at
from tf_advdefense.defenses.crafting import against_current
from tf_advdefense.defenses.crafting import drawn
from tf_advdefense.defenses.defense import Defense
from tf_advdefense.defenses.robust_accuracy import under_transfer


class Hyper(NamedTuple):
    """Tramèr et al. 2018 (arXiv:1705.07204), section 3.4.

    Attributes:
      labels: that the attack leaves; "predicted" are the drawn source's.
      craft_bn: of the trained model; static sources are always in inference mode.
      adv_weight, statistics, label_smoothing: as of `fgsm_at`.
    """

    labels: str = "predicted"
    craft_bn: str = "inference"
    adv_weight: float = 0.5
    statistics: str = "joint"
    label_smoothing: float = 0.0
    later = ("label_smoothing",)


def against_drawn_source(
    model: Any,
    batch: dict[str, tf.Tensor],
    hyper: Hyper,
    *,
    attack: Any,
    sources: Sequence[Any],
) -> dict[str, tf.Tensor]:
    """The batch with `adv_image` and `adv_label`, all crafted on one drawn model.

    Every batch draws one of the static sources and the trained model, all alike likely.

    Args:
      model, batch, attack: as of `crafting.against_current`.
      sources: static `keras.Model` to logits; nothing of them is updated.
    """

    def craft(source, bn):
        return against_current(source, batch, attack, hyper.labels, bn)["adv_image"]

    crafts = [functools.partial(craft, source, "inference") for source in sources]
    crafts.append(functools.partial(craft, model, hyper.craft_bn))
    return {
        **batch,
        "adv_image": drawn(crafts, batch),
        "adv_label": batch["label"],
    }


ensemble_at = Defense(
    name="ensemble_at",
    hyper=Hyper(),
    loss=fgsm_at.loss,
    craft=against_drawn_source,
    attack="fgsm",
    parts=("sources",),
    published={"cifar10": {"eps": 8 / 255}, "mnist": {"eps": 0.3}},
    score=under_transfer,
)
