"""The elastic net attack against closed forms and a linear program."""

import closed_forms
import keras
import numpy as np
import pytest
from scipy.optimize import linprog
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.attacks.minimal_norm.carlini_wagner import cw
from tf_advdefense.attacks.minimal_norm.elastic_net import ead

directions = pytest.mark.parametrize("targeted", [False, True])


@pytest.fixture(scope="module")
def linear():
    """Two classes whose boundary goes through grey; its normal vector."""
    model, weights = closed_forms.linear_classifier()
    return model, weights[:, 1] - weights[:, 0]


def margins(images, normal):
    return (images - 0.5).reshape(len(images), -1) @ normal


def l1(adv, images):
    return np.sum(np.abs(adv - images), axis=(1, 2, 3))


@pytest.mark.slow
@directions
@pytest.mark.parametrize("batch", [1, 8])
def test_the_distance_to_the_boundary_is_found(linear, batch, targeted):
    model, normal = linear
    images = closed_forms.grey_images(batch, 0.15)
    margin = margins(images, normal)
    labels = (margin > 0).astype(np.int64)
    goal = 1 - labels if targeted else labels
    adv = ead(
        model, images, goal, targeted, decision_rule="L1", max_iterations=200
    ).numpy()
    exact = np.abs(margin) / np.max(np.abs(normal))
    assert np.all(small_models.classes(model, adv) == 1 - labels)
    assert np.all(l1(adv, images) >= exact * 0.999)
    np.testing.assert_allclose(l1(adv, images), exact, rtol=0.05, atol=1e-3)


def shortest_l1(image, normal, margin):
    """The least sum of changes u - v, u and v >= 0, that reaches the boundary."""
    towards = -np.sign(margin) * normal
    flat = image.ravel().astype(np.float64)
    program = linprog(
        np.ones(2 * closed_forms.SIZE),
        A_ub=-np.concatenate([towards, -towards])[None],
        b_ub=[-abs(margin)],
        bounds=[(0, 1 - pixel) for pixel in flat] + [(0, pixel) for pixel in flat],
    )
    assert program.success
    return program.fun


@pytest.mark.slow
def test_the_shortest_way_along_the_bounds_is_found(linear):
    model, normal = linear
    # Nearly black or white where it matters: many entries must move up to a bound.
    rng = np.random.default_rng(3)
    far = 0.5 + 0.5 * np.sign(normal) * rng.uniform(0.4, 1, (4, closed_forms.SIZE))
    far[1::2] = 1 - far[1::2]
    images = far.reshape(4, 3, 3, 3).astype(np.float32)
    margin = margins(images, normal)
    labels = (margin > 0).astype(np.int64)
    # Steps so small that the L1 norm, with weight beta / rate, outweighs the L2 norm.
    sparse = {"decision_rule": "L1", "learning_rate": 1e-3}
    adv = ead(model, images, labels, max_iterations=500, **sparse).numpy()
    exact = [shortest_l1(image, normal, m) for image, m in zip(images, margin)]
    at_bounds = np.minimum(adv, 1 - adv) < 0.01
    assert np.all(np.count_nonzero(at_bounds, axis=(1, 2, 3)) > 1)
    assert np.all(small_models.classes(model, adv) == 1 - labels)
    np.testing.assert_allclose(l1(adv, images), exact, rtol=0.05)


def test_without_shrinkage_it_is_carlini_wagner(linear):
    model, normal = linear
    images = closed_forms.grey_images(8, 0.15)
    labels = (margins(images, normal) > 0).astype(np.int64)
    budget = {"binary_search_steps": 9, "max_iterations": 200}
    lengths = [
        closed_forms.length(adv - images, 2)
        for adv in (
            ead(model, images, labels, beta=0.0, **budget),
            cw(model, images, labels, **budget),
        )
    ]
    np.testing.assert_allclose(*lengths, rtol=0.05, atol=1e-3)


