"""Averages of a training's weights: flatter minima, and better robust accuracy.

    average = WeightAverage(Ema(decay=0.995), model)
    average.update(optimizer.iterations)      # after each update

Between epochs the model holds the average, so that validation, scores, checkpoints and
whatever else looks at it then see what the training ends with; within an epoch it holds
the weights that are trained.
"""

from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from tf_advdefense.training.registry import AVERAGES


class Ema(NamedTuple):
    """The exponential moving average, as Gowal et al. 2020 (arXiv:2010.03593) have it.

    Section 3.3 there; the decay is theirs for CIFAR-10. It is lower in the first
    updates, (1 + t) / (10 + t), so that the random weights of the start are forgotten.

    Attributes:
      decay: the share of the average that an update keeps, in [0, 1).
    """

    decay: float = 0.995

    def share(self, updates: Any) -> tf.Tensor:
        """Of the weights in the average, after so many updates."""
        updates = tf.cast(updates, tf.float32)
        return tf.maximum(1.0 - self.decay, 9.0 / (10.0 + updates))


class Swa(NamedTuple):
    """Stochastic weight averaging, Izmailov et al. 2018 (arXiv:1803.05407), section 3.

    Deviations: every update counts, not the end of every epoch; and the rate is that of
    the schedule, which need not be constant or cyclic.

    Attributes:
      start: number of updates before the first one that counts.
    """

    start: int

    def share(self, updates: Any) -> tf.Tensor:
        """Of the weights in the average, after so many updates."""
        counted = tf.cast(updates, tf.float32) - float(self.start)
        return 1.0 / tf.maximum(counted, 1.0)


class WeightAverage(keras.callbacks.Callback):
    """The average of a model's weights, kept while it is trained.

    BatchNorm's moving statistics are averaged alike, as Gowal et al. do; Izmailov et
    al. compute them anew.

    Args:
      kind: `Ema` or `Swa`.
      model: `keras.Model`, built; not yet trained.
    """

    def __init__(self, kind: Ema | Swa, model: keras.Model):
        super().__init__()
        self._kind, self._in_model = check(kind), True
        self._of = [v.value for v in model.variables if v.dtype.startswith("float")]
        # While the model holds the trained weights, the average; and the other way.
        self._other = [tf.Variable(v, trainable=False) for v in self._of]

    @property
    def variables(self) -> list[tf.Variable]:
        """What a checkpoint between epochs must hold beside the model."""
        return self._other

    def update(self, updates: tf.Tensor) -> None:
        """Takes the model's weights into the average; `updates` there were so far."""
        share = self._kind.share(updates)

        def across(strategy, share):
            for mean, value in zip(self._other, self._of):
                strategy.extended.update(
                    mean,
                    lambda mean, value, share: mean.assign(
                        mean + tf.cast(share, mean.dtype) * (value - mean)
                    ),
                    args=(value, share),
                )

        tf.distribute.get_replica_context().merge_call(across, args=(share,))

    def show(self, average: bool) -> None:
        """Puts the average, or the trained weights, into the model."""
        if average == self._in_model:
            return
        for one, other in zip(self._of, self._other):
            held = one.read_value()
            one.assign(other)
            other.assign(held)
        self._in_model = average

    def restored(self) -> None:
        """To be told that `variables` and the model are those of a checkpoint."""
        self._in_model = True

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.show(average=False)

    def on_test_begin(self, logs: dict | None = None) -> None:
        self.show(average=True)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.show(average=True)


def make_average(name: str, steps: int | None = None, **hyper: Any) -> Ema | Swa:
    """The average of a name.

    Args:
      name: a key of `AVERAGES`.
      steps: updates of the whole training; where they are known, Swa starts after three
        quarters of them, as Izmailov et al. do, section 4.1.
      **hyper: `decay` of "ema", `start` of "swa".

    Raises:
      ValueError: in one line, for unknown names or values out of range.
    """
    kind = AVERAGES.find(name)
    for each in hyper:
        if each not in kind._fields:
            raise ValueError(
                f"The average '{name}' has no hyperparameter '{each}'. "
                f"Known: {', '.join(kind._fields)}."
            )
    if kind is Swa and steps is not None:
        hyper = {"start": 3 * steps // 4, **hyper}
    if kind is Swa and "start" not in hyper:
        raise ValueError(
            "`average=swa` must know when it starts. Received: no number of updates. "
            "Give `average=Swa(start=...)` of `training.averaging`."
        )
    return check(kind(**hyper))


def check(average: Ema | Swa) -> Ema | Swa:
    """The average itself; raises ValueError for values out of range."""
    if isinstance(average, Ema) and not _is_share(average.decay):
        raise ValueError(
            f"`decay` must be in [0, 1). Received: decay={average.decay!r}."
        )
    if isinstance(average, Swa) and not _is_count(average.start):
        raise ValueError(
            f"`start` must be a number of updates. Received: start={average.start!r}."
        )
    return average


def _is_share(value):
    return isinstance(value, int | float) and 0 <= value < 1


def _is_count(value):
    return isinstance(value, int) and value >= 0
