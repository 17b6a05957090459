"""What no image, label or radius may break, over the whole registry.

Hypothesis draws them: black, white and two-valued images too, where gradients vanish,
distances are zero and bounds hold everywhere.
"""

import closed_forms
import hypothesis
from hypothesis import strategies
import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import ATTACKS

BATCH, SHAPE, CLASSES = 4, (4, 4, 3), 4
SIZE = int(np.prod(SHAPE))
# A radius is part of a staged attack's trace, which takes seconds: one for those.
RADII = {True: [0.1], False: [0.0, 1 / 255, 0.1, 1.0]}

_rng = np.random.default_rng(3)
WEIGHTS = _rng.normal(size=(SIZE, CLASSES)).astype(np.float32) / 2
BIAS = _rng.normal(size=CLASSES).astype(np.float32)


def model(images):
    flat = tf.reshape(images - 0.5, [-1, SIZE])
    return 3 * tf.tanh(flat @ WEIGHTS / 3) + BIAS


def make_image(kind, seed):
    rng = np.random.default_rng(seed)
    return {
        "black": lambda: np.zeros(SHAPE),
        "white": lambda: np.ones(SHAPE),
        "grey": lambda: np.full(SHAPE, 0.5),  # all classes but one are BIAS away
        "two-valued": lambda: rng.integers(2, size=SHAPE),
        "any": lambda: rng.random(SHAPE),
        "one pixel": lambda: rng.permutation(np.eye(1, SIZE)[0]).reshape(SHAPE),
    }[kind]().astype(np.float32)


KINDS = ["black", "white", "grey", "two-valued", "any", "one pixel"]
image = strategies.builds(
    make_image, strategies.sampled_from(KINDS), strategies.integers(0, 1000)
)
images = strategies.lists(image, min_size=BATCH, max_size=BATCH).map(np.stack)
labels = strategies.lists(
    strategies.integers(0, CLASSES - 1), min_size=BATCH, max_size=BATCH
).map(np.array)


def hypers(name):
    """The norms and radii to draw from."""
    attack, staged = (
        ATTACKS[name],
        ATTACKS[name].advance is not None or ATTACKS[name].parts is not None,
    )
    orders = attack.norms[:1] if staged else attack.norms
    choices = {}
    if "norm" in attack.defaults:
        choices["norm"] = strategies.sampled_from(orders)
    if "eps" in attack.defaults:
        choices["eps"] = strategies.sampled_from(RADII[staged])
    return strategies.fixed_dictionaries(choices)


@pytest.mark.parametrize("name", ATTACKS)
def test_results_stay_where_they_belong(name):
    @hypothesis.settings(
        max_examples=20, deadline=None, derandomize=True, database=None
    )
    @hypothesis.given(images, labels, hypers(name), strategies.integers(0, 2**31))
    def check(images, labels, hyper, seed):
        attack = small_models.within_budget(name, **hyper)
        before = images.copy()
        adv = attack(model, images, labels, seed=seed).numpy()
        np.testing.assert_array_equal(images, before)
        assert np.all(np.isfinite(adv)) and adv.min() >= 0 and adv.max() <= 1
        assert adv.shape == images.shape and adv.dtype == np.float32
        if "eps" in hyper:
            assert_inside_the_ball(adv - images, attack.norm, hyper["eps"])
        elif ATTACKS[name].goal == "minimal-norm":
            assert_unchanged_or_fooling(adv, images, labels)

    check()


def assert_inside_the_ball(eta, order, eps):
    distance = closed_forms.length(eta, order)
    # An image plus its perturbation is rounded entry by entry.
    rounding = 1e-7 * (SIZE if order == 1 else 1)
    assert np.all(distance <= eps * (1 + 1e-5) + rounding)


def assert_unchanged_or_fooling(adv, images, labels):
    logits = model(adv).numpy()
    others = np.where(np.eye(CLASSES, dtype=bool)[labels], -np.inf, logits).max(axis=1)
    margin = others - logits[np.arange(BATCH), labels]
    unchanged = np.all(adv == images, axis=(1, 2, 3))
    # Compiled logits are rounded in another way.
    assert np.all(unchanged | (margin > -1e-5))
