"""Statistics of correct images: intervals, paired tests, and the worst of attacks.

    wilson(81, 263)               # (0.2553, 0.3662), the 95 % interval of the share
    mcnemar(9, 1)                 # 0.0215, two-sided exact p-value
    worst_case(per_example, keys) # which images are right under every measurement

A comparison of two networks on the same images is paired: only the images on which
they differ carry information, so two overlapping intervals may still hide a clear
difference (and `paired` finds it). This module does without TensorFlow.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from scipy.stats import norm

Arrays = Mapping[str, np.ndarray]


def wilson(correct: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of Wilson (1927) for a share of images.

    Args:
      correct, total: counts, 0 <= correct <= total.
      level: of confidence.

    Returns:
      (low, high) within [0, 1]; (0, 1) when `total` is 0.
    """
    if total == 0:
        return 0.0, 1.0
    low, high = binomtest(correct, total).proportion_ci(level, method="wilson")
    return float(low), float(high)


def wilson_of_shares(shares: Sequence[float]) -> tuple[float, float]:
    """The same for the mean of shares in [0, 1], one of each image.

    Their variance is at most that of images which are right or wrong as often, so the
    interval is at least as wide as it must be.
    """
    n = len(shares)
    if n == 0:
        return 0.0, 1.0
    mean, z = float(np.mean(shares)), float(norm.ppf(0.975))
    middle = mean + z**2 / (2 * n)
    half = z * np.sqrt(mean * (1 - mean) / n + z**2 / (4 * n**2))
    low, high = ((middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    return max(0.0, float(low)), min(1.0, float(high))


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value of McNemar's test (1947).

    The images that only one of two networks gets right are a fair coin's tosses if
    both are equally good: p = 2 P[Binomial(n, 1/2) <= min], at most 1, where n is the
    sum of both counts.
    """
    n = only_first + only_second
    return float(binomtest(only_first, n).pvalue) if n else 1.0


@dataclass(frozen=True)
class Pair:
    """Two networks on `n` common images; `gain` is the first's lead, a fraction.

    `only_first` and `only_second` images are right for one of them alone, `both` for
    both, and `p` is McNemar's.
    """

    n: int
    gain: float
    only_first: int
    only_second: int
    p: float
    both: int

    @property
    def correct(self) -> tuple[int, int]:
        """How many of the common images each of the two gets right."""
        return self.both + self.only_first, self.both + self.only_second


def paired(per_example: Arrays, first: str, second: str) -> Pair | None:
    """Compares two records on the images that both hold.

    Args:
      per_example: arrays `KEY/index` (int, distinct) and `KEY/ok` (bool).
      first, second: two keys of it.

    Returns:
      A `Pair`, or None when arrays are missing or no image is common.
    """
    one, other = (correct_by_index(per_example, key) for key in (first, second))
    return paired_masks(one or {}, other or {})


def paired_masks(one: Mapping[int, bool], other: Mapping[int, bool]) -> Pair | None:
    """The same of whether each image is right, by its index."""
    common = one.keys() & other.keys()
    if not common:
        return None
    only_first = sum(one[i] and not other[i] for i in common)
    only_second = sum(other[i] and not one[i] for i in common)
    gain = (only_first - only_second) / len(common)
    p = mcnemar(only_first, only_second)
    both = sum(one[i] and other[i] for i in common)
    return Pair(len(common), gain, only_first, only_second, p, both)


def worst_case(per_example: Arrays, keys: Sequence[str | None]) -> np.ndarray | None:
    """Which of the images that all measurements share are right in all of them.

    Args:
      per_example: as of `paired`.
      keys: of the measurements, None for one that is missing.

    Returns:
      bool `[n]` in the order of the images' indices; None where a measurement is
      missing or they share no image.
    """
    found = [key and correct_by_index(per_example, key) for key in keys]
    each = [correct for correct in found if correct]
    if not each or len(each) < len(found):
        return None
    shared = set.intersection(*map(set, each))
    if not shared:
        return None
    return np.array([all(ok[i] for ok in each) for i in sorted(shared)])


def correct_by_index(per_example: Arrays, key: str) -> dict[int, bool] | None:
    """Whether each image of a measurement is right, by its index; None if unknown."""
    names = f"{key}/index", f"{key}/ok"
    if not all(name in per_example for name in names):
        return None
    index, ok = (np.asarray(per_example[name]).tolist() for name in names)
    return dict(zip(index, map(bool, ok)))
