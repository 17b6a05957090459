"""Crafting in a training step: the batch's images against the current weights.

    batch = against_current(model, batch, make_attack("pgd", rand_init=True))
    adv = climbed(model, batch, hyper, loss=lambda logits: divergence(clean, logits))

Random starts depend on `batch["draw"]`, a number per image.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.defenses.forward import crafting_model

_START = 0.001  # Standard deviation; at the image itself a divergence has no gradient.


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


def climbed(
    model: Any,
    batch: dict[str, tf.Tensor],
    hyper: Any,
    *,
    loss: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Images of the L-inf ball, like those of the batch, after steps up a loss.

    Algorithm 1 of Zhang et al. 2019 (arXiv:1901.08573) with its authors' start, the
    image and Gaussian noise; those of MART and RSLAD craft alike.

    Args:
      model, batch: as of `against_current`.
      hyper: with `eps`, `eps_iter`, `nb_iter` and `craft_bn`.
      loss: from logits [n, classes] to [n], or to their sum.
    """
    x = batch["image"]
    model_fn = inference(crafting_model(model, hyper.craft_bn))
    noise = draws.normal(draw_keys(batch), 0, x.shape[1:])

    def step(i, adv):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(adv)
            height = loss(model_fn(adv))
        adv = adv + hyper.eps_iter * tf.sign(tape.gradient(height, adv))
        adv = x + tf.clip_by_value(adv - x, -hyper.eps, hyper.eps)
        return i + 1, tf.clip_by_value(adv, 0.0, 1.0)

    start = (0, x + _START * noise)
    _, adv = tf.while_loop(lambda i, _: i < hyper.nb_iter, step, start)
    return tf.stop_gradient(adv)


def drawn(
    crafts: Sequence[Callable[[], tf.Tensor]], batch: dict[str, tf.Tensor]
) -> tf.Tensor:
    """What one of `crafts` gives, drawn anew for every batch, all alike likely."""
    which = draws.integer(draw_keys(batch)[:1], 1, (), len(crafts))[0]
    return tf.switch_case(which, list(crafts))


def draw_keys(batch: dict[str, tf.Tensor]) -> tf.Tensor:
    """Keys of `attacks.core.draws`, int64 [n]: every image and step has its own."""
    draw = batch.get("draw")
    if draw is None:
        draw = tf.range(tf.shape(batch["label"], out_type=tf.int64)[0])
    return draws.row_keys(0, draw)
