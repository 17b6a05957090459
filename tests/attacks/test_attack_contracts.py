"""What every attack promises, over the whole registry: new entries are picked up.

Promises hold for a direct call and for the runner over arrays alike.
"""

import functools

import closed_forms
import keras
import numpy as np
import pytest
import small_models
from small_models import SHAPE
from small_models import classes
from small_models import within_budget
import tensorflow as tf

from tf_advdefense.attacks import ATTACKS
from tf_advdefense.attacks.core.craft import craft

BATCH = 6
FIXED_EPS = [name for name in ATTACKS if ATTACKS[name].goal == "fixed-eps"]


def quick(names):
    """As parameters, of which the quick tests take a few."""
    few = ("fgsm", "pgd", "cw")
    return [
        pytest.param(name, marks=pytest.mark.quick) if name in few else name
        for name in names
    ]


def directly(attack, model, images, labels=None, **settings):
    return attack(model, images, labels, **settings).numpy()


def by_the_runner(attack, model, images, labels=None, **settings):
    if labels is None:
        labels, settings["attack_labels"] = np.zeros(len(images), int), "predicted"
    found = craft(model, attack, images, labels, batch_size=BATCH, **settings)
    return found["image"]


every_attack = pytest.mark.parametrize("name", quick(ATTACKS))
fixed_eps_attack = pytest.mark.parametrize("name", quick(FIXED_EPS))
both_ways = pytest.mark.parametrize("call", [directly, by_the_runner])


@pytest.fixture(scope="module")
def model():
    return small_models.deeper_network()


def make_images(seed=0):
    return small_models.random_images(BATCH, seed)


@every_attack
def test_result_is_a_finite_float32_tensor_like_the_images(model, name):
    adv = within_budget(name)(model, make_images())
    assert isinstance(adv, tf.Tensor) and adv.dtype == tf.float32
    assert adv.shape == (BATCH, *SHAPE)
    assert np.all(np.isfinite(adv))


@every_attack
def test_the_runner_gives_what_a_direct_call_gives(model, name):
    attack, images = within_budget(name), make_images()
    adv = directly(attack, model, images)
    np.testing.assert_array_equal(by_the_runner(attack, model, images), adv)


@every_attack
@both_ways
def test_neighbours_have_no_influence(model, name, call):
    images = make_images()
    labels = classes(model, images)
    adv = call(within_budget(name), model, images, labels)
    others = images * np.nan
    others[2] = images[2]
    alone = call(within_budget(name), model, others, labels)
    np.testing.assert_array_equal(alone[2], adv[2])


@every_attack
@both_ways
def test_result_fools_some_images_and_stays_inside_the_bounds(model, name, call):
    hyper = {"eps": 20.0} if name == "sparse_l1" else {"eps": 0.3}
    attack = within_budget(name, **hyper if name in FIXED_EPS else {})
    images = make_images()
    adv = call(attack, model, images)
    assert adv.min() >= 0 and adv.max() <= 1
    assert np.any(classes(model, adv) != classes(model, images))


@fixed_eps_attack
@pytest.mark.parametrize("eps", [0.01, 0.3, 1.0])
@both_ways
def test_result_is_inside_the_ball(model, name, eps, call):
    for order in ATTACKS[name].norms:
        hyper = {"norm": order} if "norm" in ATTACKS[name].defaults else {}
        images = make_images()
        adv = call(within_budget(name, eps=eps, **hyper), model, images)
        distance = closed_forms.length(adv - images, order)
        # An image plus its perturbation is rounded entry by entry.
        rounding = 1e-7 * (images[0].size if order == 1 else 1)
        assert np.all(distance <= eps * (1 + 1e-5) + rounding)
        assert np.all(distance > 0)


@fixed_eps_attack
@both_ways
def test_no_radius_is_the_identity(model, name, call):
    for order in ATTACKS[name].norms:
        hyper = {"norm": order} if "norm" in ATTACKS[name].defaults else {}
        images = make_images()
        adv = call(within_budget(name, eps=0, **hyper), model, images)
        np.testing.assert_array_equal(adv, images)


@every_attack
@both_ways
def test_inputs_and_the_model_are_unmodified(model, name, call):
    images, labels = make_images(), np.zeros(BATCH, np.int64)
    images_before, weights_before = images.copy(), model.get_weights()
    call(within_budget(name), model, images, labels)
    np.testing.assert_array_equal(images, images_before)
    np.testing.assert_array_equal(labels, 0)
    for before, after in zip(weights_before, model.get_weights()):
        np.testing.assert_array_equal(before, after)


@every_attack
@both_ways
def test_no_labels_means_the_predicted_ones(model, name, call):
    attack, images = within_budget(name), make_images()
    np.testing.assert_array_equal(
        call(attack, model, images),
        call(attack, model, images, classes(model, images)),
    )


@functools.cache
def computing_in(dtype):
    """A network whose own kind this is, one for all attacks."""
    keras.config.set_dtype_policy(dtype)
    try:
        return small_models.deeper_network()
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.slow
@every_attack
@both_ways
def test_other_bounds_hold_in_half_precision(name, call):
    """Two promises at once: with each comes a trace of its own, which takes seconds."""
    other, images = computing_in("mixed_float16"), 0.25 + 0.5 * make_images()
    assert other(images).dtype == "float16"
    adv = call(within_budget(name), other, images, clip_min=0.25, clip_max=0.75)
    assert adv.dtype == np.float32 and np.all(np.isfinite(adv))
    assert adv.min() >= 0.25 and adv.max() <= 0.75


@pytest.mark.parametrize(
    "name, dtype",
    [("pgd", "mixed_bfloat16"), ("pgd", "float64"), ("fab_t", "float64")],
)
def test_logits_of_any_floating_kind(name, dtype):
    other, images = computing_in(dtype), make_images()
    assert other(images).dtype == dtype.removeprefix("mixed_")
    adv = within_budget(name)(other, images, classes(other, images))
    assert adv.dtype == tf.float32 and np.all(np.isfinite(adv))
