"""Free adversarial training (Shafahi et al. 2019, arXiv:1904.12843), algorithm 1.

Every batch is trained on `replays` times in a row. The backward pass of each update
also gives the gradient of the images, by which the perturbation takes the step of the
next replay: robustness at the price of plain training, with `replays` times fewer
epochs. The perturbation goes on from one batch to the next.
"""

from typing import Any
from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.defenses import losses
from tf_advdefense.defenses.defense import Defense
from tf_advdefense.defenses.forward import updating_pass


class Hyper(NamedTuple):
    """Shafahi et al. 2019 (arXiv:1904.12843), algorithm 1.

    Attributes:
      eps: radius of the L-inf ball, and length of a step.
      replays: updates per batch, m in the paper.
    """

    eps: float = 8 / 255
    replays: int = 8


def perturbation(image_shape: tuple[int, ...]) -> dict[str, tf.Variable]:
    """The perturbation before the first batch: of no images, see `_rows`.

    Of several devices each has its own, of its share of a batch.
    """
    variable = tf.Variable(
        tf.zeros([0, *image_shape]),
        shape=tf.TensorShape([None, *image_shape]),
        name="perturbation",
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
    return {"perturbation": variable}


def loss(
    model: Any,
    batch: dict[str, tf.Tensor],
    hyper: Hyper,
    *,
    perturbation: tf.Variable,
    criterion: losses.Criterion = losses.cross_entropy,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss of the perturbed images, whose gradient moves the perturbation.

    Args:
      model: `keras.Model` to logits.
      batch: {"image": float32 [n, h, w, c] in [0, 1], "label": int64 [n]}.
      perturbation: float32 [m, h, w, c]; assigned to when the loss is differentiated.
      criterion: the loss.

    Returns:
      (loss, a scalar; logits of the perturbed images, [n, classes]).
    """
    adv = _perturbed(model, batch["image"], perturbation, hyper.eps)
    logits = updating_pass(model, adv)
    targets, weight = losses.targets_of(batch), batch.get("weight")
    return criterion(targets, logits, weight=weight), logits


def _perturbed(model, images, perturbation, eps):
    """Images plus perturbation; differentiated, it takes its step as a side effect."""
    size = tf.shape(images)[0]

    @tf.custom_gradient
    def add(kept, watched):
        delta = _rows(kept, size)
        # As in the authors' code, the clipping has no gradient where it clips, so that
        # a perturbation goes no further out of the box than the ball lets it.
        inside = (images + delta >= 0) & (images + delta <= 1)

        def backward(gradient):
            # Where a scaled loss overflows, as in float16, nothing is updated either;
            # the perturbation would carry a NaN from batch to batch.
            moves = tf.math.is_finite(gradient) & inside
            step = tf.where(moves, tf.sign(gradient), 0.0)
            moved = tf.clip_by_value(delta + eps * step, -eps, eps)
            # A batch that is smaller than the others leaves the last rows as they are.
            perturbation.assign(tf.concat([moved, kept[size:]], axis=0))
            return tf.zeros_like(kept), tf.zeros_like(watched)

        return tf.clip_by_value(images + delta, 0.0, 1.0), backward

    # A tape watches what is trained, and no variable of one device: without a weight
    # among its arguments the function would not be differentiated.
    watched = tf.convert_to_tensor(model.trainable_variables[-1])
    return add(tf.convert_to_tensor(perturbation), watched)


def _rows(kept, size):
    """The first `size` rows; those of places that no batch has had yet are zero."""
    missing = tf.maximum(size - tf.shape(kept)[0], 0)
    return tf.pad(kept, [[0, missing], [0, 0], [0, 0], [0, 0]])[:size]


free_at = Defense(
    name="free_at",
    hyper=Hyper(),
    loss=loss,
    state=perturbation,
    training=dict(
        optimizer="sgd",
        learning_rate=0.04,
        weight_decay=5e-4,
        schedule="cyclic",
        epochs=10,
    ),
    max_drop=0.2,
)
