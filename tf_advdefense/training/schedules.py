"""Learning-rate schedules: functions of the peak rate and the number of updates."""

from typing import Any

import keras

_WARM_UP = 0.2  # Share of a one-cycle run that climbs to the peak.


def constant(peak: float, steps: int) -> float:
    """The peak, all the time."""
    return peak


def cosine(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Cosine from the peak to zero (Loshchilov and Hutter 2017, without restarts)."""
    return keras.optimizers.schedules.CosineDecay(peak, steps)


def onecycle(
    peak: float, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear climb over a fifth of the run, then cosine to zero (after Smith 2018)."""
    climb = max(1, round(_WARM_UP * steps))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - climb), warmup_target=peak, warmup_steps=climb
    )


@keras.saving.register_keras_serializable("tf_advdefense")
class Triangle(keras.optimizers.schedules.LearningRateSchedule):
    """Linear from zero to the peak in the middle of the run and back (Smith 2017)."""

    def __init__(self, peak: float, steps: int):
        self.peak, self.steps = peak, steps

    def __call__(self, step: Any) -> Any:
        middle = self.steps / 2
        distance = keras.ops.abs(keras.ops.cast(step, "float32") - middle)
        return self.peak * keras.ops.maximum(1 - distance / middle, 0.0)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "steps": self.steps}


def piecewise(
    peak: float, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """A tenth of the peak from the middle of the run on, a hundredth from 3/4 on.

    The steps of Rice et al. 2020 (arXiv:2002.11569), section 3, at 100 and 150 of 200
    epochs.
    """
    places = [steps // 2, 3 * steps // 4]
    rates = [peak, peak / 10, peak / 100]
    return keras.optimizers.schedules.PiecewiseConstantDecay(places, rates)


class Plateau:
    """The paper's plateau rule: divide the rate by ten after `patience` idle epochs.

    Watches the mean training loss, as the paper does (PyTorch's ReduceLROnPlateau with
    factor 0.1, patience 5 and relative threshold 1e-4). `state` is JSON-able, so that
    a resumed run goes on exactly.
    """

    def __init__(self, factor: float = 0.1, patience: int = 5, threshold: float = 1e-4):
        self._factor, self._patience, self._threshold = factor, patience, threshold
        self.state = {"best": None, "idle": 0}

    def factor(self, loss: float) -> float:
        """The factor for the next epoch's rate, given this epoch's training loss."""
        best = self.state["best"]
        if best is None or loss < best * (1 - self._threshold):
            self.state = {"best": loss, "idle": 0}
            return 1.0
        idle = self.state["idle"] + 1
        expired = idle > self._patience
        self.state = {"best": best, "idle": 0 if expired else idle}
        return self._factor if expired else 1.0
