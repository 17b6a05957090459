"""Auto-PGD against closed forms and its own promises; see `test_auto_pgd_runs`, too."""

import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.attacks.gradient.auto_pgd import apgd_ce
from tf_advdefense.attacks.gradient.auto_pgd import apgd_dlr
from tf_advdefense.attacks.gradient.auto_pgd import apgd_t

every_attack = pytest.mark.parametrize("name", ["apgd_ce", "apgd_dlr", "apgd_t"])


def linear_model(rng, classes=4, offset=0.0, size=48):
    """Logits of images `[n, 4, 4, 3]`; class 0 leads by `offset`."""
    weights = rng.normal(size=(size, classes)).astype(np.float32)
    bias = np.eye(classes, dtype=np.float32)[0] * offset

    def model(images):
        return tf.reshape(images, [-1, size]) @ weights + bias

    return model, weights


def middle_images(rng, count=6):
    return rng.uniform(0.4, 0.6, (count, 4, 4, 3)).astype(np.float32)


# In L1 the steps settle on a few of the largest entries, not on the one largest.
@pytest.mark.parametrize("norm, share", [(np.inf, 0.9999), (2, 0.9999), (1, 0.8)])
def test_a_linear_models_loss_is_as_high_as_the_closed_form(norm, share):
    rng = np.random.default_rng(1)
    model, weights = linear_model(rng, classes=2, offset=30.0)
    images, zeros = middle_images(rng), np.zeros(6, np.int64)
    adv = apgd_t(model, images, zeros, eps=0.1, norm=norm).numpy()
    ascent = (weights[:, 1] - weights[:, 0]).reshape(4, 4, 3)
    best = {
        np.inf: np.sign(ascent),
        2: ascent / np.linalg.norm(ascent),
        1: np.sign(ascent) * (np.abs(ascent) == np.abs(ascent).max()),
    }[norm]
    gain = np.sum((adv - images) * ascent, axis=(1, 2, 3))
    highest = 0.1 * np.sum(best * ascent)
    assert np.all(gain >= share * highest) and np.all(gain <= 1.0001 * highest)


@every_attack
def test_the_first_fooling_point_ends_an_images_work(name):
    rng = np.random.default_rng(3)
    model, _ = linear_model(rng)
    images = middle_images(rng, 8)
    labels = small_models.classes(model, images)
    labels[:2] = (labels[:2] + 1) % 4  # wrong already
    attack = make_attack(name, eps=0.3)
    batch = craft(model, attack, images, labels, batch_size=8)
    np.testing.assert_array_equal(batch["image"][:2], images[:2])
    np.testing.assert_array_equal(batch["forwards"][:2], 1)
    np.testing.assert_array_equal(batch["backwards"][:2], 0)
    assert np.all(batch["prediction"] != labels)
    assert np.all(batch["backwards"][2:] >= 1) and np.all(batch["backwards"] <= 5)
    np.testing.assert_array_equal(batch["forwards"], batch["backwards"] + 1)


@pytest.mark.parametrize(
    "name, hyper, backwards",
    [
        ("apgd_ce", {}, 7),
        ("apgd_ce", {"n_restarts": 3}, 21),
        ("apgd_dlr", {"eot_iter": 2}, 14),
        ("apgd_t", {"n_target_classes": 2}, 14),
        ("apgd_t", {"n_target_classes": 2, "n_restarts": 2}, 28),
        ("apgd_ce", {"norm": 1, "use_largereps": True}, 9),
    ],
)
def test_an_image_that_holds_takes_the_stated_passes(name, hyper, backwards):
    rng = np.random.default_rng(4)
    model, _ = linear_model(rng, offset=100.0)
    attack = make_attack(name, n_iter=6, eps=0.1, **hyper)
    batch = craft(
        model, attack, middle_images(rng), np.zeros(6, np.int64), batch_size=6
    )
    forwards = backwards + hyper.get("eot_iter", 1)
    assert attack.cost((4, 4, 3), 4) == (forwards, backwards)
    np.testing.assert_array_equal(batch["forwards"], forwards)
    np.testing.assert_array_equal(batch["backwards"], backwards)
    assert np.all(batch["l1"] > 0)


def test_wider_balls_count_for_nothing_by_themselves():
    rng = np.random.default_rng(5)
    model, weights = linear_model(rng, classes=2)
    images = middle_images(rng, 16)
    labels = small_models.classes(model, images)
    lead = np.abs(np.diff(model(images).numpy()))[:, 0]
    needed = lead / np.max(np.abs(weights[:, 1] - weights[:, 0]))
    # The smaller radius fools none, but three times as much would fool them all.
    for eps, expected in ((1.5 * needed.max(), True), (0.9 * needed.min(), False)):
        attack = make_attack(
            "apgd_t", eps=float(eps), norm=1, use_largereps=True, n_iter=60
        )
        batch = craft(model, attack, images, labels, batch_size=16)
        assert np.all(batch["l1"] <= eps * (1 + 1e-5))
        np.testing.assert_array_equal(batch["prediction"] != labels, expected)


