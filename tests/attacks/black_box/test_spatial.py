"""Spatial transformations against NumPy."""

import itertools

import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.black_box.spatial import spatial
from tf_advdefense.attacks.black_box.spatial import transform


def rows(values):
    return tf.constant(values, tf.float32)


def some_images(shape=(5, 8, 10, 3)):
    return np.random.default_rng(0).random(shape, np.float32)


def shifted(images, left, up):
    """`np.roll`, with black instead of what comes back in."""
    height, width = images.shape[1:3]
    moved = np.roll(images, (-up, -left), axis=(1, 2))
    row, column = np.arange(height) + up, np.arange(width) + left
    moved[:, (row < 0) | (row >= height)] = 0
    moved[:, :, (column < 0) | (column >= width)] = 0
    return moved


@pytest.mark.parametrize("left, up", [(0, 0), (2, 0), (0, 2), (-3, 1), (10, 0)])
def test_a_shift_is_a_roll_that_fills_with_black(left, up):
    images = some_images()
    moved = transform(rows(images), *(rows([v] * 5) for v in (left / 10, up / 8, 0)))
    np.testing.assert_allclose(moved, shifted(images, left, up), atol=2e-5)


@pytest.mark.parametrize("turns", [-1, 0, 1, 2])
def test_quarter_turns_are_counterclockwise(turns):
    images = some_images((3, 7, 7, 2))
    moved = transform(rows(images), *(rows([v] * 3) for v in (0, 0, 90 * turns)))
    np.testing.assert_allclose(moved, np.rot90(images, turns, (1, 2)), atol=2e-5)


def test_a_turn_comes_before_a_shift():
    images = some_images((2, 8, 8, 1))
    moved = transform(rows(images), *(rows([v] * 2) for v in (0.25, 0.0, 90)))
    expected = shifted(np.rot90(images, 1, (1, 2)), 2, 0)
    np.testing.assert_allclose(moved, expected, atol=2e-5)


def linear(images):
    weights = np.random.default_rng(4).normal(size=(8 * 10 * 3, 4)).astype(np.float32)
    return tf.reshape(images, [-1, 8 * 10 * 3]) @ weights * 0.2


def cross_entropy(logits, labels):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits).numpy()


@pytest.mark.parametrize("targeted", [False, True])
def test_the_worst_of_the_grid_is_kept(targeted):
    images = some_images()
    labels = small_models.classes(linear, images)
    goal = (labels + 1) % 4 if targeted else labels
    adv = spatial(linear, images, goal, targeted).numpy()
    grid = itertools.product((-0.1, 0.1), (-0.1, 0.1), np.linspace(-30, 30, 6))
    points = [(0.0, 0.0, 0.0), *grid]  # the image where it is comes first
    tried = [transform(rows(images), *(rows([v] * 5) for v in p)) for p in points]
    loss = np.stack([cross_entropy(linear(x), goal) for x in tried])
    reached = np.stack([np.argmax(linear(x), axis=1) == goal for x in tried])
    fooled = reached if targeted else ~reached
    loss = np.where(fooled, 1e3, 0) + (-loss if targeted else loss)
    worst = np.stack(tried)[np.argmax(loss, axis=0), np.arange(5)]
    np.testing.assert_allclose(adv, worst, atol=1e-5)


def test_random_points_of_the_grid_are_each_images_own():
    images = np.repeat(some_images((1, 8, 10, 3)), 30, axis=0)
    still = {"angle_min": 0.0, "angle_max": 0.0, "n_angles": 1}
    attack = make_attack("spatial", n_samples=1, **still)
    labels = small_models.classes(linear, images)
    adv = attack(linear, images, labels).numpy()
    # The worse of the image itself and of one of four shifts.
    alone = [
        spatial(linear, images[:1], labels[:1], **still, **corner).numpy()
        for corner in (
            {"dx_min": dx, "dx_max": dx, "n_dxs": 1, "dy_min": dy, "dy_max": dy}
            | {"n_dys": 1}
            for dx in (-0.1, 0.1)
            for dy in (-0.1, 0.1)
        )
    ]
    expected = np.unique(np.reshape(alone, (4, -1)), axis=0)
    found = np.unique(adv.reshape(30, -1), axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(expected) > 1
    assert attack.cost((8, 10, 3), 4) == (2, 0)
    assert make_attack("spatial").cost((8, 10, 3), 4) == (25, 0)


def test_no_transformation_is_the_identity_and_a_border_is_black():
    images = some_images()
    still = dict.fromkeys(("dx_min", "dx_max", "dy_min", "dy_max"), 0.0)
    still |= {"angle_min": 0.0, "angle_max": 0.0}
    np.testing.assert_allclose(spatial(linear, images, **still), images, atol=1e-6)
    framed = spatial(linear, images, **still, black_border_size=2).numpy()
    assert np.all(framed[:, 2:-2, 2:-2] > 0)
    framed[:, 2:-2, 2:-2] = 0
    np.testing.assert_array_equal(framed, 0)


def test_large_shifts_fool_a_model_of_the_middle():
    """CleverHans asks for less than 0.3 of the predictions to stay."""
    images = np.random.default_rng(5).random((50, 6, 6, 1)).astype(np.float32)
    middle = lambda x: tf.stack([0 * x[:, 3, 3, 0] + 0.5, x[:, 3, 3, 0]], axis=1)
    labels = small_models.classes(middle, images)
    grid = {"dx_min": -0.5, "dx_max": 0.5, "n_dxs": 3}
    grid |= {"dy_min": -0.5, "dy_max": 0.5, "n_dys": 3}
    adv = spatial(middle, images, labels, **grid)
    assert np.mean(small_models.classes(middle, adv) == labels) < 0.3


@pytest.mark.parametrize(
    "hyper, message",
    [
        ({"dx_max": 1.5}, r"`dx_max` must be in \[-1, 1\]. Received: dx_max=1.5."),
        (
            {"n_samples": 0},
            "`n_samples` must be a whole .* from 1 on. Received: n_samples=0.$",
        ),
        ({"black_border_size": 1.5}, "`black_border_size` must be a whole number"),
    ],
)
def test_values_out_of_range_are_one_line(hyper, message):
    with pytest.raises(ValueError, match=message) as error:
        make_attack("spatial", **hyper)
    assert "\n" not in str(error.value)


def test_it_has_no_norm():
    assert make_attack("spatial").norm is None
