"""The gate: whether a model is as robust as a baseline, and how often that is wrong.

    result = decide(baseline_right, right, Limits(max_drop=2, min_robust=40))
    result.passed, result.line, result.rates

Both are {index: right?} under the same attacks on the same images. The decision is
paired by image, and says its own error rates (`error_rates`). `repetition.gate` takes
the measurements. This module does without TensorFlow.
"""

from collections.abc import Mapping
import dataclasses

from tf_advdefense.evaluation.error_rates import Rule
from tf_advdefense.evaluation.error_rates import one_sided
from tf_advdefense.evaluation.records import Flag
from tf_advdefense.evaluation.statistics import Pair
from tf_advdefense.evaluation.statistics import paired_masks
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.reporting import formats

_BEYOND = 3.0  # Points beyond `max_drop` of the drop whose miss rate is stated.
_POWER = 0.9


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a model must not fall below.

    Attributes:
      max_drop: points of robust accuracy that it may lose, in [0, 100).
      min_robust: its least robust accuracy in per cent; None asks for none.
      max_clean_drop: points of clean accuracy that it may lose; None for any.

    Raises:
      ValueError: in one line, for a value out of range.
    """

    max_drop: float = 2.0
    min_robust: float | None = None
    max_clean_drop: float | None = None

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value is not None and not 0 <= value < 100:
                raise ValueError(
                    f"`{name}` is in percentage points, from 0 to below 100. "
                    f"Received: {name}={value}."
                )


@dataclasses.dataclass(frozen=True)
class Criterion:
    """One of the things that a gate looks at: what it found, and whether it will do."""

    name: str
    passed: bool
    detail: str


@dataclasses.dataclass(frozen=True)
class Rates:
    """How often the decision about robust accuracy is wrong; see `error_rates`.

    Attributes:
      swapped: the share of images on which the two models differ, as observed.
      equal: how often an equal model would fail, at that share.
      drop: points of a true drop, `max_drop` + 3,
      missed: and how often a model that lost them would pass.
      found: the smallest true drop in points that fails in 90 % of cases, or None.
    """

    swapped: float
    equal: float
    drop: float
    missed: float
    found: float | None

    def __str__(self) -> str:
        found = "no drop" if self.found is None else f"one of {self.found:g}"
        return (
            f"where equal models differ on {formats.percent(self.swapped)} % of the "
            f"images, as these do, this gate fails an equal one in "
            f"{_rate(self.equal)} of cases, misses a drop of {self.drop:g} points in "
            f"{_rate(self.missed)} and finds {found} in {100 * _POWER:.0f} %"
        )


@dataclasses.dataclass(frozen=True)
class GateResult:
    """What the gate decided.

    Attributes:
      passed: whether every criterion is met.
      line: the verdict with its numbers and error rates, in one line.
      pair: the model (first) and the baseline on the same attacked images.
      clean: the same of clean images; None where the baseline has none.
      rates: how often the decision is wrong.
      criteria: what was looked at, one by one.
      flags: reasons to distrust the measurements; see docs/diagnostics.md.
    """

    passed: bool
    line: str
    pair: Pair
    clean: Pair | None
    rates: Rates
    criteria: tuple[Criterion, ...]
    flags: tuple[Flag, ...] = ()

    def __str__(self) -> str:
        return self.line


def decide(
    baseline: Mapping[int, bool],
    model: Mapping[int, bool],
    limits: Limits,
    *,
    under: str = "attack",
    clean: tuple[Mapping[int, bool], Mapping[int, bool]] | None = None,
    flags: tuple[Flag, ...] = (),
) -> GateResult:
    """Compares two models on the images that both were attacked on.

    It fails if robust accuracy dropped by more than `max_drop` points and the drop is
    beyond chance (one-sided exact McNemar test, 5 %), if robust accuracy is below
    `min_robust`, or if clean accuracy dropped likewise by more than `max_clean_drop`.

    Args:
      baseline, model: whether each image is right under every attack, by its index.
      limits: what must hold.
      under: the threat model, as it is to be written.
      clean: the same two of clean images, or None.
      flags: of the measurements, to be passed on.

    Raises:
      ValueError: they share no image.
    """
    pair = paired_masks(model, baseline)
    if pair is None:
        raise ValueError(
            "`baseline` and the model must be measured on the same images. Received: "
            "none in common. Measure again with `compare`."
        )
    clean_pair = paired_masks(clean[1], clean[0]) if clean else None
    criteria = [_dropped(f"robust accuracy under {under}", pair, limits.max_drop)]
    if limits.min_robust is not None:
        criteria.append(_at_least(pair, limits.min_robust))
    if clean_pair is not None:
        criteria.append(_dropped("clean accuracy", clean_pair, limits.max_clean_drop))
    passed = all(each.passed for each in criteria)
    rates = rates_of(pair, limits.max_drop)
    details = [each.detail for each in criteria]
    line = "; ".join([*details, str(rates)])
    verdict = "pass" if passed else "fail"
    return GateResult(
        passed, f"{verdict}: {line}", pair, clean_pair, rates, tuple(criteria), flags
    )


def rates_of(pair: Pair, max_drop: float) -> Rates:
    """The error rates at the observed share of discordant images."""
    rule, drop = Rule(max_drop), min(max_drop + _BEYOND, 100.0)
    swapped = (pair.only_first + pair.only_second) / pair.n
    most = min(drop, 100 * (1 - swapped))
    return Rates(
        swapped,
        rule.fail_rate(pair.n, swapped),
        most,
        1 - rule.fail_rate(pair.n, swapped, most),
        rule.smallest_found(pair.n, swapped, _POWER),
    )


def _dropped(what: str, pair: Pair, most: float | None) -> Criterion:
    """The drop of an accuracy; without a bound it is told and never fails."""
    gained, lost = pair.only_first, pair.only_second
    now, before = pair.correct
    detail = (
        f"{what} {formats.percent(before / pair.n)} % -> "
        f"{formats.percent(now / pair.n)} % ({formats.points(pair.gain)} points, "
        f"{lost} lost : {gained} won of {formats.count(pair.n)} images, "
        f"{formats.p_value(float(one_sided(lost, gained)))})"
    )
    if most is None:
        return Criterion(f"drop of {what}", True, detail)
    rule = Rule(most)
    failed = bool(rule.fails(lost, gained, pair.n))
    if failed:
        detail += f", a drop of more than {most:g} points and beyond chance"
    elif rule.exceeds(lost, gained, pair.n):
        detail += f", a drop of more than {most:g} points but not beyond chance"
    return Criterion(f"drop of {what} at most {most:g} points", not failed, detail)


def _at_least(pair: Pair, least: float) -> Criterion:
    """Robust accuracy against a bound, and whether chance may explain that."""
    correct = pair.correct[0]
    low, high = interval = wilson(correct, pair.n)
    passed = 100 * correct >= least * pair.n
    excluded = least < 100 * low if passed else least > 100 * high
    detail = (
        f"{'at least' if passed else 'below'} the {least:g} % asked for, which its "
        f"95 % interval ({formats.interval(interval)}) "
        f"{'excludes' if excluded else 'includes'}"
    )
    return Criterion(f"robust accuracy at least {least:g} %", passed, detail)


def _rate(probability: float) -> str:
    """In per cent, to two significant digits; never 0 or 100 % by rounding."""
    percent = 100 * probability
    if 0 < percent < 0.01:
        return "less than 0.01 %"
    if 99.9 < percent < 100:
        return "more than 99.9 %"
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"
