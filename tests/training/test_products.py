"""Convolutions as products: their own results and gradients."""

import contextlib

import keras
from keras import layers
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.defenses import make_defense
from tf_advdefense.training import products
from tf_advdefense.training.trainer import AdversarialTrainer

_COVERED = [  # Sides, kernel, strides.
    ((8, 8), 1, 1),
    ((8, 5), 1, 2),
    ((1, 1), 1, 2),
    ((1, 1), 3, 1),
    ((2, 2), 3, 1),
    ((1, 2), (3, 5), 1),
    ((2, 2), 2, 1),
    ((65, 64), 1, 2),  # Where oneDNN may crash.
]
_LEFT = [((9, 8), 1, 1), ((4, 4), 3, 1), ((2, 2), 3, 2), ((None, None), 1, 1)]


def _network(sides, kernel, strides, **settings):
    keras.utils.set_random_seed(3)
    convolution = layers.Conv2D(
        6, kernel, strides, "same", bias_initializer="normal", **settings
    )
    inner = keras.Sequential([keras.Input((*sides, 5)), convolution])
    return keras.Sequential([keras.Input((*sides, 5)), inner, layers.ReLU()])


def _gradients(network, images, context):
    """The output, and the gradients of a curved loss in images and weights."""
    with tf.GradientTape() as tape, context:
        tape.watch(images)
        output = network(images, training=True)
        loss = tf.reduce_sum(tf.sin(output))
    return output, *tape.gradient(loss, [images, *network.trainable_variables])


def _operations(network, sides):
    spec = tf.TensorSpec([None, *sides, 5])
    with products.as_products(network):
        traced = tf.function(lambda x: network(x)).get_concrete_function(spec)
    return {operation.type for operation in traced.graph.get_operations()}


@pytest.mark.parametrize("sides, kernel, strides", _COVERED)
def test_results_and_gradients_are_the_convolutions(sides, kernel, strides):
    network = _network(sides, kernel, strides)
    images = tf.random.stateless_normal([7, *sides, 5], [0, 1])
    assert "Conv2D" not in _operations(network, sides)
    expected = _gradients(network, images, contextlib.nullcontext())
    found = _gradients(network, images, products.as_products(network))
    for product, convolution in zip(found, expected, strict=True):
        np.testing.assert_allclose(product, convolution, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sides, kernel, strides", _LEFT)
def test_other_convolutions_are_left(sides, kernel, strides):
    network = _network(sides, kernel, strides)
    assert "Conv2D" in _operations(network, sides)


@pytest.mark.parametrize("settings", [{"groups": 5}, {"dilation_rate": 2}])
def test_grouped_and_dilated_convolutions_are_left(settings):
    convolution = layers.Conv2D(5, 3, padding="same", **settings)
    network = keras.Sequential([keras.Input((2, 2, 5)), convolution])
    images = tf.random.stateless_normal([3, 2, 2, 5], [0, 1])
    with products.as_products(network):
        within = network(images)
    np.testing.assert_array_equal(within, network(images))


def test_nothing_of_it_stays():
    network = _network((2, 2), 3, 1)
    before = network.get_config()
    with pytest.raises(RuntimeError), products.as_products(network):
        raise RuntimeError
    convolution = network.layers[0].layers[0]
    assert "convolution_op" not in vars(convolution)
    assert network.get_config() == before


def test_the_training_step_uses_them(monkeypatch):
    sides = []
    product = products._of_whole_images
    monkeypatch.setattr(
        products,
        "_of_whole_images",
        lambda images, kernel: sides.append(images.shape[1]) or product(images, kernel),
    )
    classifier = keras.Sequential(
        [keras.Input((2, 2, 3)), layers.Conv2D(4, 3, padding="same"), layers.Flatten()]
    )
    trainer = AdversarialTrainer(classifier, make_defense("none"))
    trainer.compile("sgd")
    trainer.fit(np.zeros((4, 2, 2, 3), "float32"), np.zeros(4, "int64"), verbose=0)
    assert sides == [2]
