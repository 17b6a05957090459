"""Checkpoints within an epoch, of which ImageNet's takes hours.

    within = WithinEpoch(trainer, checkpoint, steps=5000, every=1000)
    epoch, step = checkpoint.restore(), within.restore()
    trainer.fit(..., callbacks=[within, checkpoint])

They hold what those between epochs do, and the metrics so far: the epoch's history is
that of an uninterrupted one, too.
"""

from typing import Any

import keras
import numpy as np

from tf_advdefense.training.checkpoints import Checkpoint

_NAME = "within"


class WithinEpoch(keras.callbacks.Callback):
    """Keeps `checkpoints/within.npz`, until the epoch's end.

    Args:
      trainer: compiled `AdversarialTrainer`.
      checkpoint: of the same training, which must come after in the callbacks: of two
        that are kept, that of the epoch is the later one.
      steps: of an epoch.
      every: after how many of them there is a checkpoint.
    """

    def __init__(self, trainer: Any, checkpoint: Checkpoint, steps: int, every: int):
        super().__init__()
        self._trainer, self._checkpoint = trainer, checkpoint
        self._steps, self._every = steps, every
        self._restored: list[np.ndarray] = []
        self._first = self._done = 0  # Steps before, and so far, in this epoch.

    def restore(self) -> int:
        """Loads the last checkpoint within the epoch that is to be trained next.

        Returns:
          The steps of that epoch that are done; 0 if there is no such checkpoint.
        """
        if not self._checkpoint.has(_NAME):
            return 0
        meta = self._checkpoint.read(_NAME, {})
        if meta["epoch"] != len(self._checkpoint.history):
            return 0
        self._checkpoint.read(_NAME, self._groups)
        self._restored = [np.asarray(each).copy() for each in self._metrics]
        self._first = meta["step"]
        return self._first

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        # Keras has just reset the metrics.
        for variable, value in zip(self._metrics, self._restored):
            variable.assign(value)
        self._done = self._first
        self._restored, self._first = [], 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        before, self._done = self._done, self._done + self._trainer.steps_per_execution
        passed = before // self._every < self._done // self._every
        if passed and self._done < self._steps:
            self._write()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._checkpoint.remove(_NAME)

    def _write(self):
        meta = {"epoch": len(self._checkpoint.history), "step": self._done}
        averaging = self._trainer.averaging
        for average in averaging:
            average.show(True)  # As it is between epochs.
        self._checkpoint.write(_NAME, self._groups, meta)
        for average in averaging:
            average.show(False)

    @property
    def _groups(self):
        return {**self._checkpoint.variables, "metrics": self._metrics}

    @property
    def _metrics(self):
        return [each for metric in self._trainer.metrics for each in metric.variables]
