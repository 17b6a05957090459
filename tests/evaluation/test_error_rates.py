"""The gate's error rates against enumeration of every outcome, image by image."""

import itertools

import numpy as np
import pytest

from tf_advdefense.evaluation.error_rates import Rule
from tf_advdefense.evaluation.error_rates import one_sided
from tf_advdefense.evaluation.statistics import mcnemar

pytestmark = pytest.mark.quick


def tossed(lost, gained):
    """p by counting the tosses of a fair coin: how often as many heads or more."""
    tosses = list(itertools.product((0, 1), repeat=lost + gained))
    return sum(sum(each) >= lost for each in tosses) / len(tosses)


def enumerated(rule, n, swapped, drop):
    """The fail rate as a sum over all 3^n outcomes of n images."""
    gained, lost = swapped / 2, swapped / 2 + drop / 100
    chance = {"lost": lost, "gained": gained, "same": 1 - lost - gained}
    total = 0.0
    for outcome in itertools.product(chance, repeat=n):
        a, b = outcome.count("lost"), outcome.count("gained")
        if (a - b) / n * 100 > rule.max_drop and tossed(a, b) <= rule.level:
            total += np.prod([chance[each] for each in outcome])
    return total


@pytest.mark.parametrize("lost, gained", [(0, 0), (5, 0), (3, 2), (0, 4), (7, 1)])
def test_the_test_counts_tosses(lost, gained):
    assert one_sided(lost, gained) == pytest.approx(tossed(lost, gained))
    if lost > gained:  # Of the two-sided test it is half.
        assert 2 * one_sided(lost, gained) == pytest.approx(mcnemar(lost, gained))


@pytest.mark.parametrize("max_drop", [0, 30, 65])
@pytest.mark.parametrize("swapped, drop", [(0.4, 0), (0.0, 60), (0.2, 50), (1.0, 0)])
def test_rates_are_those_of_all_outcomes(max_drop, swapped, drop):
    rule, n = Rule(max_drop, level=0.1), 7
    expected = enumerated(rule, n, swapped, drop)
    assert rule.fail_rate(n, swapped, drop) == pytest.approx(expected, abs=1e-12)


def test_decisions_are_those_of_the_definition():
    for max_drop, n in ((0, 8), (12.5, 8), (30, 10)):
        rule = Rule(max_drop)
        for lost in range(n + 1):
            for gained in range(n + 1 - lost):
                fails = 100 * (lost - gained) / n > max_drop + 1e-9
                fails &= tossed(lost, gained) <= 0.05
                assert bool(rule.fails(lost, gained, n)) is bool(fails)


def test_a_drop_of_the_very_bound_is_not_more():
    rule = Rule(2)
    assert not rule.fails(3, 0, 150) and not rule.exceeds(3, 0, 150)
    assert rule.fails(100, 70, 1000) and not rule.fails(90, 70, 1000)


@pytest.mark.parametrize("n", [20, 256, 1000])
def test_an_equal_model_fails_in_at_most_level_of_cases(n):
    rates = [Rule(0).fail_rate(n, swapped) for swapped in np.linspace(0, 1, 21)]
    assert rates[0] == 0 and max(rates) <= 0.05
    assert max(rates) > 0.03 or n == 20  # It is not conservative beyond need.


def test_rates_fall_with_the_bound_and_rise_with_the_drop():
    by_bound = [Rule(m).fail_rate(256, 0.05, 6) for m in (0, 1, 2, 4, 6, 8)]
    assert by_bound == sorted(by_bound, reverse=True) and by_bound[0] > by_bound[-1]
    by_drop = [Rule(2).fail_rate(256, 0.05, drop) for drop in range(0, 20, 2)]
    assert by_drop == sorted(by_drop) and by_drop[-1] > 0.99


def test_the_smallest_drop_that_is_found():
    rule = Rule(2)
    found = rule.smallest_found(256, 0.05)
    assert rule.fail_rate(256, 0.05, found) >= 0.9
    assert rule.fail_rate(256, 0.05, found - 0.1) < 0.9
    assert rule.smallest_found(4, 0.0) is None  # 4 of 4: p is still 1/16.


def test_rates_are_those_of_simulated_gates():
    rule, n, trials = Rule(2), 256, 20000
    draws = np.random.default_rng(0).multinomial(n, [0.08, 0.03, 0.89], trials)
    rate = np.mean(rule.fails(draws[:, 0], draws[:, 1], n))
    expected = rule.fail_rate(n, 0.06, 5)
    assert rate == pytest.approx(expected, abs=4 * (0.25 / trials) ** 0.5)
