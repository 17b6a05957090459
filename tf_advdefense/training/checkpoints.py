"""Exact checkpoints: a resumed training ends with the uninterrupted one's weights.

`keras.callbacks.BackupAndRestore` loses the data position and Dropout's seed state.
Here a checkpoint is all variables of the classifier (they include seed generators), of
the optimizer, of the defence and of an average of the weights, the plateau's state and
the history, in one `.npz` without pickle, replaced atomically at the end of each epoch.
Within a long epoch there are others, see `within_epoch`.
"""

from collections.abc import Callable
from collections.abc import Sequence
import csv
import io
import json
import math
import pathlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense import untrusted
from tf_advdefense.training.checkpoint_files import InMemory
from tf_advdefense.training.checkpoint_files import OnDisk
from tf_advdefense.training.schedules import Plateau


def rank(row: dict[str, float], score: str) -> tuple[float, float]:
    """By which epochs are compared: the score, and of equals the clean accuracy.

    Of an epoch that was not scored, as a former version left it, the former is lowest.
    """
    return row.get(score, -math.inf), row.get("val_accuracy", 0.0)


def best_epoch(history: list[dict[str, float]], score: str) -> dict[str, float]:
    """The best epoch of a history, the last of equals."""
    return max(reversed(history), key=lambda row: rank(row, score))


class Checkpoint(keras.callbacks.Callback):
    """Keeps `checkpoints/state.npz`, `checkpoints/best.npz` and `history.csv`.

    Args:
      trainer: compiled `AdversarialTrainer` with a built optimizer.
      directory: of the run; None keeps the checkpoints in memory alone.
      plateau: a `schedules.Plateau`, or None.
      on_epoch: None, or called with (epochs done, logs) after each checkpoint.
      writes: whether what is in the directory is written, not only read: by one of
        several workers.

    Attributes:
      history: a dict per epoch.
      score: the logs' entry that is largest in the best epoch; see `rank`.
    """

    def __init__(
        self,
        trainer: Any,
        directory: str | pathlib.Path | None,
        plateau: Plateau | None = None,
        on_epoch: Callable[[int, dict], None] | None = None,
        writes: bool = True,
    ):
        super().__init__()
        self.score = "val_accuracy"
        self._trainer, self._plateau, self._on_epoch = trainer, plateau, on_epoch
        there = None if directory is None else OnDisk(directory)
        self._files = there if there and writes else InMemory(there)
        self.history = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self._trainer.stop_training:  # A guard went back to the last checkpoint.
            return
        if not math.isfinite(logs["loss"]):
            raise ValueError(
                f"Training must keep a finite loss. Received: {logs['loss']} in epoch "
                f"{epoch + 1}. Start again with a lower `learning_rate` and "
                "`overwrite`."
            )
        rate = float(keras.ops.convert_to_numpy(self._trainer.optimizer.learning_rate))
        self.history.append(
            {
                "epoch": epoch + 1,
                "learning_rate": rate,
                **{key: float(value) for key, value in logs.items()},
            }
        )
        better = best_epoch(self.history, self.score) is self.history[-1]
        if self._plateau is not None:
            self._trainer.optimizer.learning_rate.assign(
                rate * self._plateau.factor(float(logs["loss"]))
            )
        # The best weights first: a stop between the two writes only repeats an epoch.
        if better:
            self.write("best", {"classifier": self._trainer.classifier.variables})
        self.write("state", self.variables, self._meta())
        self._files.write("history.csv", self._csv())
        if self._on_epoch is not None:
            self._on_epoch(epoch + 1, self.history[-1])

    def restore(self) -> int:
        """Load the last checkpoint; returns the number of epochs it holds (0: none)."""
        if not self.has("state"):
            return 0
        meta = self.read("state", self.variables)
        self.history = meta["history"]
        if self._plateau is not None:
            self._plateau.state = meta["plateau"]
        return len(self.history)

    def restore_best(self) -> None:
        """Load the classifier's weights of the best epoch."""
        self.read("best", {"classifier": self._trainer.classifier.variables})

    @property
    def variables(self) -> dict[str, Sequence[Any]]:
        """All that a training goes on with, in groups."""
        return {
            "classifier": self._trainer.classifier.variables,
            "optimizer": self._trainer.optimizer.variables,
            "defense": getattr(self._trainer.defense, "variables", ()),
            "average": [v for a in self._trainer.averaging for v in a.variables],
        }

    def _meta(self):
        plateau = self._plateau and self._plateau.state
        return {"history": self.history, "plateau": plateau}

    def _csv(self):
        text = io.StringIO()
        # A training that a former version began has entries that only later epochs do.
        columns = dict.fromkeys(key for row in self.history for key in row)
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(self.history)
        return text.getvalue().encode()

    # === Files ===

    def write(
        self, name: str, groups: dict[str, Sequence[Any]], meta: Any = None
    ) -> None:
        """Keeps variables as `checkpoints/NAME.npz`, and JSON beside them."""
        arrays = {
            f"{group}/{i}": np.asarray(variable)
            for group, variables in groups.items()
            for i, variable in enumerate(variables)
        }
        data = io.BytesIO()
        np.savez(
            data, meta=np.array("" if meta is None else json.dumps(meta)), **arrays
        )
        self._files.write(_path(name), data.getvalue())

    def read(self, name: str, groups: dict[str, Sequence[Any]]) -> Any:
        """Assigns what `write` kept to the variables; returns its JSON.

        Raises:
          FileNotFoundError: it kept nothing.
          ValueError: the file is damaged, or of other variables.
        """
        data = io.BytesIO(self._files.read(_path(name)))
        try:
            arrays = untrusted.read_arrays(data)
            meta = json.loads(str(arrays["meta"]) or "{}")
            pairs = [
                (variable, arrays[f"{group}/{i}"])
                for group, variables in groups.items()
                for i, variable in enumerate(variables)
            ]
            for variable, value in pairs:  # Of a batch the size may be unknown.
                tf.TensorShape(variable.shape).assert_is_compatible_with(value.shape)
        except Exception as error:  # Whatever a damaged archive makes NumPy raise.
            raise ValueError(
                f"A checkpoint must be what was written. Received: {_path(name)} in "
                f"{self._files}, which is damaged ({type(error).__name__}). Start "
                "again with `overwrite`."
            ) from error
        for variable, value in pairs:
            variable.assign(value)
        for average in self._trainer.averaging:
            average.restored()
        return meta

    def has(self, name: str) -> bool:
        """Whether `write` kept anything."""
        return self._files.has(_path(name))

    def remove(self, name: str) -> None:
        """Forgets what `write` kept."""
        self._files.remove(_path(name))


def _path(name):
    return f"checkpoints/{name}.npz"
