"""Accuracy under PGD after every epoch, and a guard against its collapse.

Training on single-step examples can lose all robustness within an epoch, while its
accuracy on such examples, and on clean images, rises: catastrophic overfitting (Wong et
al. 2020, arXiv:2001.03994, section 5.3). Accuracy on clean images cannot choose the
best epoch of a robust training either (Rice et al. 2020, arXiv:2002.11569).
"""

import keras
import numpy as np

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core import craft as engine


class RobustValidation(keras.callbacks.Callback):
    """Adds `val_pgd_accuracy` to the logs; may end a training at its last good epoch.

    As Wong et al. in their code: five steps of a quarter of eps from a random start.
    Deviation: the accuracy is compared with the best so far, not with the last one, so
    that a fall in two steps counts too. It must come before the checkpoint's callback.

    Args:
      checkpoint: `checkpoints.Checkpoint` of the training; an epoch that is refused is
        not written, and the one before is restored.
      split: validation images, a `datasets.Split`; a few hundred will do.
      eps: radius of the L-inf ball.
      max_drop: the fall that ends the training; None: none does.

    Attributes:
      score: the logs' entry that it adds.
    """

    score = "val_pgd_accuracy"

    def __init__(self, checkpoint, split, eps, max_drop=None):
        super().__init__()
        self._checkpoint, self._split, self._max_drop = checkpoint, split, max_drop
        self._attack = make_attack(
            "pgd", eps=eps, eps_iter=eps / 4, nb_iter=5, rand_init=True
        )

    def on_epoch_end(self, epoch, logs=None):
        logs[self.score] = accuracy = self._accuracy()
        best = max((row[self.score] for row in self._checkpoint.history), default=0.0)
        if self._max_drop is None or accuracy >= best - self._max_drop:
            return
        print(
            f"Catastrophic overfitting in epoch {epoch + 1}: accuracy under PGD fell "
            f"from {100 * best:.1f} % to {100 * accuracy:.1f} %. Back to epoch "
            f"{self._checkpoint.restore()}, where the training ends.",
            flush=True,
        )
        self.model.stop_training = True

    def _accuracy(self):
        split = self._split
        examples = engine.craft(
            self.model.classifier, self._attack, split.images, split.labels
        )
        return float(np.mean(examples["prediction"] == split.labels))
