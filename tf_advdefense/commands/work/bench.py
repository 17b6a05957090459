"""Times training steps and PGD on a model, against their floors."""

import os
from typing import Any

from absl.flags import FlagValues
import keras
import numpy as np
import tensorflow as tf

from tf_advdefense import attacks
from tf_advdefense import defenses
from tf_advdefense import distribution
from tf_advdefense import models
from tf_advdefense.artifacts import runs
from tf_advdefense.commands.work.bench_attacks import time_attacks
from tf_advdefense.commands.work.timing import bare_steps
from tf_advdefense.commands.work.timing import fit_steps
from tf_advdefense.commands.work.timing import in_turn
from tf_advdefense.commands.work.timing import input_gradient
from tf_advdefense.commands.work.timing import print_times
from tf_advdefense.training import optimizers

# Input gradients and plain steps in a step of a defence, from its hyperparameters.
_PASSES = {
    "fgsm_at": lambda hyper: (1, 2),
    "pgd_at": lambda hyper: (hyper["nb_iter"], 1),
    "trades": lambda hyper: (hyper["nb_iter"], 2),
    "fast_at": lambda hyper: (1, 1),
}
_STEPS = 20  # Training steps in one timing.
_DEFENDED_STEPS = 5
_PGD_STEPS = 20


def bench(flags: FlagValues) -> None:
    """Prints a heading and the times that the flags ask for."""
    distribution.set_up()
    name, model = _model(flags)
    print(
        f"{name}: {model.count_params():,} parameters, "
        f"batch {flags.batch_size}, TensorFlow {tf.__version__}, "
        f"{os.cpu_count()} processors"
    )
    if flags.attacks:
        time_attacks(flags, model)
    elif flags.training:
        _time_defended_steps(flags, model, *_batch(model, flags.batch_size))
    else:
        _time_hot_paths(flags, model, *_batch(model, flags.batch_size))


def _model(flags: FlagValues) -> tuple[str, keras.Model]:
    """The model to be timed, and what it is called."""
    if flags.model_path:
        return flags.model_path, runs.load_model(flags.model_path)
    if flags.run:
        run = runs.load_run(flags.output_dir, flags.run)
        return str(run.model_path), run.load_model()
    return flags.model, models.build_model(flags.model, (32, 32, 3), 10)


def _batch(model: keras.Model, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Random images and labels: their arithmetic takes as long as that of others."""
    rng = np.random.default_rng(0)
    images = tf.constant(rng.random((size, *model.input_shape[1:]), np.float32))
    return images, tf.constant(rng.integers(0, model.output_shape[-1], size))


def _time_hot_paths(
    flags: FlagValues, model: keras.Model, images: tf.Tensor, labels: tf.Tensor
) -> None:
    attack = attacks.make_attack("pgd", nb_iter=_PGD_STEPS)
    forward, gradient, pgd = in_turn(
        flags.repeats,
        tf.function(lambda: model(images, training=False), autograph=False),
        input_gradient(model, images, labels),
        lambda: attack(model, images, labels),
    )
    print_times("forward", forward)
    print_times("input gradient", gradient)
    print_times(f"PGD-{_PGD_STEPS}", pgd, gradient, _PGD_STEPS)
    settings, plain = _settings(flags), defenses.make_defense("none")
    bare, fit = in_turn(
        flags.repeats,
        bare_steps(model, settings, images, labels, _STEPS),
        fit_steps(model, settings, plain, images, labels, _STEPS),
    )
    print_times("bare training steps", bare)
    print_times("steps in fit", fit, bare)


def _time_defended_steps(
    flags: FlagValues, model: keras.Model, images: tf.Tensor, labels: tf.Tensor
) -> None:
    """A line per defence: its step, and the gradients and plain step within it."""
    gradient = input_gradient(model, images, labels)
    settings = _settings(flags)
    bare = bare_steps(model, settings, images, labels, 1)
    for name in flags.only or _PASSES:
        if name not in _PASSES:
            raise ValueError(
                f"--training times {', '.join(_PASSES)}. Received: --only={name}."
            )
        defense = defenses.make_defense(name)
        gradients, plain = _PASSES[name](defense.hyper)

        def floor(gradients: int = gradients, plain: int = plain) -> None:
            # As long as the step: what else runs on the machine delays both alike.
            for _ in range(_DEFENDED_STEPS):
                for _ in range(gradients):
                    gradient()
                for _ in range(plain):
                    bare()

        base, step = in_turn(
            flags.repeats,
            floor,
            fit_steps(model, settings, defense, images, labels, _DEFENDED_STEPS),
        )
        print_times(f"{_DEFENDED_STEPS} x ({gradients} gradients, {plain} steps)", base)
        print_times(f"{_DEFENDED_STEPS} steps of {name}", step, base)


def _settings(flags: FlagValues) -> dict[str, Any]:
    """The optimizer's, as they are by default for --model."""
    return optimizers.DEFAULTS.get(flags.model, optimizers.OTHER_MODELS)
