"""Steps to a hyperplane inside the bounds, against an oracle."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.optimize import minimize
import tensorflow as tf

from tf_advdefense.attacks.core.balls import dual_lengths
from tf_advdefense.attacks.core.balls import lengths
from tf_advdefense.attacks.minimal_norm.hyperplane import to_hyperplane

norms = pytest.mark.parametrize("norm", [np.inf, 2, 1])


def nearest_point(x, value, gradient, norm):
    """The distance from x to value + <gradient, d> = 0 in [0, 1], by scipy; or None."""
    size = len(x)
    if norm == 2:
        found = minimize(
            lambda d: d @ d / 2,
            np.zeros(size),
            jac=lambda d: d,
            bounds=list(zip(-x, 1 - x)),
            constraints={
                "type": "eq",
                "fun": lambda d: value + gradient @ d,
                "jac": lambda d: gradient,
            },
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-12},
        )
        return np.linalg.norm(found.x) if found.success else None
    # Linear programs in (d, bounds of |d|): one bound for all entries, or one for each.
    eye = np.eye(size)
    bounds_of = np.ones((size, 1)) if norm == np.inf else eye
    found = linprog(
        np.r_[np.zeros(size), np.ones(bounds_of.shape[1])],
        A_ub=np.block([[eye, -bounds_of], [-eye, -bounds_of]]),
        b_ub=np.zeros(2 * size),
        A_eq=np.r_[gradient, np.zeros(bounds_of.shape[1])][None],
        b_eq=[-value],
        bounds=[*zip(-x, 1 - x), *[(0, None)] * bounds_of.shape[1]],
    )
    return found.fun if found.success else None


@pytest.fixture(scope="module")
def planes():
    """Points and hyperplanes: near, far, bounds in the way, and out of reach."""
    rng = np.random.default_rng(0)
    points = rng.random((24, 3, 2, 2), np.float32)
    gradients = rng.normal(size=points.shape).astype(np.float32)
    gradients[:, 0, 0, 0] = 0
    reach = np.where(gradients > 0, 1 - points, points) * np.abs(gradients)
    share = np.tile([0.01, 0.3, 0.9, 1.5], 6)
    values = -share * reach.reshape(24, -1).sum(axis=1)
    flipped = np.arange(24) >= 12  # the same from the other side of the hyperplane
    gradients[flipped] *= -1
    values[flipped] *= -1
    return points, values.astype(np.float32), gradients, share > 1


def steps(points, values, gradients, norm):
    return to_hyperplane(
        *map(tf.constant, (points, values, gradients)), norm, 0.0, 1.0
    ).numpy()


@norms
def test_steps_are_the_shortest_inside_the_bounds(planes, norm):
    points, values, gradients, beyond = planes
    step = steps(points, values, gradients, norm)
    flat, moved = step.reshape(24, -1), points + step
    assert moved.min() >= -1e-6 and moved.max() <= 1 + 1e-6
    left = values + np.sum(gradients.reshape(24, -1) * flat, axis=1)
    np.testing.assert_allclose(left[~beyond], 0, atol=1e-5)
    for row in np.flatnonzero(~beyond):
        oracle = nearest_point(
            *(a[row].astype(np.float64).ravel() for a in (points, values, gradients)),
            norm,
        )
        found = np.linalg.norm(flat[row], norm)
        np.testing.assert_allclose(found, oracle, rtol=2e-4)


@norms
def test_a_hyperplane_out_of_reach_is_approached_to_the_bounds(planes, norm):
    points, values, gradients, beyond = planes
    moved = points + steps(points, values, gradients, norm)
    uphill = -np.sign(values).reshape(-1, 1, 1, 1) * gradients
    corner = np.where(uphill > 0, 1.0, np.where(uphill < 0, 0.0, points))
    np.testing.assert_allclose(moved[beyond], corner[beyond], atol=1e-5)


@norms
def test_steps_depend_on_ratios_only(planes, norm):
    points, values, gradients, _ = planes
    small = np.float32(1e-30)
    np.testing.assert_allclose(
        steps(points, values * small, gradients * small, norm),
        steps(points, values, gradients, norm),
        atol=1e-5,
    )


@norms
def test_no_gradient_or_nan_moves_only_its_own_row(planes, norm):
    points, values, gradients, _ = (a.copy() for a in planes)
    expected = steps(points, values, gradients, norm)
    gradients[0], values[1], gradients[2] = 0, np.nan, np.nan
    step = steps(points, values, gradients, norm)
    np.testing.assert_array_equal(step[0], 0)
    np.testing.assert_array_equal(step[3:], expected[3:])


@norms
def test_lengths_are_numpys(planes, norm):
    points = planes[0]
    flat = points.reshape(24, -1)
    np.testing.assert_allclose(
        lengths(tf.constant(points), norm),
        np.linalg.norm(flat, norm, axis=1),
        rtol=1e-6,
    )
    # Hoelder's inequality is an equality for the best step.
    gradient, value = planes[2], tf.fill([24], -1e-3)
    step = to_hyperplane(tf.constant(points), value, gradient, norm, -9.0, 9.0)
    np.testing.assert_allclose(
        lengths(step, norm) * dual_lengths(tf.constant(gradient), norm), 1e-3, rtol=1e-4
    )
