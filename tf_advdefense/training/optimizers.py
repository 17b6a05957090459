"""Optimisers and learning-rate schedules, and each model's defaults.

settings = {**DEFAULTS["resnet50"], "epochs": 6}
optimizer = make_optimizer(model, steps=6 * 351, **settings)
"""

import math

import keras

# What trains well out of the box, from scratch, at batch size 128. Deviation from
# the paper (SGD 0.1, plateau): with the ImageNet stem on 32x32 images and this
# initialisation Adam was at 51 % test accuracy after 240 steps, where SGD at 0.03
# (the best rate tried) was at 35 %.
DEFAULTS = {
    "resnet50": dict(
        optimizer="adam",
        learning_rate=1e-3,
        weight_decay=0.0,
        schedule="onecycle",
        epochs=30,
    ),
    "resnet50_cifar": dict(
        optimizer="sgd",
        learning_rate=0.1,
        weight_decay=5e-4,
        schedule="onecycle",
        epochs=30,
    ),
    "alexnet": dict(
        optimizer="adam",
        learning_rate=5e-4,
        weight_decay=0.0,
        schedule="onecycle",
        epochs=15,
    ),
    "small_resnet": dict(
        optimizer="sgd",
        learning_rate=0.1,
        weight_decay=5e-4,
        schedule="onecycle",
        epochs=12,
    ),
}
OTHER_MODELS = dict(
    optimizer="adam",
    learning_rate=1e-3,
    weight_decay=0.0,
    schedule="onecycle",
    epochs=30,
)

_MOMENTUM = 0.9
_WARM_UP = 0.2  # Share of a one-cycle run that climbs to the peak.


def _constant(peak, _):
    return peak


def _cosine(peak, steps):
    """Cosine from the peak to zero (Loshchilov and Hutter 2017, without restarts)."""
    return keras.optimizers.schedules.CosineDecay(peak, steps)


def _onecycle(peak, steps):
    """Linear climb over a fifth of the run, then cosine to zero (after Smith 2018)."""
    climb = max(1, round(_WARM_UP * steps))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - climb), warmup_target=peak, warmup_steps=climb
    )


@keras.saving.register_keras_serializable("tf_advdefense")
class _Triangle(keras.optimizers.schedules.LearningRateSchedule):
    """Linear from zero to the peak in the middle of the run and back (Smith 2017)."""

    def __init__(self, peak, steps):
        self.peak, self.steps = peak, steps

    def __call__(self, step):
        middle = self.steps / 2
        distance = keras.ops.abs(keras.ops.cast(step, "float32") - middle)
        return self.peak * keras.ops.maximum(1 - distance / middle, 0.0)

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps}


# Functions of (peak rate, total steps). `plateau` starts constant and is lowered
# by `Plateau` at the end of epochs.
SCHEDULES = {
    "onecycle": _onecycle,
    "cosine": _cosine,
    "plateau": _constant,
    "constant": _constant,
    "cyclic": _Triangle,
}


def _sgd(rate, weight_decay):
    # Keras decays weights outside the momentum (w -= rate * decay * w); published
    # coefficients run through it, which multiplies them by 1 / (1 - momentum).
    return keras.optimizers.SGD(
        rate,
        momentum=_MOMENTUM,
        nesterov=True,
        weight_decay=weight_decay / (1 - _MOMENTUM) or None,
    )


def _adam(rate, weight_decay):
    return keras.optimizers.Adam(rate, weight_decay=weight_decay or None)


OPTIMIZERS = {"sgd": _sgd, "adam": _adam}


def make_optimizer(model, *, optimizer, learning_rate, schedule, weight_decay, steps):
    """Build the optimizer of `model`'s trainable variables.

    Args:
      model: `keras.Model`, built.
      optimizer: a key of `OPTIMIZERS`.
      learning_rate: the schedule's peak.
      schedule: a key of `SCHEDULES`.
      weight_decay: coefficient of the published L2 penalty for SGD, decoupled
        coefficient (Loshchilov and Hutter 2019) for Adam. BatchNorm parameters and
        biases are not decayed.
      steps: number of updates in the whole run.

    Raises:
      ValueError: unknown names or values out of range.
    """
    for value, known in ((optimizer, OPTIMIZERS), (schedule, SCHEDULES)):
        if value not in known:
            raise ValueError(f"Unknown '{value}'. Known: {', '.join(known)}.")
    if not 0 < learning_rate < math.inf:
        raise ValueError(
            f"`learning_rate` must be positive. Received: learning_rate={learning_rate}"
        )
    if not 0 <= weight_decay < math.inf:
        raise ValueError(
            "`weight_decay` must not be negative. Received: "
            f"weight_decay={weight_decay}"
        )
    result = OPTIMIZERS[optimizer](
        SCHEDULES[schedule](learning_rate, steps), weight_decay
    )
    if weight_decay:
        result.exclude_from_weight_decay(
            var_list=[v for v in model.trainable_variables if len(v.shape) < 2]
        )
    if keras.mixed_precision.global_policy().compute_dtype == "float16":
        result = keras.mixed_precision.LossScaleOptimizer(result)
    result.build(model.trainable_variables)
    return result


class Plateau:
    """The paper's plateau rule: divide the rate by ten after `patience` idle epochs.

    Watches the mean training loss, as the paper does (PyTorch's ReduceLROnPlateau with
    factor 0.1, patience 5 and relative threshold 1e-4). `state` is JSON-able, so that
    a resumed run goes on exactly.
    """

    def __init__(self, factor=0.1, patience=5, threshold=1e-4):
        self._factor, self._patience, self._threshold = factor, patience, threshold
        self.state = {"best": None, "idle": 0}

    def factor(self, loss):
        """The factor for the next epoch's rate, given this epoch's training loss."""
        best = self.state["best"]
        if best is None or loss < best * (1 - self._threshold):
            self.state = {"best": loss, "idle": 0}
            return 1.0
        idle = self.state["idle"] + 1
        expired = idle > self._patience
        self.state = {"best": best, "idle": 0 if expired else idle}
        return self._factor if expired else 1.0
