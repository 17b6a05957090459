"""Adversarial training on the fly: the batch's images against the current weights.

    batch = against_current(model, batch, attack=make_attack("pgd", rand_init=True))
    loss, logits = adversarial_loss(model, batch)

`fgsm_at` (Goodfellow et al. 2015), `pgd_at` (Madry et al. 2018) and `fast_at` (Wong et
al. 2020) differ in how they craft and in how much the clean images weigh; see
`DEFENSES`. Random starts depend on `batch["draw"]`, a number per image.
"""

import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core import balls
from tf_advdefense.attacks.core import draws
from tf_advdefense.defenses.forward import both_passes
from tf_advdefense.defenses.forward import crafting_model
from tf_advdefense.defenses.forward import updating_pass
from tf_advdefense.defenses.given_images import cross_entropy

LABELS = ("true", "predicted")


def against_current(model, batch, *, attack, labels="true", craft_bn="inference"):
    """The batch with `adv_image` and `adv_label`, crafted on the model as it is.

    Args:
      model: `keras.Model` to logits.
      batch: {"image", "label"} and, for random starts, "draw": int64 [n].
      attack: an `attacks.Attack`.
      labels: the labels that the attack leaves. "predicted" ones are the model's:
        with the true ones a single step gives the label away, which the model then
        reads off the perturbation (Kurakin et al. 2017, section 4.2).
      craft_bn: see `forward.crafting_model`.
    """
    adv = attack(
        crafting_model(model, craft_bn),
        batch["image"],
        batch["label"] if labels == "true" else None,
        index=batch.get("draw"),
    )
    return {**batch, "adv_image": adv, "adv_label": batch["label"]}


def random_step(model, batch, *, eps=8 / 255, eps_iter=10 / 255, craft_bn="inference"):
    """The batch with FGSM examples from a random start, Wong et al. 2020, algorithm 3.

    A uniform draw from the L-inf ball of radius eps, a step of `eps_iter`, which may
    be longer than eps, and the projection onto the ball and the box.

    Args and result: as `against_current`.
    """
    x = batch["image"]
    start = eps * balls.random_ball(draw_keys(batch), 0, x.shape[1:], float("inf"))
    adv = make_attack("fgsm", eps=eps_iter)(
        crafting_model(model, craft_bn),
        tf.clip_by_value(x + start, 0.0, 1.0),
        batch["label"],
    )
    adv = tf.clip_by_value(x + tf.clip_by_value(adv - x, -eps, eps), 0.0, 1.0)
    return {**batch, "adv_image": adv, "adv_label": batch["label"]}


def draw_keys(batch):
    """Keys of `attacks.draws`, int64 [n]: every image and step has its own."""
    draw = batch.get("draw")
    if draw is None:
        draw = tf.range(tf.shape(batch["label"], out_type=tf.int64)[0])
    return draws.row_keys(0, draw)


def adversarial_loss(model, batch, *, adv_weight=1.0, statistics="joint"):
    """The weighted sum of the cross-entropies of clean and adversarial images.

    Goodfellow et al. 2015 (arXiv:1412.6572), section 6, weigh both by 1/2; Madry et
    al. 2018 (arXiv:1706.06083), equation 2.1, train on adversarial images alone.

    Args:
      model: `keras.Model` to logits.
      batch: {"image", "label", "adv_image", "adv_label"}.
      adv_weight: in (0, 1], of the adversarial images; at 1 clean ones are not seen.
      statistics: of BatchNorm, see `forward.both_passes`.

    Returns:
      (loss, clean logits, or at weight 1 those of the first n adversarial images).
    """
    if adv_weight == 1:
        logits = updating_pass(model, batch["adv_image"])
        size = tf.shape(batch["label"])[0]
        return cross_entropy(batch["adv_label"], logits), logits[:size]
    clean, adversarial = both_passes(
        model, batch["image"], batch["adv_image"], statistics
    )
    loss = (1 - adv_weight) * cross_entropy(
        batch["label"], clean
    ) + adv_weight * cross_entropy(batch["adv_label"], adversarial)
    return loss, clean
