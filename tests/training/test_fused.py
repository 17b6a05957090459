"""Fused BatchNorm and updates: Keras' own results, gradients and variables."""

import contextlib

import keras
from keras import layers
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.defenses import make_defense
from tf_advdefense.training import fused
from tf_advdefense.training.trainer import AdversarialTrainer

_LEFT = [  # What the kernel does not compute.
    {"axis": 1},
    {"epsilon": 1e-6},
    {"scale": False},
    {"center": False},
    {"synchronized": True},
    {"trainable": False},
    {"dtype": "float64"},
]


def _network(**settings):
    keras.utils.set_random_seed(3)
    norm = layers.BatchNormalization(
        momentum=0.9, gamma_initializer="normal", beta_initializer="normal", **settings
    )
    inner = keras.Sequential([keras.Input((5, 4, 3)), norm])
    return keras.Sequential([keras.Input((5, 4, 3)), inner, layers.ReLU()])


def _pass(context, training=True, batch=6, **settings):
    """Output, gradients of a curved loss, and the variables after the pass."""
    network = _network(**settings)
    images = 3 * tf.random.stateless_normal([batch, 5, 4, 3], [0, 1]) + 1
    with tf.GradientTape() as tape, context(network):
        tape.watch(images)
        output = network(images, training=training)
        loss = tf.reduce_sum(tf.sin(output))
    weights = network.trainable_variables
    gradients = tape.gradient(loss, [images, *weights])
    return output, *gradients, *network.variables


def _operations(network, training=True):
    spec = tf.TensorSpec([None, 5, 4, 3])
    with fused.fused_norms(network):
        traced = tf.function(lambda x: network(x, training=training))
        graph = traced.get_concrete_function(spec).graph
    return {operation.type for operation in graph.get_operations()}


def _assert_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("batch", [1, 6])
def test_results_gradients_and_statistics_are_kerass(training, batch):
    expected = _pass(lambda _: contextlib.nullcontext(), training, batch)
    found = _pass(fused.fused_norms, training, batch)
    _assert_close(found, expected)


def test_statistics_are_kerass_where_the_batch_is_of_any_size():
    moved = []
    for context in (fused.fused_norms, lambda _: contextlib.nullcontext()):
        network = _network()
        spec = tf.TensorSpec([None, 5, 4, 3])
        with context(network):
            run = tf.function(lambda x, of=network: of(x, training=True))
            run.get_concrete_function(spec)
            run(tf.random.stateless_normal([2, 5, 4, 3], [0, 1]))
        moved.append(network.variables)
    _assert_close(*moved)


def test_one_kernel_computes_it_in_training_only():
    assert "FusedBatchNormV3" in _operations(_network())
    assert "FusedBatchNormV3" not in _operations(_network(), training=False)


@pytest.mark.parametrize("settings", _LEFT, ids=str)
def test_other_norms_are_left(settings):
    assert "FusedBatchNormV3" not in _operations(_network(**settings))


def test_nothing_of_it_stays():
    network = _network()
    with pytest.raises(RuntimeError), fused.fused_norms(network):
        raise RuntimeError
    assert "call" not in vars(network.layers[0].layers[0])


_PAIRS = {
    "adam": lambda module, rate: module.Adam(rate),
    "decayed": lambda module, rate: module.Adam(rate, weight_decay=0.1),
    "amsgrad": lambda module, rate: module.Adam(rate, amsgrad=True),
    "momentum": lambda module, rate: module.SGD(rate, momentum=0.9),
    "nesterov": lambda module, rate: module.SGD(rate, momentum=0.9, nesterov=True),
    "clipped": lambda module, rate: module.SGD(rate, momentum=0.9, global_clipnorm=0.1),
    "plain": lambda module, rate: module.SGD(rate),
}


def _updates(optimizer, wrapped=False):
    """Variables of model and optimizer after four updates."""
    weights = [keras.Variable(np.linspace(-1, 1, 6, dtype="float32")) for _ in "ab"]
    if wrapped:
        optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
    optimizer.build(weights)

    @tf.function
    def update(step):
        scaled = [optimizer.scale_loss(tf.sin(w * (step + 2.0))) for w in weights]
        optimizer.apply(scaled, weights)

    for step in range(4):
        update(tf.cast(step, tf.float32))
    return [np.asarray(v) for v in [*weights, *optimizer.variables]]


@pytest.mark.parametrize("wrapped", [False, True], ids=["float32", "loss-scaled"])
@pytest.mark.parametrize("name", _PAIRS)
def test_updates_are_kerass(name, wrapped):
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    found = _updates(_PAIRS[name](fused, schedule), wrapped)
    _assert_close(found, _updates(_PAIRS[name](keras.optimizers, schedule), wrapped))


@pytest.mark.parametrize("name", ["adam", "nesterov"])
def test_rows_of_an_embedding_are_updated_alone(name):
    results = []
    for module in (fused, keras.optimizers):
        keras.utils.set_random_seed(1)
        layer = layers.Embedding(5, 2)
        layer.build()
        optimizer = _PAIRS[name](module, 0.1)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant([[1, 3]])) ** 2)
        optimizer.apply(tape.gradient(loss, layer.trainable_variables), layer.variables)
        results.append(layer.get_weights())
    _assert_close(*results)


def test_the_training_step_uses_both():
    classifier = keras.Sequential(
        [
            keras.Input((2, 2, 3)),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    trainer = AdversarialTrainer(classifier, make_defense("none"))
    trainer.compile(fused.SGD(0.1, momentum=0.9))
    trainer.optimizer.build(classifier.trainable_variables)
    batch = {"image": tf.zeros([4, 2, 2, 3]), "label": tf.zeros([4], tf.int64)}
    graph = tf.function(trainer.train_step).get_concrete_function(batch).graph
    operations = {operation.type for operation in graph.get_operations()}
    assert {"FusedBatchNormV3", "ResourceApplyKerasMomentum"} <= operations