def test_each_decision_rule_is_best_at_its_own_distance():
    """Of the same iterates, each rule keeps those that it calls the closest."""
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            keras.Input((3, 3, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(30, activation="tanh"),
            keras.layers.Dense(3),
        ]
    )
    images, beta = closed_forms.grey_images(8, 0.5), 1e-3
    budget = {"beta": beta, "binary_search_steps": 4, "initial_const": 1.0}
    by_en, by_l1 = (
        ead(model, images, decision_rule=rule, max_iterations=60, **budget).numpy()
        for rule in ("EN", "L1")
    )

    def elastic_net(adv):
        return np.sum((adv - images) ** 2, axis=(1, 2, 3)) + beta * l1(adv, images)

    assert np.all(elastic_net(by_en) <= elastic_net(by_l1) * (1 + 1e-5))
    assert np.all(l1(by_l1, images) <= l1(by_en, images) * (1 + 1e-5))
    assert np.any(l1(by_l1, images) < l1(by_en, images) * 0.98)


@directions
def test_confidence_is_the_margin_of_the_logits(linear, targeted):
    model, normal = linear
    images = closed_forms.grey_images(8, 0.15)
    labels = (margins(images, normal) > 0).astype(np.int64)
    goal = 1 - labels if targeted else labels
    adv = ead(model, images, goal, targeted, max_iterations=100, confidence=1.5)
    logits, rows = model(adv).numpy(), np.arange(8)
    margin = logits[rows, 1 - labels] - logits[rows, labels]
    assert np.all(margin >= 1.5 - 1e-4)
    np.testing.assert_allclose(margin, 1.5, atol=0.3)


def test_what_is_fooled_and_what_cannot_be_fooled_stay(linear):
    model, normal = linear
    images = closed_forms.grey_images(8, 0.15)
    labels = (margins(images, normal) > 0).astype(np.int64)
    np.testing.assert_array_equal(ead(model, images, 1 - labels), images)
    first = tf.one_hot(tf.zeros(8, tf.int64), 2, 9.0, -9.0)
    constant = lambda x: tf.reduce_sum(x * 1e-9) + first
    adv = ead(constant, images, np.zeros(8, int), max_iterations=10)
    np.testing.assert_array_equal(adv, images)


def test_entries_within_the_shrinkage_do_not_move(linear):
    """One iteration, by hand: a step of rate * const * weight, less beta."""
    model, normal = linear
    images = closed_forms.grey_images(8, 0.15)
    labels = (margins(images, normal) > 0).astype(np.int64)
    const, beta, rate = 200.0, 1.0, 0.01
    attack = make_attack(
        "ead",
        beta=beta,
        learning_rate=rate,
        initial_const=const,
        binary_search_steps=1,
        max_iterations=1,
    )
    model_fn, task = inference(model), Task(False, -9.0, 9.0)
    keys = row_keys(0, tf.range(8))
    x, y = tf.constant(images), tf.constant(labels)
    state = attack.init(model_fn, x, y, keys, attack.hyper, task)
    state = attack.advance(model_fn, state, attack.hyper, task)
    step = -np.sign(margins(images, normal))[:, None] * rate * const * normal
    shrunk = np.sign(step) * np.maximum(np.abs(step) - beta, 0)
    expected = images.reshape(8, -1) + shrunk
    fooled = state.progress.fooled.numpy()
    assert np.any(shrunk == 0) and np.any(fooled)
    best = state.search.best.numpy().reshape(8, -1)
    np.testing.assert_allclose(best[fooled], expected[fooled], atol=1e-5)


@pytest.mark.parametrize(
    "message, hyper",
    [
        ("`beta` must be at least 0. Received: beta=-0.1.", {"beta": -0.1}),
        (
            "`decision_rule` must be 'EN' or 'L1'. Received: decision_rule='l1'.",
            {"decision_rule": "l1"},
        ),
    ],
)
def test_values_are_checked_beforehand(message, hyper):
    small_models.assert_refused(message, "ead", hyper)
