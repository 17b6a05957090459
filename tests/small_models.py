"""Small models, images and budgets that the tests of attacks share.

Networks are seeded and untrained, and images are random; models whose adversarial
distances are known are in `closed_forms`, and golden values were recorded by the
programs beside them.
"""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.attacks import make_attack

SHAPE, CLASSES = (8, 8, 3), 4
GOLDEN = pathlib.Path(__file__).parent / "golden"

# Budgets small enough for a test, and steps large enough to fool a small network. Those
# of AutoAttack's parts are its own: what is traced of them serves the sequence, too.
BUDGETS = {
    "cw": {
        "max_iterations": 40,
        "binary_search_steps": 2,
        "learning_rate": 0.05,
        "initial_const": 1.0,
    },
    "ead": {"max_iterations": 40, "binary_search_steps": 2, "initial_const": 10.0},
    "bim": {"nb_iter": 4},
    "pgd": {"nb_iter": 4, "rand_init": True},
    "mim": {"nb_iter": 4},
    "fmn": {"steps": 20},
    "minimal_eps": {"search_steps": 4, "nb_iter": 4},
    "sparse_l1": {"nb_iter": 4, "rand_init": True},
    "apgd_ce": {"n_iter": 6},
    "apgd_dlr": {"n_iter": 6},
    "apgd_t": {"n_iter": 6},
    "autoattack": {"n_iter": 6, "n_queries": 60},
    "deepfool": {"max_iter": 10},
    "fab_t": {"n_iter": 6},
    "square": {"n_queries": 60, "eps": 0.1},
    "spsa": {"nb_iter": 5, "spsa_samples": 32, "learning_rate": 0.05, "eps": 0.1},
    "noise": {"n_draws": 40},
    "hop_skip_jump": {
        "num_iterations": 2,
        "initial_num_evals": 20,
        "max_queries": 150,
    },
}


def within_budget(name, **hyper):
    """The attack with its budget above, and with these hyperparameters."""
    return make_attack(name, **BUDGETS.get(name, {}) | hyper)


def network(seed=11, activation="relu", classes=CLASSES, shape=SHAPE):
    """A convolution and a dense layer; every value of an image counts."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(8, 3, 2, "same", activation=activation),
            keras.layers.Flatten(),
            keras.layers.Dense(classes),
        ]
    )


def deeper_network(seed=7):
    """Two convolutions, with layers that differ between training and inference."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(6, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(CLASSES),
        ]
    )


def two_layers(weights):
    """`tanh(x @ w1 + b1) @ w2 + b2` as a function of images, of any float kind."""

    def model(images):
        w1, b1, w2, b2 = (weights[name] for name in ("w1", "b1", "w2", "b2"))
        flat = tf.cast(tf.reshape(images, [-1, len(w1)]), w1.dtype)
        return tf.cast(tf.tanh(flat @ w1 + b1) @ w2 + b2, tf.float32)

    return model


def counted(model):
    """A function with the model's logits, and the list of shapes it is traced with."""
    traces = []

    def function(images):
        traces.append(images.shape)
        return model(images)

    return function, traces


def random_images(count, seed=0, shape=SHAPE):
    """Float32 images anywhere in [0, 1]."""
    return np.random.default_rng(seed).random((count, *shape), np.float32)


def classes(model, images):
    """The model's classes, int64 `[n]`."""
    return np.argmax(model(images), axis=1)


def golden_arrays(name):
    """The arrays of a file of golden values."""
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def golden_settings(arrays, prefix="args_"):
    """The names of the settings that a file of golden values has."""
    return {key.removeprefix(prefix) for key in arrays if key.startswith(prefix)}


def by_cleverhans(function, model, batch, *args, **kwargs):
    """What a function of CleverHans crafts of images with labels in [0, 1]."""
    images, labels = batch
    return function(
        model, images, *args, y=labels, clip_min=0.0, clip_max=1.0, **kwargs
    )


def assert_cleverhans(found, expected, norm):
    """Equal bit by bit, and in L2, whose gradients are scaled here first, rounded."""
    if norm == 2:
        np.testing.assert_allclose(found, expected, rtol=0, atol=2.4e-7)
    else:
        np.testing.assert_array_equal(found, expected)


def assert_refused(message, name, hyper):
    """Hyperparameters that an attack does not take are refused, with this line."""
    with pytest.raises(ValueError) as error:
        make_attack(name, **hyper)
    assert str(error.value) == message
