"""A training on disk: exact resumption, logs, and the best epoch at the end.

history = train(trainer, batches, steps_per_epoch=351, epochs=30,
                validation=validation_batches(split), directory=directory)
"""

from collections.abc import Callable
import functools
import pathlib
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense import distribution
from tf_advdefense.datasets import Split
from tf_advdefense.datasets import pipeline
from tf_advdefense.images import as_float
from tf_advdefense.images import at_once
from tf_advdefense.training.checkpoints import Checkpoint
from tf_advdefense.training.robust_validation import EXAMPLES
from tf_advdefense.training.robust_validation import validation_of
from tf_advdefense.training.schedules import Plateau
from tf_advdefense.training.trainer import AdversarialTrainer
from tf_advdefense.training.within_epoch import WithinEpoch

_SCORED = 500  # Images of 32x32 at a time, without gradients.


def train(
    trainer: AdversarialTrainer,
    batches: Callable[[int, int], tf.data.Dataset],
    *,
    steps_per_epoch: int,
    epochs: int,
    validation: tf.data.Dataset,
    directory: pathlib.Path,
    plateau: Plateau | None = None,
    resume: bool = False,
    on_epoch: Callable[[int, dict], None] | None = None,
    scored_on: Split | None = None,
    checkpoint_steps: int = 1000,
) -> list[dict[str, float]]:
    """Fit a compiled trainer, with checkpoints, logs and the best epoch at the end.

    Args:
      trainer: compiled `AdversarialTrainer`.
      batches: function from the first epoch, and the first step in it, to a
        `tf.data.Dataset` of all batches from there on; see
        `datasets.pipeline.training_batches`.
      steps_per_epoch, epochs: as in `keras.Model.fit`.
      validation: `tf.data.Dataset` of {"image", "label"} batches.
      directory: of the run; gets `history.csv`, `checkpoints/` and `logs/`.
      plateau: a `schedules.Plateau`, or None.
      resume: continue from `checkpoints/`, if there is one.
      on_epoch: called with (epochs done, logs) after each checkpoint.
      scored_on: validation images on which epochs are scored by the accuracy that the
        defence claims (`Defense.score`); None: the clean accuracy does.
      checkpoint_steps: after how many there is a checkpoint within an epoch.

    Returns:
      The epochs' history as a list of dicts. The classifier holds the weights of the
      epoch with the best score; of equals that with the best clean accuracy, or else
      the last.

    Raises:
      ValueError: the loss stopped being finite.
    """
    chief = distribution.is_chief()
    checkpoint = Checkpoint(trainer, directory, plateau, on_epoch, writes=chief)
    scoring = []
    if scored_on is not None:
        some = scored_on.take(EXAMPLES)
        scoring = validation_of(trainer.defense, checkpoint, some.images, some.labels)
    within = WithinEpoch(trainer, checkpoint, steps_per_epoch, checkpoint_steps)
    first = distribution.agreed(checkpoint.restore() if resume else 0)
    step = distribution.agreed(within.restore() if resume else 0, "steps")
    left = (epochs - first) * steps_per_epoch - step
    shown = _shown(left, directory) if chief and left else []
    feed = lambda dataset: distribution.by_position(untuned(dataset))

    def fit(first: int, epochs: int, step: int = 0) -> None:
        # Keras' own: the scoring of the trainer's `fit` is kept in memory alone.
        keras.Model.fit(
            trainer,
            feed(batches(first, step)),
            validation_data=feed(validation),
            initial_epoch=first,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch - step,
            shuffle=False,
            verbose=(1 if sys.stdout.isatty() else 2) if chief else 0,
            callbacks=[*trainer.averaging, *scoring, within, checkpoint, *shown],
        )

    if step:
        if chief:
            print(f"Going on after step {step} of epoch {first + 1}.", flush=True)
        fit(first, first + 1, step)
        first += 1
    if first < epochs and not (step and trainer.stop_training):
        fit(first, epochs)
    checkpoint.restore_best()
    return checkpoint.history


def _shown(steps, directory):
    """Callbacks for whoever watches."""
    logs = keras.callbacks.TensorBoard(str(directory / "logs"), write_graph=False)
    return [_CostNotice(steps), logs]


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same dataset, without the thread that tunes its parallelism.

    That thread looks at the pipeline after 10 ms, 20 ms, 40 ms, ..., and whoever drops
    the iterator waits for its next look: measured, a `fit` of 6 s took 10.23 s.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def validation_batches(split: Split, batch_size: int | None = None) -> tf.data.Dataset:
    """Clean batches of a `Split`, {"image": float32 in [0, 1], "label"}."""
    batch_size = batch_size or at_once(_SCORED, split.images.shape[1:])
    return pipeline.in_order(split, batch_size).map(
        lambda image, label: {
            "image": tf.cast(image, tf.float32) / 255.0,
            "label": label,
        }
    )


def accuracy(
    classifier: keras.Model, split: Split, batch_size: int | None = None
) -> float:
    """Clean accuracy of a classifier on a `Split`, in inference mode."""
    batch_size = batch_size or at_once(_SCORED, split.images.shape[1:])
    # Not `predict`, which several workers would have to call.
    logits = tf.function(functools.partial(classifier, training=False))
    correct = [
        np.argmax(logits(as_float(split.images[i : i + batch_size])), -1)
        == split.labels[i : i + batch_size]
        for i in range(0, len(split), batch_size)
    ]
    return float(np.concatenate(correct).mean())


class _CostNotice(keras.callbacks.Callback):
    """Says once, after a few timed steps, how long the whole training will take."""

    _UNTIMED, _TIMED = 5, 15  # Steps; the first ones compile.

    def __init__(self, steps):
        super().__init__()
        self._steps, self._done, self._started, self._said = steps, 0, None, False

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._done += self.model.steps_per_execution
        if self._started is None:
            if self._done >= self._UNTIMED:
                self._started = time.perf_counter(), self._done
            return
        since, before = self._started
        timed = self._done - before
        if not self._said and timed >= self._TIMED:
            self._said = True
            seconds = (time.perf_counter() - since) / timed
            print(
                f"About {self._steps * seconds / 60:.0f} min for {self._steps} steps "
                "and the validations; interrupt it at will, resuming goes on.",
                flush=True,
            )
