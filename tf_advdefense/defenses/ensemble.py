"""Ensemble adversarial training (Tramèr et al. 2018, arXiv:1705.07204), on the fly.

    batch = against_drawn_source(model, batch, attack=make_attack("fgsm"),
                                 sources=[alexnet, small_resnet])
    loss, clean_logits = adversarial_loss(model, batch, adv_weight=0.5)

Examples of static models do not follow the trained weights, which therefore cannot
learn to make their own gradient useless to a single step. The trained model is one of
the sources. It defends against transfer, not white-box; judge it on sources that it was
not trained with.
"""

import functools

import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.defenses.adversarial_training import against_current
from tf_advdefense.defenses.adversarial_training import draw_keys


def against_drawn_source(
    model,
    batch,
    *,
    attack,
    sources,
    labels="predicted",
    craft_bn="inference",
):
    """The batch with `adv_image` and `adv_label`, all crafted on one drawn model.

    Section 3.4 of the paper: every batch draws one of the static sources and the
    trained model, all alike likely. Labels left are those that the source predicts.

    Args:
      model, batch, attack, labels, craft_bn: as `adversarial_training.against_current`;
        static sources are always in inference mode.
      sources: list of static `keras.Model` to logits; nothing of them is updated.
    """

    def craft(source, bn):
        return against_current(
            source, batch, attack=attack, labels=labels, craft_bn=bn
        )["adv_image"]

    branches = [functools.partial(craft, source, "inference") for source in sources]
    branches.append(functools.partial(craft, model, craft_bn))
    drawn = draws.integer(draw_keys(batch)[:1], 1, (), len(branches))[0]
    return {
        **batch,
        "adv_image": tf.switch_case(drawn, branches),
        "adv_label": batch["label"],
    }
