"""Accuracy under attack after every epoch, and a guard against its collapse.

Training on single-step examples can lose all robustness within an epoch, while its
accuracy on such examples, and on clean images, rises: catastrophic overfitting (Wong et
al. 2020, arXiv:2001.03994, section 5.3). Accuracy on clean images cannot choose the
best epoch of a robust training either (Rice et al. 2020, arXiv:2002.11569).
A defence is scored by the accuracy that it claims: `Defense.score`.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tf_advdefense.training.checkpoints import Checkpoint

EXAMPLES = 512  # images, of which one is 0.2 % of the accuracy


class RobustValidation(keras.callbacks.Callback):
    """Adds `val_NAME_accuracy` to the logs; may end a training at its last good epoch.

    Deviation from Wong et al.: the accuracy is compared with the best so far, not with
    the last one, so that a fall in two steps counts too. It must come before the
    checkpoint's callback.

    Args:
      checkpoint: of the training; an epoch that is refused is not written, and the one
        before is restored.
      accuracy: `accuracy(model, images, labels)` under attack, in [0, 1]; see
        `defenses.robust_accuracy`. NAME is its `name`, or pgd where it has none.
      images: uint8, or float32 in [0, 1], `[n, height, width, channels]`: a few hundred
        validation images will do.
      labels: int `[n]`.
      max_drop: the fall of the accuracy that ends the training; None: none does.

    Attributes:
      score: the logs' entry that it adds.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        accuracy: Callable[[Any, np.ndarray, np.ndarray], float],
        images: np.ndarray,
        labels: np.ndarray,
        max_drop: float | None = None,
    ):
        super().__init__()
        self.score = _score_name(accuracy)
        self._checkpoint, self._accuracy, self._max_drop = (
            checkpoint,
            accuracy,
            max_drop,
        )
        self._images, self._labels = images, labels

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        accuracy = self._accuracy(self.model.classifier, self._images, self._labels)
        logs[self.score] = accuracy
        scores = (row.get(self.score, 0.0) for row in self._checkpoint.history)
        best = max(scores, default=0.0)
        if self._max_drop is None or accuracy >= best - self._max_drop:
            return
        print(
            f"Catastrophic overfitting in epoch {epoch + 1}: accuracy under PGD fell "
            f"from {100 * best:.1f} % to {100 * accuracy:.1f} %. Back to epoch "
            f"{self._checkpoint.restore()}, where the training ends.",
            flush=True,
        )
        self.model.stop_training = True


def validation_of(
    defense: Any, checkpoint: Checkpoint, images: np.ndarray, labels: np.ndarray
) -> list[RobustValidation]:
    """The callback that scores a defence's epochs, or none; tells the checkpoint so."""
    accuracy = getattr(defense, "robust_accuracy", None)
    if accuracy is None:
        return []
    max_drop = getattr(defense, "max_drop", None)
    scoring = RobustValidation(checkpoint, accuracy, images, labels, max_drop)
    checkpoint.score = scoring.score
    return [scoring]


def score_of(defense: Any) -> str:
    """The logs' entry by which the best epoch of a defence is chosen."""
    accuracy = getattr(defense, "robust_accuracy", None)
    return "val_accuracy" if accuracy is None else _score_name(accuracy)


def _score_name(accuracy):
    return f"val_{getattr(accuracy, 'name', 'pgd')}_accuracy"
