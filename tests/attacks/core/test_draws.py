"""Draws by row: of the right distributions, and the image's own."""

import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.attacks.core import draws

COUNT = 60_000
KINDS = {
    "uniform": (draws.uniform, 0.5, 1 / np.sqrt(12)),
    "normal": (draws.normal, 0.0, 1.0),
    "sign": (draws.sign, 0.0, 1.0),
    "integer": (lambda *key: draws.integer(*key, 7), 3.0, 2.0),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def keys(index, seed=1):
    return draws.row_keys(seed, tf.constant(index, tf.int64))


@every_kind
def test_mean_deviation_and_independence(kind):
    draw, mean, deviation = KINDS[kind]
    values = draw(keys(range(COUNT)), [3, 5], (4,)).numpy().astype(np.float64)
    rows, entries = values[1:] - mean, values[:, 1:] - mean
    error = 5 / np.sqrt(values.size)  # five standard errors
    assert abs(values.mean() - mean) < error * deviation
    assert abs(values.std() - deviation) < 2 * error * deviation
    for neighbours in (rows * (values[:-1] - mean), entries * (values[:, :-1] - mean)):
        assert abs(neighbours.mean()) < 1.2 * error * deviation**2
    assert np.isfinite(values).all()


def test_ranges_are_kept_and_filled():
    uniform = draws.uniform(keys(range(COUNT)), 0, ()).numpy()
    assert uniform.min() >= 0 and uniform.max() < 1
    assert np.abs(np.histogram(uniform, 10)[0] / COUNT - 0.1).max() < 0.01
    integers = draws.integer(keys(range(COUNT)), 0, (), 7).numpy()
    assert set(integers) == set(range(7))
    assert set(draws.sign(keys(range(9)), 0, (2,)).numpy().ravel()) == {-1, 1}


@every_kind
def test_a_row_has_the_same_draws_in_any_batch(kind):
    draw = KINDS[kind][0]
    whole = draw(keys([4, 8, 15, 16]), 2, (3, 2)).numpy()
    part = draw(keys([15, 4]), 2, (3, 2)).numpy()
    np.testing.assert_array_equal(part, whole[[2, 0]])


@pytest.mark.parametrize(
    "other",
    [
        lambda: draws.uniform(keys(range(8), seed=2), [0, 1], (5,)),
        lambda: draws.uniform(keys(range(8, 16)), [0, 1], (5,)),
        lambda: draws.uniform(keys(range(8)), [1, 0], (5,)),
        lambda: draws.uniform(keys(range(8)), [0, 2], (5,)),
        lambda: draws.uniform(keys(range(8)), [0, tf.range(2, 10)], (5,)),
    ],
)
def test_seeds_indices_and_counters_tell_draws_apart(other):
    first = draws.uniform(keys(range(8)), [0, 1], (5,)).numpy()
    assert np.intersect1d(first, other().numpy()).size == 0
