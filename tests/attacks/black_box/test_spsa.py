"""SPSA against closed forms and the properties that CleverHans tests."""

import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.black_box import spsa as module
from tf_advdefense.attacks.black_box.spsa import spsa
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.model_fn import inference

HYPER = spsa.hyper._replace(eps=1.0)  # 128 probes at a distance of 0.01


def state_at(x, seed=0):
    """The state of images whose descent begins at the images themselves."""
    labels, keys = tf.zeros(len(x), tf.int64), row_keys(seed, np.arange(len(x)))
    state = module.init(None, tf.constant(x), labels, keys, HYPER, Task())
    return state._replace(eta=tf.zeros_like(x))


def estimated(model, x, hyper=HYPER):
    return module.estimate(inference(model), state_at(x), hyper, Task())


def two_logits(function):
    """A model whose right class 0 has logit 0, and the other the function's value."""
    return lambda x: tf.stack([0 * function(x), function(x)], axis=1)


def test_one_pixel_has_the_exact_slope_of_a_line_and_a_parabola():
    x = np.array([0.1, 0.4, 0.9], np.float32).reshape(3, 1, 1, 1)
    line = two_logits(lambda x: 3.0 * x[:, 0, 0, 0])
    parabola = two_logits(lambda x: x[:, 0, 0, 0] ** 2)
    # The loss falls where the wrong class gains.
    np.testing.assert_allclose(estimated(line, x), np.full_like(x, -3), rtol=1e-3)
    np.testing.assert_allclose(estimated(parabola, x), -2 * x, rtol=1e-3)


def test_the_estimate_is_the_gradient_on_average():
    weights = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    model = two_logits(lambda x: tf.reduce_sum(x * weights, axis=(1, 2, 3)))
    estimate = estimated(model, np.full((200, 3, 4, 2), 0.5, np.float32)).numpy()
    # Of 64 pairs, an entry's error is as long as all of the gradient divided by 8.
    error = np.linalg.norm(weights) / 8
    np.testing.assert_allclose(estimate.mean(axis=0), -weights, atol=error / 3)
    np.testing.assert_allclose(estimate.std(axis=0), error, rtol=0.3)


def test_estimates_of_one_iteration_are_averaged():
    x = np.full((4, 1, 1, 1), 0.5, np.float32)
    line = two_logits(lambda x: 3.0 * x[:, 0, 0, 0])
    estimate = estimated(line, x, HYPER._replace(spsa_samples=4, spsa_iters=5))
    np.testing.assert_allclose(estimate, np.full_like(x, -3), rtol=1e-3)


# CleverHans' SimpleModel: two features, two classes.
W1 = np.float32([[1.5, 0.3], [-2, 0.3]])
W2 = np.float32([[-2.4, 1.2], [0.5, -2.3]])


def simple_model(x):
    return tf.sigmoid(tf.reshape(x, [-1, 2]) @ W1) @ W2


def simple_images():
    return small_models.random_images(100, seed=1, shape=(1, 2, 1))


def classes(x):
    return small_models.classes(simple_model, x)


@pytest.mark.parametrize("norm", [np.inf, 2])
def test_attack_strength_is_that_of_cleverhans(norm):
    images = simple_images()
    hyper = {"eps": 0.5, "nb_iter": 50, "norm": norm, "clip_min": -5, "clip_max": 5}
    adv = spsa(simple_model, images, spsa_samples=32, **hyper).numpy()
    assert np.mean(classes(adv) == classes(images)) < 0.5
    length = np.linalg.norm((adv - images).reshape(100, 2), norm, axis=1)
    assert np.all(length <= 0.5 + 1e-6)
    targets = np.random.default_rng(2).integers(2, size=100)
    adv = spsa(simple_model, images, targets, True, spsa_samples=32, **hyper)
    assert np.mean(classes(adv) == targets) > 0.7


def test_random_labels_of_ten_images_are_left():
    images = simple_images()[:10]
    labels = np.random.default_rng(3).integers(2, size=10)
    adv = spsa(simple_model, images, labels.astype(np.int32), eps=0.5, spsa_samples=64)
    assert np.mean(classes(adv) == labels) < 0.5
    one = spsa(simple_model, images[:1], labels[:1], eps=0.5, spsa_samples=64)
    np.testing.assert_allclose(one, adv[:1], atol=1e-5)


def test_an_image_stops_early_by_itself():
    images, labels = simple_images(), classes(simple_images())
    hyper = {"eps": 0.5, "nb_iter": 40, "spsa_samples": 16}
    attack = make_attack("spsa", early_stop_loss_threshold=0.0, **hyper)
    found = craft(simple_model, attack, images, labels, batch_size=100)
    fooled = found["prediction"] != labels
    assert attack.cost((1, 2, 1), 2) == (40 * 17, 0)
    assert np.all(found["forwards"][~fooled] == 40 * 17)
    assert len(np.unique(found["forwards"][fooled])) > 3
    assert np.all(found["forwards"] % 17 == 0)
    # Without a threshold, all iterations are taken.
    whole = craft(
        simple_model, make_attack("spsa", **hyper), images[:8], labels[:8], batch_size=8
    )
    assert np.all(whole["forwards"] == 40 * 17)


def test_the_model_sees_a_pair_of_probes_at_once():
    seen = set()

    def model(x):
        tf.py_function(lambda count: seen.add(int(count)), [tf.shape(x)[0]], [])
        return tf.reshape(x, [-1, 2])

    spsa(model, simple_images()[:8], nb_iter=1, spsa_samples=128)
    assert seen == {8, 16}


def test_an_odd_number_of_samples_is_one_line():
    with pytest.raises(ValueError, match="`spsa_samples` must be even.*=7.$") as error:
        make_attack("spsa", spsa_samples=7)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="`delta` must be above 0. Received: delta=0"):
        make_attack("spsa", delta=0.0)
