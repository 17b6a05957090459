"""Times training steps and PGD on a model, against their floors."""

import os

from absl.flags import FlagValues
import keras
import numpy as np
import tensorflow as tf

from tf_advdefense import attacks
from tf_advdefense import datasets
from tf_advdefense import defenses
from tf_advdefense import distribution
from tf_advdefense import models
from tf_advdefense.artifacts import runs
from tf_advdefense.commands.work.bench_attacks import time_attacks
from tf_advdefense.commands.work.bench_training import time_training
from tf_advdefense.commands.work.data import reading_of
from tf_advdefense.commands.work.timing import again
from tf_advdefense.commands.work.timing import bare_steps
from tf_advdefense.commands.work.timing import fit_steps
from tf_advdefense.commands.work.timing import in_turn
from tf_advdefense.commands.work.timing import input_gradient
from tf_advdefense.commands.work.timing import print_times
from tf_advdefense.datasets.pipeline import training_batches
from tf_advdefense.training import optimizers

_STEPS = 20  # Training steps in one timing.
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
        time_training(flags, model, *_batch(model, flags.batch_size))
    elif flags.streaming:
        _time_streaming(flags, model)
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
    settings = optimizers.DEFAULTS.get(flags.model, optimizers.OTHER_MODELS)
    plain = defenses.make_defense("none")
    batches = again({"image": images, "label": labels})
    bare, fit = in_turn(
        flags.repeats,
        bare_steps(model, settings, images, labels, _STEPS),
        fit_steps(model, settings, plain, batches, _STEPS),
    )
    print_times("bare training steps", bare)
    print_times("steps in fit", fit, bare)


def _time_streaming(flags: FlagValues, model: keras.Model) -> None:
    """Steps on the training images of a data set, in memory and from the disk."""
    settings = optimizers.DEFAULTS.get(flags.model, optimizers.OTHER_MODELS)
    plain, reading = defenses.make_defense("none"), reading_of(flags)
    steps = []
    for in_memory in ("yes", "no"):
        where = reading | {"in_memory": in_memory}
        data = datasets.load(flags.dataset, flags.data_dir, **where)
        if data.image_shape != model.input_shape[1:]:
            raise ValueError(
                "--streaming trains a model on images of its shape. Received: "
                f"{model.input_shape[1:]} and {data.image_shape} of {data.name}."
            )
        batches = training_batches(
            data.train,
            batch_size=flags.batch_size,
            epochs=_STEPS,  # Of any data set enough.
            seed=flags.seed,
            augment=data.augmentation,
        )
        steps.append(fit_steps(model, settings, plain, batches, _STEPS))
    memory, disk = in_turn(flags.repeats, *steps)
    print_times("steps, images in memory", memory)
    print_times("steps, images on disk", disk, memory)
