"""The training loop: `AdversarialTrainer` under `keras.Model.fit`.

    trainer = AdversarialTrainer(build_model("resnet50", (32, 32, 3), 10),
                                 make_defense("fast_at"))
    trainer.compile()
    trainer.fit(images, labels, validation_data=(more_images, more_labels))
    trainer.classifier.save("model.keras")

The trainer adds no variables to the classifier, which is what is saved. What a run on
disk needs beside it, exact resumption and logs, is in `train`.
"""

from collections.abc import Sequence
import contextlib
from typing import Any
import warnings

import keras
import tensorflow as tf

from tf_advdefense import distribution
from tf_advdefense.defenses import losses
from tf_advdefense.training import batches
from tf_advdefense.training import fused
from tf_advdefense.training import optimizers
from tf_advdefense.training import products
from tf_advdefense.training import weight_perturbation
from tf_advdefense.training.averaging import Ema
from tf_advdefense.training.averaging import Swa
from tf_advdefense.training.averaging import WeightAverage
from tf_advdefense.training.checkpoints import Checkpoint
from tf_advdefense.training.robust_validation import EXAMPLES
from tf_advdefense.training.robust_validation import validation_of


class AdversarialTrainer(keras.Model):
    """A classifier and the defence it is trained with.

    Args:
      classifier: `keras.Model` from images in [0, 1] to logits.
      defense: of `make_defense`, for this training alone; or any function
        `defense(model, batch) -> (loss, clean_logits)`.
      average: of the weights, which the classifier holds between epochs and at the end;
        None: it holds the trained ones.
      awp: how far each kernel is moved against the training before each update, as a
        share of its norm; see `weight_perturbation`.

    Raises:
      ValueError: in one line, for an `awp` out of range, or that cannot be had.
    """

    def __init__(
        self,
        classifier: keras.Model,
        defense: Any,
        average: Ema | Swa | None = None,
        awp: float = 0.0,
    ):
        super().__init__(name=f"{classifier.name}_trainer")
        self.classifier = classifier
        self.defense = defense
        self.criterion = losses.cross_entropy
        self.loss_mean = keras.metrics.Mean("loss")
        self.clean_accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")
        self.built = True  # Nothing to build: the classifier is.
        self._own_optimizer = False
        if hasattr(defense, "build"):
            defense.build(tuple(classifier.input_shape[1:]))
        self.averaging = [WeightAverage(average, classifier)] if average else []
        self.awp = weight_perturbation.checked(awp, defense)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The mean loss, and the accuracy on the clean images."""
        return [self.loss_mean, self.clean_accuracy]

    @property
    def replays(self) -> int:
        """How often in a row each batch is trained on."""
        return getattr(self.defense, "replays", 1)

    def call(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The classifier's logits."""
        return self.classifier(images, training=training)

    def compile(
        self, optimizer: Any = None, jit_compile: bool = False, **settings: Any
    ) -> None:
        """As `keras.Model.compile`.

        Args:
          optimizer: of Keras; None takes the defence's own optimizer and schedule,
            where they are part of the method, or else those of `optimizers`.
          jit_compile: compile with XLA.
        """
        self._own_optimizer = optimizer is None
        optimizer = "adam" if optimizer is None else optimizer
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **settings)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *,
        epochs: int | None = None,
        validation_data: Any = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        **settings: Any,
    ) -> keras.callbacks.History:
        """As `keras.Model.fit`, with what belongs to the defence.

        Epochs of a defence with a radius are scored by the accuracy that it claims
        (`Defense.score`) on the first 512 images of `validation_data`: the classifier
        ends with the weights of the best one, and some defences end a training where
        it collapses.

        Args:
          x, y: images float32 `[n, height, width, channels]` in [0, 1], or uint8, and
            labels int `[n]`; or a dataset of (x, y), (x, y, sample_weight) or of
            dicts, see `batches.as_batch`.
          epochs: None takes the defence's own where `compile` did, or else 1.

        Raises:
          ValueError: in one line, for a dataset without an end and no
            `steps_per_epoch`.
        """
        with self.distribute_strategy.scope():
            if self._own_optimizer:
                epochs = self._make_optimizer(epochs, batches.count(x, settings))
            self._build_optimizer()
        checkpoint = Checkpoint(self, None)
        scoring = self._scoring(checkpoint, validation_data)
        history = super().fit(
            x,
            y,
            epochs=epochs or 1,
            validation_data=validation_data,
            callbacks=[*self.averaging, *scoring, *callbacks],
            **settings,
        )
        if scoring:
            checkpoint.restore_best()
        return history

    def _build_optimizer(self):
        """Makes its variables, which no loop can make, nor several devices."""
        if not self.optimizer.built:
            self.optimizer.build(self.classifier.trainable_variables)

    def _make_optimizer(self, epochs, steps):
        """The defence's own, for so many epochs, or its own number; returns it."""
        own = getattr(self.defense, "training", {})
        settings = {**optimizers.OTHER_MODELS, **own}
        own_epochs = settings.pop("epochs")
        epochs = own_epochs if epochs is None else epochs
        self.optimizer = optimizers.make_optimizer(
            self.classifier, steps=epochs * steps * self.replays, **settings
        )
        self.train_function = None  # It holds the former optimizer.
        return epochs

    def _scoring(self, checkpoint, validation_data):
        if validation_data is None:
            if getattr(self.defense, "max_drop", None) is not None:
                warnings.warn(
                    "`validation_data` is missing: nothing guards this training "
                    "against catastrophic overfitting.",
                    stacklevel=3,
                )
            return []
        images, labels = self._first(validation_data, EXAMPLES)
        found = validation_of(self.defense, checkpoint, images, labels)
        return [*found, checkpoint] if found else []

    def _first(self, data, number):
        """The first images and labels of what `fit` or its validation is given."""
        return batches.first(data, number)

    def load_weights(self, filepath: Any, **settings: Any) -> None:
        """As `keras.Model.load_weights`, of a file of `save_weights`."""
        if self.compiled:  # The file holds its state, too.
            self._build_optimizer()
        super().load_weights(filepath, **settings)

    def _maybe_symbolic_build(self, *args, **kwargs):
        """Do nothing: Keras would take a batch of the first epoch to build with."""

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Updates of the classifier on one batch, as many as the defence replays it.

        Args:
          data: {"image", "label", ...}, (x, y) or (x, y, sample_weight); see
            `batches.as_batch`.
        """
        batch = self._batch(data, self.optimizer.iterations)
        if self.replays == 1 or tf.distribute.has_strategy():
            for _ in range(self.replays):  # In no loop could devices meet.
                self._update(batch)
        else:
            self._build_optimizer()
            tf.while_loop(
                lambda i: i < self.replays,
                lambda i: [self._update(batch) or i + 1],
                [tf.constant(0)],
            )
        return self._results()

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Clean loss and accuracy, in inference mode; `data` as of `train_step`."""
        batch = self._batch(data)
        logits = self.classifier(batch["image"], training=False)
        targets, weight = losses.targets_of(batch), batch.get("weight")
        loss = self.criterion(targets, logits, weight=weight) + self._penalty()
        self._measure(loss, batch, logits)
        return self._results()

    def _batch(self, data, step=None):
        """What a step takes: of `fit` with the number of updates so far."""
        return batches.as_batch(data, step)

    def _update(self, batch):
        """One update of the classifier."""
        variables, defense = self.classifier.trainable_variables, self.defense
        if getattr(defense, "craft", None) is not None:
            # Outside the tape, which would record every iteration of the attack.
            batch, defense = defense.craft(self.classifier, batch), defense.loss
        with self._moved(defense, batch):
            loss, logits, gradients = self._gradients(defense, batch)
        self.optimizer.apply(gradients, variables)
        for average in self.averaging:
            average.update(self.optimizer.iterations)
        self._measure(loss, batch, logits)

    def _gradients(self, defense, batch):
        """The loss, the clean images' logits, and the gradients of the scaled loss."""
        with (
            tf.GradientTape() as tape,
            products.as_products(self.classifier),
            fused.fused_norms(self.classifier),
        ):
            loss, logits = defense(self.classifier, batch)
            loss += self._penalty()
            scaled = self.optimizer.scale_loss(distribution.replica_share(loss))
        variables = self.classifier.trainable_variables
        return loss, logits, tape.gradient(scaled, variables)

    def _moved(self, defense, batch):
        """Context in which the weights are perturbed, where they are to be."""
        if not self.awp:
            return contextlib.nullcontext()
        with keras.StatelessScope():  # Nothing else learns from this pass.
            _, _, gradients = self._gradients(defense, batch)
        weights = self.classifier.trainable_variables
        return weight_perturbation.perturbed(weights, gradients, self.awp)

    def _penalty(self):
        """Of the classifier's own regularizers."""
        return tf.add_n([0.0, *self.classifier.losses])

    def _measure(self, loss, batch, logits):
        labels = batch["label"]
        self.loss_mean.update_state(loss, sample_weight=tf.shape(labels)[0])
        self.clean_accuracy.update_state(labels, logits)

    def _results(self):
        results = {}
        for metric in self.metrics:
            value = metric.result()
            results |= value if isinstance(value, dict) else {metric.name: value}
        return {k: distribution.as_result(value) for k, value in results.items()}
