"""Optimisers and schedules: closed forms of their values and of one update."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.models import MODELS
from tf_advdefense.training import optimizers
from tf_advdefense.training import schedules
from tf_advdefense.training.registry import OPTIMIZERS

SETTINGS = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "schedule": "constant",
    "weight_decay": 0.0,
    "steps": 100,
}


@pytest.fixture
def model():
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, bias_initializer="ones"),
            keras.layers.BatchNormalization(),
        ]
    )


def make(model, **settings):
    return optimizers.make_optimizer(model, **{**SETTINGS, **settings})


def rates(optimizer, steps):
    values = []
    for step in steps:
        optimizer.iterations.assign(step)
        values.append(float(optimizer.learning_rate))
    return values


def one_update(model, optimizer):
    """(before, after) of each variable, where every gradient is 0.5."""
    before = [v.numpy() for v in model.trainable_variables]
    optimizer.apply([tf.fill(v.shape, 0.5) for v in before], model.trainable_variables)
    return zip(before, [v.numpy() for v in model.trainable_variables])


# === Schedules ===


@pytest.mark.parametrize(
    "schedule, expected",
    [
        ("constant", [0.1, 0.1, 0.1, 0.1, 0.1]),
        ("plateau", [0.1, 0.1, 0.1, 0.1, 0.1]),
        (
            "cosine",
            [
                0.1,
                *(0.05 * (1 + math.cos(math.pi * p)) for p in (0.1, 0.2)),
                0.05 * (1 + math.cos(math.pi * 0.6)),
                0.0,
            ],
        ),
        ("onecycle", [0.0, 0.05, 0.1, 0.05, 0.0]),
        ("cyclic", [0.0, 0.02, 0.04, 0.08, 0.0]),
        ("piecewise", [0.1, 0.1, 0.1, 0.01, 0.001]),
    ],
)
def test_schedule_at_start_climb_peak_middle_and_end(model, schedule, expected):
    optimizer = make(model, schedule=schedule)
    np.testing.assert_allclose(
        rates(optimizer, [0, 10, 20, 60, 100]), expected, atol=1e-7
    )


def test_onecycle_of_a_single_step(model):
    assert np.isfinite(rates(make(model, schedule="onecycle", steps=1), [0, 1])).all()


def test_plateau_is_the_one_of_pytorch():
    plateau = schedules.Plateau()
    losses = [
        *(1.0, 0.9, 0.89995),  # The last is no better by 1e-4 of the best: idle 1.
        *(0.95, 0.9, 0.91, 0.9),  # Idle 2 to 5.
        0.9,  # Idle 6 > 5: lowered, and counted afresh.
        *(0.9, 0.9, 0.9, 0.9, 0.9),  # Idle 1 to 5.
        0.8998,  # Better.
        *(1.0, 1.0, 1.0, 1.0, 1.0),
        *(float("inf"), 1.0),  # Lowered; idle 1.
    ]
    expected = [1.0] * len(losses)
    expected[7] = expected[19] = 0.1
    assert [plateau.factor(loss) for loss in losses] == expected
    assert plateau.state == {"best": 0.8998, "idle": 1}


def test_plateau_goes_on_from_its_state():
    first, second = schedules.Plateau(patience=1), schedules.Plateau(patience=1)
    assert [first.factor(1.0), first.factor(1.0)] == [1.0, 1.0]
    second.state = first.state
    assert second.factor(1.0) == 0.1


# === Updates ===


def test_sgd_decays_through_the_momentum_and_only_kernels(model):
    decay, rate = 1e-2, 0.1
    updates = list(one_update(model, make(model, weight_decay=decay)))
    assert len(updates) == 4
    for before, after in updates:
        decayed = before * (1 - rate * decay / (1 - 0.9) * (before.ndim > 1))
        np.testing.assert_allclose(after, decayed - rate * 0.5 * 1.9, rtol=1e-5)


def test_sgd_decay_shrinks_as_a_penalty_inside_the_momentum(model):
    decay, rate = 1e-2, 0.02
    optimizer = make(model, weight_decay=decay, learning_rate=rate)
    variables = model.trainable_variables
    penalised, velocity = variables[0].numpy(), 0.0
    expected = penalised * np.exp(-100 * rate * decay / (1 - 0.9))
    for _ in range(100):
        velocity = 0.9 * velocity - rate * decay * penalised
        penalised = penalised + 0.9 * velocity - rate * decay * penalised
        optimizer.apply([tf.zeros(v.shape) for v in variables], variables)
    np.testing.assert_allclose(variables[0], penalised, rtol=0.03)
    np.testing.assert_allclose(variables[0], expected, rtol=0.01)


def test_momentum_is_plain(model):
    """Two updates of one gradient: the step, and then the step and 0.9 of it."""
    optimizer = make(model, optimizer="momentum")
    first = list(one_update(model, optimizer))
    second = list(one_update(model, optimizer))
    for (before, between), (_, after) in zip(first, second, strict=True):
        np.testing.assert_allclose(between, before - 0.1 * 0.5, rtol=1e-5)
        np.testing.assert_allclose(after, between - 0.1 * 0.5 * 1.9, rtol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_long_gradients_are_scaled_to_the_norm_of_all_weights(model, policy):
    # Of 0.5 in each of 21 weights the norm is 2.29; under float16 it is measured
    # after the loss's scale is taken off again.
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        make_ = functools.partial(make, model, optimizer="momentum", learning_rate=0.1)
        clipped, long = make_(clip_norm=1.0), make_(clip_norm=3.0)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    number = sum(v.numpy().size for v in model.trainable_variables)
    scale = getattr(clipped, "initial_scale", 1.0)
    for optimizer, each in ((clipped, 1 / math.sqrt(number)), (long, 0.5)):
        before = [v.numpy() for v in model.trainable_variables]
        gradients = [tf.fill(v.shape, 0.5 * scale) for v in before]
        optimizer.apply(gradients, model.trainable_variables)
        for old, new in zip(before, model.trainable_variables, strict=True):
            np.testing.assert_allclose(old - new.numpy(), 0.1 * each, rtol=1e-4)


def test_adam_decay_is_decoupled(model):
    decay, rate = 1.0, 1e-3
    optimizer = make(model, optimizer="adam", learning_rate=rate, weight_decay=decay)
    for before, after in one_update(model, optimizer):
        decayed = before * (1 - rate * decay * (before.ndim > 1))
        np.testing.assert_allclose(after, decayed - rate, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_decay(model, name):
    optimizer = make(model, optimizer=name)
    for before, after in one_update(model, optimizer):
        steps = before - after
        np.testing.assert_allclose(steps, steps.flat[0], rtol=1e-4)


def test_float16_scales_the_loss(model):
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        optimizer = make(model, schedule="plateau")
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)
    optimizer.learning_rate.assign(0.01)
    assert float(optimizer.inner_optimizer.learning_rate) == np.float32(0.01)


@pytest.mark.parametrize("name", [*MODELS, None])
def test_defaults_make_an_optimizer(model, name):
    settings = dict(optimizers.DEFAULTS[name] if name else optimizers.OTHER_MODELS)
    epochs = settings.pop("epochs")
    optimizer = optimizers.make_optimizer(model, steps=epochs * 10, **settings)
    peak = max(rates(optimizer, range(epochs * 10)))
    assert peak == pytest.approx(settings["learning_rate"]) and epochs > 1


# === Refusals ===


@pytest.mark.parametrize(
    "setting, message",
    [
        (
            {"optimizer": "sdg"},
            "Unknown optimizer 'sdg'. Did you mean 'sgd'. Known: sgd, momentum, adam.",
        ),
        (
            {"schedule": "step"},
            "Unknown schedule 'step'. Known: onecycle, cosine, plateau, co",
        ),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive.*learning_rate=0"),
        ({"learning_rate": -0.1}, "must be positive"),
        ({"learning_rate": math.nan}, "must be positive.*nan"),
        ({"learning_rate": math.inf}, "must be positive.*inf"),
        ({"weight_decay": -1e-4}, "`weight_decay` must not be negative.*=-0.0001"),
        ({"clip_norm": 0.0}, "`clip_norm` must be positive. Received: clip_norm=0.0"),
        ({"weight_decay": math.nan}, "`weight_decay` must not be negative.*nan"),
    ],
)
def test_refusals(model, setting, message):
    with pytest.raises(ValueError, match=message):
        make(model, **setting)
