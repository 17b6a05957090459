"""Seconds of functions, timed in turn, and the compiled floors that they stand on."""

from collections.abc import Callable
import itertools
import statistics
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense import defenses
from tf_advdefense.attacks.core.gradient_check import compute_gradient
from tf_advdefense.attacks.core.gradient_check import cross_entropy
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.training import optimizers
from tf_advdefense.training.train import untuned
from tf_advdefense.training.trainer import AdversarialTrainer


def in_turn(repeats: int, *functions: Callable[[], Any]) -> list[list[float]]:
    """The seconds of each function, a list, timed in turn after one call each."""
    times: list[list[float]] = [[] for _ in functions]
    for repeat, (function, own) in itertools.product(
        range(repeats + 1), list(zip(functions, times))
    ):
        start = time.perf_counter()
        result = function()
        if result is not None:
            np.asarray(result)  # Wait for it.
        if repeat:
            own.append(time.perf_counter() - start)
    return times


def print_times(
    what: str, seconds: list[float], floor: list[float] | None = None, times: int = 1
) -> None:
    """The median, and that of the ratios to as many times the floor, pair by pair."""
    line = f"{what:>26}: {statistics.median(seconds):8.4f} s"
    if floor is not None:
        ratios = [own / (base * times) for own, base in zip(seconds, floor)]
        line += (
            f"   {statistics.median(ratios):.3f} of its floor "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )
    print(line, flush=True)


def input_gradient(
    model: keras.Model, images: tf.Tensor, labels: tf.Tensor
) -> Callable[[], tf.Tensor]:
    """A compiled gradient of the cross-entropy by the images."""
    model_fn = inference(model)
    return lambda: compute_gradient(model_fn, cross_entropy, images, labels, False)


def bare_steps(
    model: keras.Model,
    settings: dict[str, Any],
    images: tf.Tensor,
    labels: tf.Tensor,
    number: int,
) -> Callable[[], tf.Tensor]:
    """As many compiled forward + backward + update steps, on a copy of the model."""
    model = keras.models.clone_model(model)
    optimizer, plain = _optimizer(model, settings), defenses.make_defense("none")

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss, _ = plain(model, {"image": images, "label": labels})
        optimizer.apply(
            tape.gradient(loss, model.trainable_variables), model.trainable_variables
        )
        return loss

    def steps() -> tf.Tensor:
        for _ in range(number - 1):
            step()
        return step()

    return steps


def fit_steps(
    model: keras.Model,
    settings: dict[str, Any],
    defense: Any,
    batches: tf.data.Dataset,
    number: int,
) -> Callable[[], None]:
    """As many training steps of a defence under `fit`, on a copy of the model."""
    trainer = AdversarialTrainer(keras.models.clone_model(model), defense)
    trainer.compile(optimizer=_optimizer(trainer.classifier, settings))
    batches = untuned(batches)

    def fit() -> None:
        # Keras' own: it is the step that is timed, not what a defence adds to `fit`.
        keras.Model.fit(
            trainer, batches, steps_per_epoch=number, verbose=0, shuffle=False
        )

    return fit


def again(batch: dict[str, tf.Tensor]) -> tf.data.Dataset:
    """The same batch for ever."""
    return tf.data.Dataset.from_tensors(batch).repeat()


def _optimizer(model: keras.Model, settings: dict[str, Any]) -> Any:
    chosen = {key: value for key, value in settings.items() if key != "epochs"}
    return optimizers.make_optimizer(model, steps=10**6, **chosen)