def test_a_targets_turn_comes_by_its_rank():
    rng = np.random.default_rng(6)
    model, _ = linear_model(rng)
    images = middle_images(rng)
    labels = small_models.classes(model, images)
    attack = make_attack("apgd_t", n_target_classes=9)
    x, y = tf.constant(images), tf.constant(labels)
    keys = row_keys(0, tf.range(6))
    state = attack.init(inference(model), x, y, keys, attack.hyper, Task())
    ranked = np.argsort(-model(images).numpy(), axis=1)
    np.testing.assert_array_equal(state.targets, ranked[:, 1:])


# A target changes the loss, which has nothing to do with the norm.
@pytest.mark.parametrize(
    "name, norm, eps",
    [
        ("apgd_ce", np.inf, 0.5),
        ("apgd_dlr", 2, 5.0),
        ("apgd_t", 1, 20.0),
        ("apgd_ce", 1, 20.0),
    ],
)
def test_targeted_reaches_the_target(name, norm, eps):
    rng = np.random.default_rng(7)
    model, _ = linear_model(rng)
    images = middle_images(rng, 4)
    targets = (small_models.classes(model, images) + 2) % 4
    adv = make_attack(name, eps=eps, norm=norm)(model, images, targets, targeted=True)
    np.testing.assert_array_equal(small_models.classes(model, adv), targets)


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes(classes):
    rng = np.random.default_rng(8)
    model, _ = linear_model(rng, classes=classes)
    images = middle_images(rng)
    labels = small_models.classes(model, images)
    adv = apgd_t(model, images, labels, eps=0.3)
    assert np.all(small_models.classes(model, adv) != labels)
    if classes == 2:
        with pytest.raises(ValueError, match="needs at least 3 classes. Received: 2."):
            apgd_dlr(model, images, labels)


def test_a_gradient_that_underflows_in_its_square_still_points():
    rng = np.random.default_rng(9)
    model, _ = linear_model(rng, classes=2, offset=30.0)
    images, zeros = middle_images(rng), np.zeros(6, np.int64)
    faint = lambda x: model(x) * 1e-22
    adv = apgd_t(faint, images, zeros, eps=0.1, norm=2, n_iter=10)
    clear = apgd_t(model, images, zeros, eps=0.1, norm=2, n_iter=10)
    np.testing.assert_allclose(adv, clear, atol=1e-3)
    assert np.max(np.abs(adv - images)) > 0.02


def test_means_over_passes_steady_a_random_model():
    rng = np.random.default_rng(10)
    model, _ = linear_model(rng, classes=2, offset=100.0)

    def noisy(images):
        return model(images + tf.random.normal(tf.shape(images), stddev=0.3))

    images, zeros = middle_images(rng), np.zeros(6, np.int64)
    hyper = {"eps": 0.1, "n_iter": 5}
    adv = apgd_ce(noisy, images, zeros, eot_iter=4, **hyper)
    assert np.max(np.abs(adv - images)) <= 0.1 * (1 + 1e-5)
    batch = craft(
        noisy, make_attack("apgd_ce", eot_iter=4, **hyper), images, zeros, batch_size=6
    )
    np.testing.assert_array_equal(batch["backwards"] % 4, 0)


def test_dropping_finished_images_changes_nothing_but_rounding():
    rng = np.random.default_rng(11)
    model, _ = linear_model(rng, offset=1.0)
    curved = lambda x: tf.sin(model(x))
    images = rng.random((32, 4, 4, 3), np.float32)
    labels = small_models.classes(curved, images)
    attack = make_attack("apgd_t", eps=0.01, n_iter=20)
    batch = craft(curved, attack, images, labels, batch_size=32)
    # Inside a tf.function every image stays until all are done.
    whole = tf.function(lambda: attack(curved, images, labels))().numpy()
    fooled = small_models.classes(curved, whole) != labels
    assert 0 < np.mean(fooled) < 1
    assert np.mean(fooled == (batch["prediction"] != labels)) >= 0.97
    close = np.max(np.abs(whole - batch["image"]), axis=(1, 2, 3)) < 1e-5
    assert np.mean(close) >= 0.8


def test_a_schedule_of_radii_is_for_l1():
    small_models.assert_refused(
        "`use_largereps` is for the L1 ball. Received: norm=inf. "
        "Leave it False, or use norm=1.",
        "apgd_ce",
        {"use_largereps": True},
    )
