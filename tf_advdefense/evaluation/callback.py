"""Accuracy under attack after every epoch of any Keras training.

    robust = RobustAccuracy(x_val[:256], y_val[:256], eps=8 / 255)
    stop = keras.callbacks.EarlyStopping("val_pgd_accuracy", mode="max", patience=3)
    model.fit(x, y, epochs=30, callbacks=[robust, stop])
    robust.measured(model)                   # the same, at any time

A Keras metric sees labels and outputs, but not the images that an attack needs: hence a
callback. It comes before those that read what it adds to the logs.
"""

from typing import Any

import keras

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.attack import Attack
from tf_advdefense.datasets.arrays import from_arrays
from tf_advdefense.defenses.robust_accuracy import RobustAccuracy as Share
from tf_advdefense.evaluation.attack_facts import at_radius
from tf_advdefense.models.input_range import UNIT
from tf_advdefense.models.trainable import trainable


class RobustAccuracy(keras.callbacks.Callback):
    """Adds `val_NAME_accuracy` to the logs: the share right clean and under an attack.

    Args:
      images, labels: what it is measured on, as of `from_arrays`; a few hundred.
      attack: the name of an attack, or one of `make_attack`.
      name: NAME; default: the attack's.
      every: how many epochs lie between two measurements.
      input_range: (low, high) of the images that the model takes; eps is always in
        units of images in [0, 1].
      from_logits: whether its outputs are logits, where its last layer does not show.
      **hyper: of the attack; where a radius, `eps`, is given, its steps go with it.

    Raises:
      ValueError: in one line, for unknown names, values out of range, and, when it is
        measured, a model that does not show its logits.
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        attack: str | Attack = "pgd",
        *,
        name: str | None = None,
        every: int = 1,
        input_range: tuple[float, float] = UNIT,
        from_logits: bool = False,
        **hyper: Any,
    ):
        super().__init__()
        if every < 1:
            raise ValueError(
                f"`every` must be a number of epochs. Received: every={every}."
            )
        self._data = from_arrays(images, labels).test
        attack = make_attack(attack) if isinstance(attack, str) else attack
        eps = hyper.pop("eps", None)
        attack = attack.replace(**hyper)
        attack = attack if eps is None else at_radius(attack, eps)
        self._share = Share(name or attack.name, [attack])
        self._every, self._how = every, (input_range, from_logits)
        self._known: tuple[Any, Any] = None, None

    def measured(self, model: keras.Model) -> float:
        """The accuracy of a model, in [0, 1]."""
        if self._known[0] is not model:  # Attacks on one object are traced once.
            given = getattr(model, "given", model)  # Of `adversarial`, the user's own.
            self._known = model, trainable(given, *self._how).logits
        return self._share(self._known[1], self._data.images, self._data.labels)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if (epoch + 1) % self._every == 0 and logs is not None:
            logs[f"val_{self._share.name}_accuracy"] = self.measured(self.model)
