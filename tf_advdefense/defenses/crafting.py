"""Crafting in a training step: the batch's images against the current weights.

    batch = against_current(model, batch, make_attack("pgd", rand_init=True))

Random starts depend on `batch["draw"]`, a number per image.
"""

from typing import Any

import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.defenses.forward import crafting_model


def against_current(
    model: Any,
    batch: dict[str, tf.Tensor],
    attack: Any,
    labels: str = "true",
    craft_bn: str = "inference",
) -> dict[str, tf.Tensor]:
    """The batch with `adv_image` and `adv_label`, crafted on the model as it is.

    Args:
      model: `keras.Model` to logits.
      batch: {"image": float32 [n, h, w, c] in [0, 1], "label": int64 [n]} and, for
        random starts, "draw": int64 [n].
      attack: of `make_attack`.
      labels: the labels that the attack leaves. "predicted" ones are the model's:
        with the true ones a single step gives the label away, which the model then
        reads off the perturbation (Kurakin et al. 2017, arXiv:1611.01236, section
        4.2).
      craft_bn: see `forward.crafting_model`.
    """
    adv = attack(
        crafting_model(model, craft_bn),
        batch["image"],
        batch["label"] if labels == "true" else None,
        index=batch.get("draw"),
    )
    return {**batch, "adv_image": adv, "adv_label": batch["label"]}


def draw_keys(batch: dict[str, tf.Tensor]) -> tf.Tensor:
    """Keys of `attacks.core.draws`, int64 [n]: every image and step has its own."""
    draw = batch.get("draw")
    if draw is None:
        draw = tf.range(tf.shape(batch["label"], out_type=tf.int64)[0])
    return draws.row_keys(0, draw)
