"""Accuracy under attack, by which a robust training's epochs are scored.

A defence is scored by what it claims: `under_pgd` where it is to withstand whoever
attacks it, `under_its_attack` or `under_transfer` where it is to withstand less. Scored
by more than it claims, epochs differ by chance: all are near zero.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.core.model_fn import predict
from tf_advdefense.attacks.core.model_fn import served
from tf_advdefense.images import at_once

_BATCH = 128


class RobustAccuracy:
    """The share of images that a model gets right under each of several attacks.

    Args:
      name: of the score: the logs show `val_NAME_accuracy`.
      attacks: untargeted ones, which leave the true labels.
      sources: models to craft on, `keras.Model` to logits; None: on the model itself.
    """

    def __init__(
        self, name: str, attacks: Sequence[Attack], sources: Sequence[Any] | None = None
    ):
        self.name = name
        self._attacks, self._sources = attacks, sources

    def __call__(self, model: Any, images: np.ndarray, labels: np.ndarray) -> float:
        """The accuracy, in [0, 1].

        Args:
          model: `keras.Model` to logits, run in inference mode.
          images: uint8, or float32 in [0, 1], `[n, height, width, channels]`.
          labels: int `[n]`.
        """
        right = np.ones(len(labels), bool)
        batch_size = at_once(_BATCH, images.shape[1:])
        for attack in self._attacks:
            for source in [model] if self._sources is None else self._sources:
                found = craft(source, attack, images, labels, batch_size=batch_size)
                classes = found["prediction"]
                if source is not model:
                    classes = _classes(model, found["image"], batch_size)
                right &= classes == labels
        return float(np.mean(right))


Score = Callable[[dict[str, Any], Attack | None, dict[str, Any]], RobustAccuracy | None]


def under_pgd(
    hyper: dict[str, Any], attack: Attack | None, parts: dict[str, Any]
) -> RobustAccuracy | None:
    """Under PGD in the ball that is trained on; None for a defence without one."""
    eps = hyper.get("eps")
    return RobustAccuracy("pgd", [pgd(eps, hyper.get("norm", np.inf))]) if eps else None


def under_its_attack(
    hyper: dict[str, Any], attack: Attack | None, parts: dict[str, Any]
) -> RobustAccuracy | None:
    """Under the attack that it trains on, where that has a radius."""
    return RobustAccuracy(attack.name, [attack]) if attack and attack.eps else None


def under_transfer(
    hyper: dict[str, Any], attack: Attack | None, parts: dict[str, Any]
) -> RobustAccuracy | None:
    """Under its attack on each of its static sources, where that has a radius."""
    if not attack or not attack.eps:
        return None
    return RobustAccuracy("transfer", [attack], parts["sources"])


def pgd(eps: float, norm: float = np.inf) -> Attack:
    """Five steps of a quarter of eps from a random start, as Wong et al. 2020 do.

    (arXiv:2001.03994, in their code, in L-inf.)
    """
    return make_attack(
        "pgd", eps=eps, norm=norm, eps_iter=eps / 4, nb_iter=5, rand_init=True
    )


def _classes(model: Any, images: np.ndarray, batch_size: int) -> np.ndarray:
    model_fn = served(model)
    return np.concatenate(
        [
            predict(model_fn, images[start : start + batch_size]).numpy()
            for start in range(0, len(images), batch_size)
        ]
    )
