"""The Carlini-Wagner attack against the closed forms of a linear classifier."""

import closed_forms
import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks.minimal_norm.carlini_wagner import cw

directions = pytest.mark.parametrize("targeted", [False, True])


@pytest.fixture(scope="module")
def linear():
    """A model, images, their classes and their distances to the boundary."""
    model, weights = closed_forms.linear_classifier()
    images = closed_forms.grey_images(20)
    _, labels, distances = closed_forms.class_distances(images, weights, 2)
    return model, images, labels, np.nanmin(distances, axis=1)


@pytest.mark.quick
@directions
def test_finds_the_distance_to_the_boundary(linear, targeted):
    model, images, labels, closest = linear
    goal = 1 - labels if targeted else labels
    adv = cw(
        model, images, goal, targeted, max_iterations=200, binary_search_steps=9
    ).numpy()
    distance = closed_forms.length(adv - images, 2)
    assert np.all(small_models.classes(model, adv) == 1 - labels)
    np.testing.assert_allclose(distance, closest, rtol=0.05, atol=1e-4)
    assert np.all(distance >= closest * 0.999)


@directions
def test_confidence_is_the_margin_of_the_logits(linear, targeted):
    model, images, labels, _ = linear
    goal = 1 - labels if targeted else labels
    adv = cw(model, images, goal, targeted, max_iterations=200, confidence=1.5)
    logits = model(adv).numpy()
    rows = np.arange(20)
    margin = logits[rows, 1 - labels] - logits[rows, labels]
    assert np.all(margin >= 1.5 - 1e-4)
    np.testing.assert_allclose(margin, 1.5, atol=0.3)


@pytest.mark.quick
def test_leaves_what_is_fooled_already_and_what_it_cannot_fool(linear):
    model, images, labels, _ = linear
    np.testing.assert_array_equal(cw(model, images, 1 - labels), images)
    first = tf.one_hot(tf.zeros(20, tf.int64), 2, 9.0, -9.0)
    constant = lambda x: tf.reduce_sum(x * 1e-9) + first
    adv = cw(constant, images, np.zeros(20, int), max_iterations=10)
    np.testing.assert_array_equal(adv, images)


def test_matches_the_bounds_it_is_given(linear):
    """An affine change of the images' scale changes nothing but the scale."""
    model, images, labels, _ = linear
    hyper = {"max_iterations": 100, "initial_const": 1.0}
    unit = cw(model, images, labels, **hyper).numpy()
    scaled = cw(
        lambda x: model((x + 1) / 2),
        images * 2 - 1,
        labels,
        clip_min=-1.0,
        clip_max=1.0,
        **hyper | {"initial_const": 4.0},  # squared distances are 4 times as long
    )
    np.testing.assert_allclose((scaled.numpy() + 1) / 2, unit, atol=1e-4)


def test_repeats_the_smallest_constant_after_ten_steps(linear):
    model, images, labels, _ = linear
    adv = cw(model, images, labels, max_iterations=100, binary_search_steps=10)
    assert np.all(small_models.classes(model, adv) != labels)


def test_without_early_abort_is_no_worse():
    model, images = small_models.network(), small_models.random_images(6, seed=5)
    hyper = {"max_iterations": 100, "binary_search_steps": 3, "learning_rate": 0.02}
    distances = [
        np.linalg.norm((cw(model, images, abort_early=early, **hyper) - images).numpy())
        for early in (True, False)
    ]
    assert distances[1] <= distances[0] * 1.02
