"""What gradient attacks climb: a loss per image, of one model or of several.

    LOSSES["dlr"](labels=y, logits=model(x))                       # float32 [n]
    logits, loss, gradient = climb(model_fn, LOSSES["ce"], x, y, targeted=False)

Logits are float32 `[n, classes]`, labels int64 `[n]`. A loss is large where the model
is wrong; a targeted attack descends it, with the target as its label.
"""

from collections.abc import Callable

import tensorflow as tf

from tf_advdefense.attacks.core.gradient_check import cross_entropy
from tf_advdefense.attacks.core.model_fn import ModelFn
from tf_advdefense.attacks.core.model_fn import joint_logits


def margin(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """By how much the largest other logit exceeds the label's: positive when wrong."""
    return _largest_other(labels, logits) - tf.gather(logits, labels, batch_dims=1)


def dlr(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Difference of logits ratio, Croce and Hein 2020 (arXiv:2003.01690), eq. 6.

    The margin in units of the gap between the first and the third logit: blind to the
    logits' scale. Needs three classes.
    """
    if logits.shape[-1] < 3:
        raise ValueError(
            "The loss 'dlr' needs at least 3 classes. "
            f"Received: {logits.shape[-1]}. Use 'ce' or 'margin'."
        )
    top = tf.math.top_k(logits, 3).values
    return margin(labels, logits) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_dlr(labels: tf.Tensor, logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """The DLR loss towards one wrong class, Croce and Hein 2020, eq. 7.

    By how much the target's logit exceeds the label's, in units of the gap between the
    first logit and the mean of the third and the fourth. Below four classes the unit is
    1: the gap to the third of three would cancel a target that comes last.
    """
    own, other = (tf.gather(logits, each, batch_dims=1) for each in (labels, targets))
    if logits.shape[-1] < 4:
        return other - own
    top = tf.math.top_k(logits, 4).values
    return (other - own) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def _largest_other(labels, logits):
    return tf.reduce_max(_others(labels, logits), axis=1)


def _others(labels, logits):
    """The logits without the label's, which is the least number instead."""
    own = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False)
    return tf.where(own, logits.dtype.min, logits)


def log_odds(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The log odds of all other classes against the label, float32 `[n]`.

    The cross-entropy is softplus of it: it rises with it, in the same direction. But
    where the label's probability comes within 6e-8 of 1, as with confident models it
    often does, float32 has lost the label's part of the cross-entropy's gradient, and
    further on the rest; this one's stays.
    """
    others = tf.reduce_logsumexp(_others(labels, logits), axis=1)
    return others - tf.gather(logits, labels, batch_dims=1)


LOSSES = {"ce": cross_entropy, "margin": margin, "dlr": dlr}


def of(name: str, model_fn: ModelFn) -> Callable:
    """The loss to climb: of one model `log_odds` for the cross-entropy.

    Of several models the mean of their cross-entropies is another function than that
    of their log odds.
    """
    if name == "ce" and len(model_fn.members) == 1:
        return log_odds
    return LOSSES[name]


def check_loss(loss: str) -> None:
    """Raises ValueError for a name that LOSSES lacks."""
    if loss not in LOSSES:
        raise ValueError(
            f"`loss` must be one of {', '.join(LOSSES)}. Received: loss={loss!r}."
        )


def evaluate(
    model_fn: ModelFn, loss_fn: Callable, x: tf.Tensor, y: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """`(logits, loss)`; of joint models, the loss is the mean of their losses."""
    each = [member(x) for member in model_fn.members]
    loss = sum(loss_fn(labels=y, logits=logits) for logits in each) / len(each)
    return (joint_logits(each) if len(each) > 1 else each[0]), loss


def climb(
    model_fn: ModelFn, loss_fn: Callable, x: tf.Tensor, y: tf.Tensor, targeted: bool
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """`(logits, loss, gradient)` at x, with the sign that an attack ascends."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        logits, loss = evaluate(model_fn, loss_fn, x, y)
        loss = -loss if targeted else loss
    return logits, loss, tape.gradient(loss, x)


def is_better(
    fooled: tf.Tensor, loss: tf.Tensor, was_fooled: tf.Tensor, best_loss: tf.Tensor
) -> tf.Tensor:
    """Rows that fool for the first time, or else have a larger loss; bool `[n]`."""
    return tf.where(fooled == was_fooled, loss > best_loss, fooled)


def is_fooled(logits: tf.Tensor, y: tf.Tensor, targeted: bool) -> tf.Tensor:
    """Whether each row's class is the target, or any but the label; bool `[n]`."""
    reached = tf.argmax(logits, axis=1) == y
    return reached if targeted else ~reached
