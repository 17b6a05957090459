"""Adversarial training as a Keras model: compile, fit, callbacks, save.

    robust = adversarial(model, "pgd_at", eps=8 / 255)
    robust.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    robust.fit(images, labels, validation_data=(more_images, more_labels), epochs=10)
    robust.save("robust.keras")              # the model itself, with its new weights

The weights are those of `model`, which is trained by it.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense.defenses import check_made
from tf_advdefense.defenses import losses
from tf_advdefense.defenses import make_defense
from tf_advdefense.defenses.defense import BoundDefense
from tf_advdefense.models.input_range import UNIT
from tf_advdefense.models.trainable import Trainable
from tf_advdefense.models.trainable import trainable
from tf_advdefense.training import batches
from tf_advdefense.training.averaging import Ema
from tf_advdefense.training.averaging import Swa
from tf_advdefense.training.averaging import make_average
from tf_advdefense.training.criteria import criterion_of
from tf_advdefense.training.static_examples import StaticExamples
from tf_advdefense.training.trainer import AdversarialTrainer

_HAIR = 1e-3  # Of the range of images, what rounding may add.


def adversarial(
    model: keras.Model,
    defense: str | BoundDefense = "pgd_at",
    *,
    input_range: tuple[float, float] = UNIT,
    from_logits: bool = False,
    dataset: str = "cifar10",
    attack: str | None = None,
    teacher: keras.Model | None = None,
    sources: Sequence[keras.Model] = (),
    examples: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    adv_fraction: float = 0.5,
    average: str | Ema | Swa | None = None,
    awp: float = 0.0,
    **hyper: Any,
) -> "AdversarialModel":
    """A model that trains another one to withstand attacks.

    Args:
      model: a classifier of images, with a softmax, a sigmoid or logits at its end.
      defense: a name of `DEFENSES`, or a defence of `make_defense`.
      input_range: (low, high) of the images that it takes; eps is always in units of
        images in [0, 1].
      from_logits: whether its outputs are logits, where its last layer does not show.
      dataset, attack, **hyper: of the defence, see `make_defense`: eps, nb_iter, beta.
      teacher: for `distillation`, a model trained at the same temperature; for `rslad`
        a robust one.
      sources: for `ensemble_at`, static models to craft on.
      examples: for `adversarial` and `ensemble`, (images, labels) of adversarial
        examples in [0, 1], such as `craft` makes, of one source each.
      adv_fraction: the share of each batch that they replace.
      average: of the weights, `Ema` or `Swa` of `training.averaging` or "ema": what the
        model holds between epochs and at the end; see `averaging`.
      awp: size of adversarial weight perturbations, such as 0.005; see
        `AdversarialTrainer`.

    Raises:
      ValueError: in one line, for a model that does not show its logits, unknown names,
        values out of range, and what the defence lacks or does not take.
    """
    form = trainable(model, input_range, from_logits)
    if isinstance(defense, str):
        parts: dict[str, Any] = {}
        if teacher is not None:
            parts["teacher"] = trainable(teacher, input_range).logits
        if sources:
            parts["sources"] = [trainable(s, input_range).logits for s in sources]
        defense = make_defense(
            defense, dataset=dataset, attack=attack, parts=parts, **hyper
        )
    else:
        given = dict(attack=attack, teacher=teacher is not None, sources=sources)
        check_made(defense, **given, **dict.fromkeys(hyper, True))
    needs_sets = defense.kind.check_sources is not None
    if needs_sets != bool(examples):
        received = "none" if needs_sets else f"`examples` for {defense.name}"
        raise ValueError(
            "The defences `adversarial` and `ensemble`, and no other, train on "
            f"`examples` made beforehand. Received: {received}."
        )
    static = StaticExamples(examples, adv_fraction) if examples else None
    if isinstance(average, str):
        average = make_average(average)
    return AdversarialModel(form, defense, static, average, awp)


class AdversarialModel(AdversarialTrainer):
    """A user's classifier under a defence: see `adversarial`.

    Attributes:
      given: the user's model, which `save`, `export`, `predict` and calls are about.
      classifier: the same up to its logits, for images in [0, 1].
      defense: what it is trained by.
    """

    def __init__(
        self,
        form: Trainable,
        defense: BoundDefense,
        examples: StaticExamples | None,
        average: Ema | Swa | None,
        awp: float,
    ):
        super().__init__(form.logits, defense, average, awp)
        self.given, self._form, self._examples = form.given, form, examples

    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        *,
        metrics: Any = None,
        weighted_metrics: Any = None,
        jit_compile: bool = False,
        **settings: Any,
    ) -> None:
        """As `keras.Model.compile`.

        Args:
          optimizer: of Keras; None takes the defence's own optimizer and schedule,
            where they are part of the method, or else those of `optimizers`.
          loss: of Keras, for targets and outputs as those of `given`; None is the
            cross-entropy, of classes or of rows of shares.
          metrics, weighted_metrics: of Keras, for the same. In training they are of
            the images that the defence trains on, in validation of clean ones.
          jit_compile: compile with XLA.
          **settings: run_eagerly, steps_per_execution.

        Raises:
          ValueError: in one line, for a defence that has a loss of its own.
        """
        given = None if loss is None else criterion_of(loss, self._form)
        self.defense.judge_by(given)
        self.criterion = given or losses.cross_entropy
        super().compile(
            optimizer,
            jit_compile,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            **settings,
        )

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *,
        validation_data: Any = None,
        validation_split: float = 0.0,
        **settings: Any,
    ) -> keras.callbacks.History:
        """As `AdversarialTrainer.fit`, which see; `x` as `given` takes it.

        Raises:
          ValueError: in one line, for images that are beyond `input_range`.
        """
        if validation_split:  # As Keras does: the last ones, before any shuffle.
            cut = int(len(x) * (1 - validation_split))
            validation_data = x[cut:], y[cut:]
            x, y = x[:cut], y[:cut]
            weight = settings.get("sample_weight")
            if weight is not None:
                validation_data += (weight[cut:],)
                settings["sample_weight"] = weight[:cut]
        if y is not None or isinstance(x, tf.data.Dataset):
            self._check_range((x, y) if y is not None else x)
        return super().fit(x, y, validation_data=validation_data, **settings)

    def _check_range(self, data):
        images, _ = self._first(data, 1)
        low, high = self._form.input_range
        if images.min() < -_HAIR or images.max() > 1 + _HAIR:
            least, most = (low + (high - low) * v for v in (images.min(), images.max()))
            raise ValueError(
                f"Images must lie in `input_range`, [{low:g}, {high:g}]. Received: "
                f"values from {least:.4g} to {most:.4g}. Say what the model takes, "
                "input_range=(0, 255), or scale them."
            )

    # === What the steps of `AdversarialTrainer` do otherwise ===

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The mean loss, the clean accuracy, and what `compile` was given."""
        own = getattr(self, "_compile_metrics", None)
        return [*super().metrics, *([own] if own is not None else [])]

    def call(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The outputs of `given`."""
        return self.given(images, training=training)

    def _batch(self, data, step=None):
        batch = batches.as_batch(data, step, self._form.input_range)
        if step is None or self._examples is None:
            return batch
        return self._examples.mixed_into(batch, step)

    def _first(self, data, number):
        return batches.first(data, number, self._form.input_range)

    def _measure(self, loss, batch, logits):
        super()._measure(loss, batch, logits)
        if self._compile_metrics is not None:
            targets, outputs = losses.targets_of(batch), self._form.outputs(logits)
            if not self._compile_metrics.built:
                self._build_metrics(targets, outputs)
            self._compile_metrics.update_state(targets, outputs, batch.get("weight"))

    def _build_metrics(self, targets, outputs):
        """Their variables outlive the function that is being traced."""
        with tf.init_scope():
            like = (tf.zeros([1, *t.shape[1:]], t.dtype) for t in (targets, outputs))
            self._compile_metrics.build(*like)

    # === What is kept is the user's model ===

    def save(self, filepath: Any, **settings: Any) -> None:
        """Saves `given`, which loads without this package; as `keras.Model.save`."""
        self.given.save(filepath, **settings)

    def export(self, filepath: Any, **settings: Any) -> None:
        """Exports `given`; as `keras.Model.export`."""
        self.given.export(filepath, **settings)
