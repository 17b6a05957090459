"""Paired tests on counts of correct images.

    mcnemar(9, 1)                 # 0.0215, two-sided exact p-value

A comparison of two networks on the same images is paired: only the images on which
they differ carry information, so two overlapping intervals may still hide a clear
difference (and `paired` finds it).
"""

from dataclasses import dataclass

import numpy as np


def mcnemar(only_first, only_second):
    """Two-sided exact p-value of McNemar's test (1947).

    The discordant pairs are a fair coin's tosses if both are equally good:
    p = 2 P[Binomial(n, 1/2) <= min], at most 1, where n is the sum of both counts.
    """
    n = only_first + only_second
    term = tail = 1
    for k in range(min(only_first, only_second)):
        term = term * (n - k) // (k + 1)  # binomial coefficient (n, k + 1), exact
        tail += term
    return min(1.0, 2 * tail / 2**n)


@dataclass(frozen=True)
class Pair:
    """Two networks on `n` common images; `gain` is the first's lead, a fraction."""

    n: int
    gain: float
    only_first: int
    only_second: int
    p: float


def paired(per_example, first, second):
    """Compares two records on the images that both hold.

    Args:
      per_example: arrays `KEY/index` (int, distinct) and `KEY/ok` (bool).
      first, second: two keys of it.

    Returns:
      A `Pair`, or None when arrays are missing or no image is common.
    """
    needed = [f"{key}/{part}" for key in (first, second) for part in ("index", "ok")]
    if not all(name in per_example for name in needed):
        return None
    first_index, first_ok, second_index, second_ok = (
        np.asarray(per_example[name]) for name in needed
    )
    common, in_first, in_second = np.intersect1d(
        first_index, second_index, return_indices=True
    )
    if not len(common):
        return None
    a, b = first_ok[in_first].astype(bool), second_ok[in_second].astype(bool)
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    gain = (only_a - only_b) / len(common)
    return Pair(len(common), gain, only_a, only_b, mcnemar(only_a, only_b))
