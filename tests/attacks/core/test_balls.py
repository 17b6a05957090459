"""Balls against closed forms: projections, random points, corners of the box."""

import closed_forms
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.attacks.core import balls
from tf_advdefense.attacks.core import l1_ball
from tf_advdefense.attacks.core.draws import row_keys

pytestmark = pytest.mark.quick


def duchi(v, eps):
    """The projection onto the L1 ball by sorting (Duchi et al. 2008, figure 1)."""
    if np.sum(np.abs(v)) <= eps or eps == 0:
        return v * (eps > 0)
    u = -np.sort(-np.abs(v))
    excess = (np.cumsum(u) - eps) / np.arange(1, len(u) + 1)
    level = excess[np.flatnonzero(u > excess)[-1]]
    return np.sign(v) * np.maximum(np.abs(v) - level, 0)


@pytest.mark.parametrize("features", [1, 7, 600])
def test_the_l1_projection_is_duchis(features):
    rng = np.random.default_rng(features)
    eta = rng.normal(size=(60, features, 1, 1)).astype(np.float32)
    eta[:20] *= rng.random((20, features, 1, 1)) < 0.1  # as attacks have them
    eta[20:30] = np.round(eta[20:30])  # ties
    norm = closed_forms.length(eta, 1)
    eps = (norm * rng.uniform(0, 1.2, 60)).astype(np.float32)
    eps[:3] = 0, 1e-6, 1e6
    out = balls.project(tf.constant(eta), 1, tf.constant(eps)).numpy()
    for row, image in enumerate(eta.reshape(60, -1).astype(np.float64)):
        expected = duchi(image, np.float64(eps[row]))
        np.testing.assert_allclose(out[row].reshape(-1), expected, atol=3e-6)
    assert np.all(closed_forms.length(out, 1) <= eps * (1 + 1e-5) + 1e-6)
    np.testing.assert_array_equal(out[norm <= eps], eta[norm <= eps])


def test_a_projection_leaves_the_other_rows_alone():
    eta = np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32)
    eps = tf.constant([1.0, 2.0, 3.0, 4.0])
    for norm in (np.inf, 2, 1, 0):
        alone = balls.project(tf.constant(eta), norm, eps).numpy()[2]
        for value in (np.nan, np.inf, 0):
            spoilt = eta.copy()
            spoilt[[0, 1, 3]] = value
            out = balls.project(tf.constant(spoilt), norm, eps).numpy()[2]
            np.testing.assert_array_equal(out, alone)


def test_the_l0_projection_keeps_the_largest_and_of_equals_the_first():
    eta = tf.constant([[3.0, -5, 1, 4], [1, -1, 1, 1], [1, 2, 3, 4], [1, 2, 3, 4]])
    out = balls.project(eta, 0, tf.constant([2.0, 3.0, 0.0, 9.0])).numpy()
    expected = [[0, -5, 0, 4], [1, -1, 1, 0], [0, 0, 0, 0], [1, 2, 3, 4]]
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_random_points_fill_their_ball(norm):
    """The radius of a uniform draw from a d-ball has mean d / (d + 1)."""
    keys = row_keys(0, tf.range(4000))
    points = balls.random_ball(keys, 0, (2, 2, 1), norm).numpy().reshape(4000, 4)
    radius = np.linalg.norm(points, norm, axis=1)
    assert radius.max() <= 1 + 1e-6
    np.testing.assert_allclose(radius.mean(), 4 / 5, atol=0.01)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(np.mean(points > 0, axis=0), 0.5, atol=0.03)
    again = balls.random_ball(keys[5:7], 0, (2, 2, 1), norm).numpy().reshape(2, 4)
    np.testing.assert_array_equal(again, points[5:7])
    other = balls.random_ball(keys, 1, (2, 2, 1), norm).numpy().reshape(4000, 4)
    assert abs(np.corrcoef(points[:, 0], other[:, 0])[0, 1]) < 0.05


def test_the_farthest_corner():
    x = tf.constant([[0.2, 0.5], [1.0, 0.0]])
    for norm, expected in {
        np.inf: [0.8, 1],
        2: [np.sqrt(0.89), np.sqrt(2)],
        1: [1.3, 2],
        0: [2, 2],
    }.items():
        np.testing.assert_allclose(balls.farthest(x, norm, 0, 1), expected, rtol=1e-6)


def test_the_l1_projection_inside_bounds_is_the_nearest_point():
    rng = np.random.default_rng(3)
    x = rng.uniform(size=(6, 5, 4, 2)).astype(np.float32)
    eta = rng.normal(0, 0.6, x.shape).astype(np.float32)
    eta[0] *= 0.01  # inside the ball
    found = l1_ball.project(eta, 3.0, -x, 1 - x).numpy()
    room = np.where(eta > 0, 1 - x, x).reshape(6, -1).astype(np.float64)
    size = np.abs(eta).reshape(6, -1).astype(np.float64)
    for row in range(6):
        shrunk = lambda level, row=row: np.clip(size[row] - level, 0, room[row])
        # The sum is linear between the levels where an entry begins or ends to shrink.
        ends = np.sort([0, *size[row], *np.maximum(size[row] - room[row], 0)])
        sums = np.array([shrunk(level).sum() for level in ends])
        expected = shrunk(np.interp(-3, -sums, ends) if sums[0] > 3 else 0)
        np.testing.assert_allclose(
            found[row].ravel(), expected * np.sign(eta[row].ravel()), atol=1e-5
        )
    assert np.all(closed_forms.length(found, 1) <= 3)
    np.testing.assert_array_equal(l1_ball.project(eta, 0.0, -x, 1 - x), 0)


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_draws_fill_their_ball_evenly(norm):
    keys = row_keys(0, tf.range(4000))
    ball = (
        balls.random_ball(keys, tf.range(4000), (2, 3, 1), norm)
        .numpy()
        .reshape(4000, 6)
    )
    radius = np.linalg.norm(ball, norm, axis=1)
    assert radius.max() <= 1 + 1e-6
    # In d dimensions, the radius of a uniform draw has mean d / (d + 1) in any norm.
    np.testing.assert_allclose(radius.mean(), 6 / 7, atol=0.01)
    np.testing.assert_allclose(ball.mean(axis=0), 0, atol=0.03)
    expected = {np.inf: 1 / 2, 1: 1 / 7}.get(norm)
    if expected:
        np.testing.assert_allclose(np.abs(ball).mean(axis=0), expected, atol=0.02)
    else:
        np.testing.assert_allclose((ball**2).mean(axis=0), 1 / 8, atol=0.01)
