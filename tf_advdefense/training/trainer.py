"""The training loop: `AdversarialTrainer` under `keras.Model.fit`.

    trainer = AdversarialTrainer(build_model("resnet50", (32, 32, 3), 10),
                                 make_defense("ensemble"))
    trainer.compile(optimizer=optimizer)
    trainer.fit(batches, epochs=30, steps_per_epoch=351, shuffle=False)
    trainer.classifier.save("model.keras")

`train` adds what a run on disk needs: exact resumption, the best epoch by validation
accuracy, logs. The trainer adds no variables to the classifier, which is what is saved.
"""

import sys
import time

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense import distribution
from tf_advdefense.images import as_float
from tf_advdefense.training.checkpoints import Checkpoint


class AdversarialTrainer(keras.Model):
    """A classifier and the defence it is trained with.

    Args:
      classifier: `keras.Model` from images in [0, 1] to logits.
      defense: `defense(model, batch) -> (loss, clean_logits)`; see `defenses`. Where
        it has the parts `craft` and `loss`, they are called apart.
    """

    def __init__(self, classifier, defense):
        super().__init__(name=f"{classifier.name}_trainer")
        self.classifier = classifier
        self.defense = defense
        self.loss_mean = keras.metrics.Mean("loss")
        self.clean_accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")
        self.built = True  # Nothing to build: the classifier is.

    @property
    def metrics(self):
        return [self.loss_mean, self.clean_accuracy]

    def call(self, images, training=None):
        return self.classifier(images, training=training)

    def _maybe_symbolic_build(self, *args, **kwargs):
        """Do nothing: Keras would take a batch of the first epoch to build with."""

    def train_step(self, batch):
        """One update of the classifier on one batch of clean and adversarial images."""
        variables = self.classifier.trainable_variables
        defense = self.defense
        if getattr(defense, "craft", None) is not None:
            # Outside the tape, which would record every iteration of the attack.
            batch, defense = defense.craft(self.classifier, batch), defense.loss
        with tf.GradientTape() as tape:
            loss, clean_logits = defense(self.classifier, batch)
            scaled = self.optimizer.scale_loss(distribution.replica_share(loss))
        self.optimizer.apply(tape.gradient(scaled, variables), variables)
        return self._update(loss, batch["label"], clean_logits)

    def test_step(self, batch):
        """Clean loss and accuracy, in inference mode."""
        logits = self.classifier(batch["image"], training=False)
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(batch["label"], logits)
        )
        return self._update(loss, batch["label"], logits)

    def _update(self, loss, labels, logits):
        self.loss_mean.update_state(loss, sample_weight=tf.shape(labels)[0])
        self.clean_accuracy.update_state(labels, logits)
        return {metric.name: metric.result() for metric in self.metrics}


def train(
    trainer,
    batches,
    *,
    steps_per_epoch,
    epochs,
    validation,
    directory,
    plateau=None,
    resume=False,
    on_epoch=None,
    robust_validation=None,
):
    """Fit a compiled trainer, with checkpoints, logs and the best epoch at the end.

    Args:
      trainer: compiled `AdversarialTrainer`.
      batches: function from the first epoch to a `tf.data.Dataset` of all batches
        from there on; see `datasets.pipeline.training_batches`.
      steps_per_epoch, epochs: as in `keras.Model.fit`.
      validation: `tf.data.Dataset` of {"image", "label"} batches.
      directory: of the run; gets `history.csv`, `checkpoints/` and `logs/`.
      plateau: an `optimizers.Plateau`, or None.
      resume: continue from `checkpoints/`, if there is one.
      on_epoch: called with (epochs done, logs) after each checkpoint.
      robust_validation: None, or a function from the `Checkpoint` to a callback that
        scores epochs; see `defenses.robust_validation`.

    Returns:
      The epochs' history as a list of dicts. The classifier holds the weights of the
      epoch with the best validation accuracy (the first of equals): clean, or under
      PGD where there is a `robust_validation`.

    Raises:
      ValueError: the loss stopped being finite.
    """
    checkpoint = Checkpoint(trainer, directory, plateau, on_epoch)
    scoring = [robust_validation(checkpoint)] if robust_validation else []
    for callback in scoring:
        checkpoint.score = callback.score
    first = checkpoint.restore() if resume else 0
    if first < epochs:
        trainer.fit(
            untuned(batches(first)),
            validation_data=untuned(validation),
            initial_epoch=first,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 2,
            callbacks=[
                *scoring,
                checkpoint,
                _CostNotice((epochs - first) * steps_per_epoch),
                keras.callbacks.TensorBoard(str(directory / "logs"), write_graph=False),
            ],
        )
    checkpoint.restore_best()
    return checkpoint.history


def untuned(dataset):
    """The same `tf.data.Dataset`, without the thread that tunes its parallelism.

    That thread looks at the pipeline after 10 ms, 20 ms, 40 ms, ..., and whoever drops
    the iterator waits for its next look: measured, a `fit` of 6 s took 10.23 s.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


class _CostNotice(keras.callbacks.Callback):
    """Says once, after a few timed steps, how long the whole training will take."""

    _UNTIMED, _TIMED = 5, 15  # Steps; the first ones compile.

    def __init__(self, steps):
        super().__init__()
        self._steps, self._done, self._started = steps, 0, None

    def on_train_batch_end(self, batch, logs=None):
        self._done += 1
        if self._done == self._UNTIMED:
            self._started = time.perf_counter()
        elif self._done == self._UNTIMED + self._TIMED:
            seconds = (time.perf_counter() - self._started) / self._TIMED
            print(
                f"About {self._steps * seconds / 60:.0f} min for {self._steps} steps "
                "and the validations; interrupt it at will, --resume goes on.",
                flush=True,
            )


def validation_batches(split, batch_size=500):
    """Clean batches of a `Split` for `fit`'s validation."""
    batches = tf.data.Dataset.from_tensor_slices(
        {"image": split.images, "label": split.labels}
    ).batch(batch_size)
    return batches.map(
        lambda b: {
            "image": tf.cast(b["image"], tf.float32) / 255.0,
            "label": b["label"],
        }
    )


def accuracy(classifier, split, batch_size=500):
    """Clean accuracy of a classifier on a `Split`, in inference mode."""
    correct = [
        np.argmax(
            classifier.predict_on_batch(as_float(split.images[i : i + batch_size])),
            -1,
        )
        == split.labels[i : i + batch_size]
        for i in range(0, len(split), batch_size)
    ]
    return float(np.concatenate(correct).mean())
