"""Intervals and paired tests, against values of scipy.stats.binomtest."""

import numpy as np
import pytest

from tf_advdefense.evaluation import statistics


@pytest.mark.parametrize(
    "correct, total, low, high",
    [
        (0, 10, 0.0, 0.2775328),
        (53, 100, 0.4328886, 0.6248918),
        (276, 512, 0.4957546, 0.5817886),
        (128, 128, 0.9708631, 1.0),
        (9987, 10000, 0.9977769, 0.9992401),
    ],
)
def test_wilson(correct, total, low, high):
    assert statistics.wilson(correct, total) == pytest.approx((low, high), abs=1e-6)


def test_wilson_of_nothing_excludes_nothing():
    assert statistics.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    "only_first, only_second, p",
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (9, 1, 0.021484375),
        (5, 5, 1.0),
        (30, 12, 0.007915897334896727),
        (240, 200, 0.06286871784615478),
        (1300, 1500, 0.00016841162264376235),
        (0, 2000, 0.0),
    ],
)
def test_mcnemar(only_first, only_second, p):
    assert statistics.mcnemar(only_first, only_second) == pytest.approx(p)
    assert statistics.mcnemar(only_second, only_first) == pytest.approx(p)


def test_paired_joins_on_the_images_of_both():
    arrays = {
        "a/index": np.array([4, 2, 9, 7]),
        "a/ok": np.array([True, False, True, True]),
        "b/index": np.array([2, 7, 4, 1]),
        "b/ok": np.array([True, False, False, True]),
    }
    pair = statistics.paired(arrays, "a", "b")
    assert (pair.n, pair.only_first, pair.only_second) == (3, 2, 1)
    assert pair.gain == pytest.approx(1 / 3) and pair.correct == (2, 1)
    assert statistics.paired(arrays, "a", "c") is None
    arrays["b/index"] += 100
    assert statistics.paired(arrays, "a", "b") is None


def test_the_worst_case_joins_on_the_images_of_all():
    arrays = {
        "a/index": np.array([5, 1, 3]),
        "a/ok": np.array([True, True, False]),
        "b/index": np.array([3, 5, 9]),
        "b/ok": np.array([True, True, True]),
    }
    assert statistics.worst_case(arrays, ["a", "b"]).tolist() == [False, True]
    assert statistics.worst_case(arrays, ["a", "c"]) is None
