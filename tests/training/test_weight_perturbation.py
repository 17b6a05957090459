"""Adversarial weight perturbation: the published step by hand, and what it leaves."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_advdefense as adv
from tf_advdefense.datasets import load
from tf_advdefense.defenses import make_defense
from tf_advdefense.training.run import train_run
from tf_advdefense.training.trainer import AdversarialTrainer

SHAPE, CLASSES, BATCH, RATE, GAMMA = (4, 4, 3), 3, 8, 0.1, 0.05


def make_model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES, bias_initializer="normal"),
        ]
    )


def make_arrays():
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, BATCH)
    return random.random((BATCH, *SHAPE), np.float32), labels


def stepped(awp, defense="none", **hyper):
    """A model after one step of gradient descent."""
    model = make_model()
    trainer = AdversarialTrainer(model, make_defense(defense, **hyper), awp=awp)
    trainer.compile(keras.optimizers.SGD(RATE))
    trainer.fit(*make_arrays(), batch_size=BATCH, shuffle=False, verbose=0)
    return model


def gradients_of(model):
    images, labels = make_arrays()
    with tf.GradientTape() as tape, keras.StatelessScope():
        logits = model(images, training=True)
        own = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_mean(own)
    return tape.gradient(loss, model.trainable_variables)


def test_a_step_by_hand():
    model = make_model()
    before = [v.numpy() for v in model.trainable_variables]
    for variable, gradient in zip(model.trainable_variables, gradients_of(model)):
        if len(variable.shape) > 1:
            size = GAMMA * np.linalg.norm(variable) / np.linalg.norm(gradient)
            variable.assign(variable + size * gradient)
    expected = [w - RATE * g for w, g in zip(before, gradients_of(model))]
    found = stepped(GAMMA).trainable_variables
    plain = stepped(0.0).trainable_variables
    for one, other, without in zip(found, expected, plain, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
        assert np.abs(one - np.asarray(without)).max() > 1e-5


def test_statistics_move_once():
    """By the pass whose gradient is applied: that of the moved weights."""
    images, _ = make_arrays()
    model = make_model()
    kernel, gradient = model.layers[0].kernel, gradients_of(model)[0]
    size = GAMMA * np.linalg.norm(kernel) / np.linalg.norm(gradient)
    kernel.assign(kernel + size * gradient)
    mean = np.mean(model.layers[0](images), axis=(0, 1, 2))
    moving = stepped(GAMMA).layers[1].moving_mean
    np.testing.assert_allclose(moving, 0.5 * mean, atol=1e-5)


def test_examples_are_those_of_the_weights_themselves():
    """At a radius of 0 PGD training is plain training, perturbed alike."""
    found, plain = stepped(GAMMA, "pgd_at", eps=0.0), stepped(GAMMA)
    for one, other in zip(found.variables, plain.variables, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_from_python_and_recorded(tmp_path):
    robust = adv.adversarial(make_model(), "none", awp=GAMMA)
    robust.compile(keras.optimizers.SGD(RATE))
    robust.fit(*make_arrays(), batch_size=BATCH, shuffle=False, verbose=0)
    for one, other in zip(robust.given.weights, stepped(GAMMA).weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    flat = [keras.layers.Flatten(), keras.layers.Dense(10)]
    linear = keras.Sequential([keras.Input((32, 32, 3)), *flat], name="linear")
    few = {"epochs": 1, "batch_size": 16, "train_examples": 16}
    run = train_run(
        linear, "none", load("digits"), awp=0.01, output_dir=tmp_path, **few
    )
    assert run.config["request"]["awp"] == 0.01


@pytest.mark.parametrize(
    "awp, defense, message",
    [
        (-0.1, "none", r"`awp` must be in \[0, 1\). Received: awp=-0.1"),
        ("big", "none", "Received: awp='big'"),
        (0.1, "free_at", "a second gradient of the same batch.*awp=0.1 of free_at"),
    ],
)
def test_refusals(awp, defense, message):
    with pytest.raises(ValueError, match=message) as error:
        AdversarialTrainer(make_model(), make_defense(defense), awp=awp)
    assert "\n" not in str(error.value)


def test_not_over_several_devices():
    with tf.distribute.OneDeviceStrategy("cpu:0").scope():
        model = make_model()
        with pytest.raises(ValueError, match="one device.*Leave `distribute` out"):
            AdversarialTrainer(model, make_defense("none"), awp=0.1)
