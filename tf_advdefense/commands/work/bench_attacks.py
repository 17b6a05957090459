"""Times attacks on a batch of test images, in input gradients of that batch."""

from collections.abc import Callable
import statistics
import time
from typing import Any

from absl.flags import FlagValues
import keras
import numpy as np
import tensorflow as tf

from tf_advdefense import attacks
from tf_advdefense.attacks.core import craft as engine
from tf_advdefense.commands.work.data import dataset_of
from tf_advdefense.commands.work.timing import in_turn
from tf_advdefense.commands.work.timing import input_gradient
from tf_advdefense.evaluation.attack_facts import norm_text
from tf_advdefense.evaluation.attack_facts import within_budget
from tf_advdefense.images import as_float

_ATTACKS = ["pgd", "cw", "deepfool", "ead", "apgd_ce", "fmn"]
_ENOUGH = 15  # Seconds of an attack.


def time_attacks(flags: FlagValues, model: keras.Model) -> None:
    """A line per attack on the first batch of test images."""
    data = dataset_of(flags, test_only=True)
    split = data.test.take(flags.batch_size)
    images = tf.constant(as_float(split.images))
    gradient = input_gradient(model, images, tf.constant(split.labels))
    print(
        f"{'attack':>14} {'seconds':>9} {'gradients':>10} {'fooled':>8} "
        f"{'mean norm':>12} {'forward':>9} {'backward':>9}"
    )
    for name in flags.only or _ATTACKS:
        attack = within_budget(attacks.ATTACKS.find(name), split.images)
        run = lambda attack=attack: engine.craft(
            model,
            attack,
            split.images,
            split.labels,
            split.index,
            batch_size=flags.batch_size,
            seed=flags.seed,
        )
        run()  # Traces every batch size that the next runs meet.
        adv, seconds, gradients = _multiple(run, gradient, flags.repeats)
        correct = adv["clean_prediction"] == split.labels
        fooled = correct & (adv["prediction"] != split.labels)
        print(
            f"{name:>14} {seconds:9.2f} {gradients:10.1f} "
            f"{_share(fooled, correct):>7} "
            f"{_mean_norm(adv, attack, fooled):>12} "
            f"{adv['forwards'].mean():9.1f} {adv['backwards'].mean():9.1f}",
            flush=True,
        )


def _share(fooled: np.ndarray, correct: np.ndarray) -> str:
    """A dash where no image was right that could be fooled."""
    return f"{100 * fooled.sum() / correct.sum():.1f}%" if correct.any() else "-"


def _multiple(
    run: Callable[[], Any], gradient: Callable[[], Any], repeats: int
) -> tuple[Any, float, float]:
    """What it returns, its seconds, and these in gradients timed before and after it.

    The medians of as many runs as `_ENOUGH` seconds hold, at most `repeats`.
    """
    seconds: list[float] = []
    multiples: list[float] = []
    before = in_turn(repeats, gradient)[0]
    while len(seconds) < repeats and sum(seconds) < _ENOUGH:
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
        after = in_turn(repeats, gradient)[0]
        multiples.append(seconds[-1] / statistics.median(before + after))
        before = after
    return result, statistics.median(seconds), statistics.median(multiples)


def _mean_norm(adv: dict[str, np.ndarray], attack: Any, fooled: np.ndarray) -> str:
    """`L2 0.2084`, the mean over the fooled in the attack's norm."""
    if attack.norm is None or not fooled.any():
        return "-"
    norm = norm_text(attack.norm)
    return f"L{norm} {adv[f'l{norm}'][fooled].mean():.4g}"
