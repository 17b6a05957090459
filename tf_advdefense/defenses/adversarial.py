"""Clean images mixed with pre-generated examples of the same architecture."""

from typing import Any
from typing import NamedTuple

import tensorflow as tf

from tf_advdefense.defenses import losses
from tf_advdefense.defenses.defense import Defense
from tf_advdefense.defenses.source_sets import same_architecture


class Hyper(NamedTuple):
    """Goodfellow et al. 2015 (arXiv:1412.6572), section 6, with static examples.

    Attributes:
      label_smoothing: in [0, 1], see `losses.cross_entropy`.
    """

    label_smoothing: float = 0.0


def loss(
    model: Any,
    batch: dict[str, tf.Tensor],
    hyper: Hyper,
    *,
    criterion: losses.Criterion | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean over clean and adversarial images, see `losses.mixed`."""
    criterion = losses.smoothed(criterion, hyper.label_smoothing)
    return losses.mixed(model, batch, criterion)


adversarial = Defense(
    name="adversarial", hyper=Hyper(), loss=loss, check_sources=same_architecture
)
