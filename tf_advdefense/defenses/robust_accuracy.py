"""Accuracy under PGD, by which a robust training's epochs are scored."""

from typing import Any

import numpy as np

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.craft import craft


class RobustAccuracy:
    """Five steps of a quarter of eps from a random start, as Wong et al. 2020 do.

    (arXiv:2001.03994, in their code.)

    Args:
      eps: radius of the L-inf ball, in [0, 1].
    """

    def __init__(self, eps: float):
        self._attack = make_attack(
            "pgd", eps=eps, eps_iter=eps / 4, nb_iter=5, rand_init=True
        )

    def __call__(self, model: Any, images: np.ndarray, labels: np.ndarray) -> float:
        """The share of images that the model gets right under attack.

        Args:
          model: `keras.Model` to logits, run in inference mode.
          images: uint8, or float32 in [0, 1], `[n, height, width, channels]`.
          labels: int `[n]`.
        """
        examples = craft(model, self._attack, images, labels)
        return float(np.mean(examples["prediction"] == labels))
