"""Error rates of a paired decision, as exact sums: how often it fails whom.

    rule = Rule(max_drop=2)
    rule.fails(lost=13, gained=2, n=256)       # True: 4.3 points, p = 0.0037
    rule.fail_rate(256, 0.02)                  # of an equal model that swaps 2 %
    rule.fail_rate(256, 0.02, drop=5)          # of one that is truly 5 points worse
    rule.smallest_found(256, 0.02)             # which drop is found in 90 % of cases

Of n images, independent draws, L are right for the baseline alone and G for the new
model alone. Given L + G, an equal model's L is a fair coin's tosses: the exact
conditional test of McNemar (1947), one-sided, p = P[Binomial(L + G, 1/2) >= L]. The
rule fails a model whose drop (L - G) / n exceeds a bound *and* whose p is at most
`level`. Its rates are sums over all L and G: each image is lost with probability s / 2
+ d, gained with s / 2, where d is the true drop and s the share of images on which two
equal models differ. As p is at most `level` in `level` of cases or fewer for every
L + G, so it is for their mixture: an equal model fails in at most `level` of cases,
whatever s. This module does without TensorFlow.
"""

import dataclasses
from typing import Any

import numpy as np
from scipy.stats import binom

_ROUNDING = 1e-9  # Of images: 2 % of 150 images is 3, in floating point, too.


def one_sided(lost: Any, gained: Any) -> Any:
    """p of McNemar's exact test against "no worse": P[Bin(L + G, 1/2) >= L].

    Args:
      lost, gained: counts of images, int or int arrays.

    Returns:
      float or float array in (0, 1]; 1 where nothing is lost.
    """
    return binom.sf(np.asarray(lost) - 1, np.asarray(lost) + gained, 0.5)


@dataclasses.dataclass(frozen=True)
class Rule:
    """Fails what dropped by more than `max_drop` points, if that is beyond chance.

    Attributes:
      max_drop: points of accuracy, in [0, 100).
      level: of the one-sided test, in (0, 1).
    """

    max_drop: float
    level: float = 0.05

    def exceeds(self, lost: Any, gained: Any, n: int) -> Any:
        """Whether the observed drop exceeds the bound, chance or not."""
        return lost - gained > self.max_drop * n / 100 + _ROUNDING

    def fails(self, lost: Any, gained: Any, n: int) -> Any:
        """The decision for counts (int, or int arrays) of n images."""
        beyond_chance = one_sided(lost, gained) <= self.level
        return self.exceeds(lost, gained, n) & beyond_chance

    def fail_rate(self, n: int, swapped: float, drop: float = 0.0) -> float:
        """How often a model fails, summed over all outcomes of n images.

        Args:
          n: images.
          swapped: share of the images on which an equal model would differ, in [0, 1].
          drop: points by which the model is truly worse, such that
            swapped + drop / 100 <= 1; 0 for an equal model.

        Returns:
          A probability; with `drop=0` at most `level`.
        """
        gained, lost = swapped / 2, swapped / 2 + drop / 100
        each = np.arange(n + 1)
        least = self._least_lost(n)
        # Of the images that are not gained, each is lost with this probability.
        rest = min(1.0, lost / (1 - gained)) if gained < 1 else 0.0
        tails = binom.sf(least - 1, n - each, rest)
        return float(np.sum(binom.pmf(each, n, gained) * tails))

    def smallest_found(
        self, n: int, swapped: float, power: float = 0.9
    ) -> float | None:
        """The smallest true drop that fails in `power` of cases, rounded up to 0.1.

        A greater drop never fails more rarely: an image that is lost as well can only
        turn a pass into a failure, so that bisection finds it.

        Returns:
          points; None where even the greatest drop, 1 - `swapped`, fails more rarely.
        """
        low, high = 0, int(np.floor(1000 * (1 - swapped)))
        if self.fail_rate(n, swapped, high / 10) < power:
            return None
        while low < high:
            middle = (low + high) // 2
            if self.fail_rate(n, swapped, middle / 10) < power:
                low = middle + 1
            else:
                high = middle
        return low / 10

    def _least_lost(self, n: int) -> np.ndarray:
        """For 0, ..., n gained images the fewest lost ones that fail; n + 1 if none do.

        int `[n + 1]`; found by bisection, as one more lost image never turns a failure
        into a pass.
        """
        gained = np.arange(n + 1)
        low, high = gained, np.full(n + 1, n + 1)
        while np.any(low < high):
            middle = (low + high) // 2
            failed = self.fails(middle, gained, n)
            low, high = (
                np.where(failed, low, middle + 1),
                np.where(failed, middle, high),
            )
            low = np.minimum(low, high)
        return low
