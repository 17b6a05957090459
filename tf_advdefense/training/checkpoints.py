"""Exact checkpoints: a resumed training ends with the uninterrupted one's weights.

`keras.callbacks.BackupAndRestore` loses the data position and Dropout's seed state.
Here a checkpoint is all variables of the classifier (they include seed generators),
of the optimizer and of the defence, the plateau's state and the history, in one `.npz`
without pickle, replaced atomically at the end of each epoch.
"""

import csv
import io
import json
import math
import pathlib

import keras
import numpy as np

from tf_advdefense.artifacts.files import write_bytes


class Checkpoint(keras.callbacks.Callback):
    """Keeps `checkpoints/state.npz`, `checkpoints/best.npz` and `history.csv`.

    Args:
      trainer: compiled `training.AdversarialTrainer` with a built optimizer.
      directory: of the run.
      plateau: an `optimizers.Plateau`, or None.
      on_epoch: None, or called with (epochs done, logs) after each checkpoint.

    Attributes:
      history: a dict per epoch.
      score: the logs' entry that is largest in the best epoch.
    """

    def __init__(self, trainer, directory, plateau=None, on_epoch=None):
        super().__init__()
        self.score = "val_accuracy"
        self._trainer, self._plateau, self._on_epoch = trainer, plateau, on_epoch
        self._directory = pathlib.Path(directory)
        self.history = []

    def on_epoch_end(self, epoch, logs=None):
        if self._trainer.stop_training:  # A guard went back to the last checkpoint.
            return
        if not math.isfinite(logs["loss"]):
            raise ValueError(
                f"Training must keep a finite loss. Received: {logs['loss']} in epoch "
                f"{epoch + 1}. Start again with a lower --learning_rate and "
                "--overwrite."
            )
        rate = float(keras.ops.convert_to_numpy(self._trainer.optimizer.learning_rate))
        better = all(logs[self.score] > row[self.score] for row in self.history)
        self.history.append(
            {
                "epoch": epoch + 1,
                "learning_rate": rate,
                **{key: float(value) for key, value in logs.items()},
            }
        )
        if self._plateau is not None:
            self._trainer.optimizer.learning_rate.assign(
                rate * self._plateau.factor(float(logs["loss"]))
            )
        # The best weights first: a stop between the two writes only repeats an epoch.
        if better:
            self._write("best", {"classifier": self._trainer.classifier.variables})
        self._write("state", self._variables(), self._meta())
        write_bytes(self._directory / "history.csv", self._csv())
        if self._on_epoch is not None:
            self._on_epoch(epoch + 1, self.history[-1])

    def restore(self):
        """Load the last checkpoint; returns the number of epochs it holds (0: none)."""
        if not (self._directory / "checkpoints" / "state.npz").exists():
            return 0
        meta = json.loads(str(self._read("state", self._variables())))
        self.history = meta["history"]
        if self._plateau is not None:
            self._plateau.state = meta["plateau"]
        return len(self.history)

    def restore_best(self):
        """Load the classifier's weights of the best epoch."""
        self._read("best", {"classifier": self._trainer.classifier.variables})

    def _variables(self):
        return {
            "classifier": self._trainer.classifier.variables,
            "optimizer": self._trainer.optimizer.variables,
            "defense": getattr(self._trainer.defense, "variables", ()),
        }

    def _meta(self):
        return json.dumps(
            {"history": self.history, "plateau": self._plateau and self._plateau.state}
        )

    def _csv(self):
        text = io.StringIO()
        writer = csv.DictWriter(text, self.history[0])
        writer.writeheader()
        writer.writerows(self.history)
        return text.getvalue().encode()

    def _write(self, name, groups, meta=""):
        arrays = {
            f"{group}/{i}": np.asarray(variable)
            for group, variables in groups.items()
            for i, variable in enumerate(variables)
        }
        data = io.BytesIO()
        np.savez(data, meta=np.array(meta), **arrays)
        (self._directory / "checkpoints").mkdir(parents=True, exist_ok=True)
        write_bytes(self._directory / "checkpoints" / f"{name}.npz", data.getbuffer())

    def _read(self, name, groups):
        """Assign a file's arrays to the variables; returns its `meta`."""
        path = self._directory / "checkpoints" / f"{name}.npz"
        with np.load(path, allow_pickle=False) as arrays:
            for group, variables in groups.items():
                for i, variable in enumerate(variables):
                    variable.assign(arrays[f"{group}/{i}"])
            return arrays["meta"]
