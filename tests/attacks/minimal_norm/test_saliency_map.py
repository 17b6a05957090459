"""The saliency map attack against brute force and by hand."""

import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.attacks.minimal_norm.saliency_map import best_pair
from tf_advdefense.attacks.minimal_norm.saliency_map import jsma
from tf_advdefense.attacks.minimal_norm.saliency_map import second_largest_before

SHAPE = (6, 6, 3)
SIZE = 108


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(40, activation="tanh"),
            keras.layers.Dense(4),
        ]
    )


def make_images(count=8, seed=0):
    return np.random.default_rng(seed).uniform(0.2, 0.8, (count, *SHAPE)).astype("f")


def changed(adv, images):
    return np.count_nonzero(np.asarray(adv) != images, axis=(1, 2, 3))


def brute_force(a, b, free):
    """The largest product of sums of one row, or None, by the matrix of all pairs."""
    sums_a, sums_b = (values[:, None] + values[None] for values in (a, b))
    allowed = (sums_a > 0) & (sums_b > 0) & free[:, None] & free[None]
    np.fill_diagonal(allowed, False)
    return np.max((sums_a * sums_b)[allowed]) if allowed.any() else None


def clouds(rng, size):
    """Rows of features whose a and b are related in many ways."""
    a, noise = rng.normal(size=(2, 9, size)).astype(np.float32)
    b = noise.copy()
    b[1] = a[1] + 0.3 * noise[1]
    b[2] = -a[2] + 0.3 * noise[2]
    b[3] = -a[3]
    b[4] = 1 / (0.1 + np.abs(a[4]))
    a[4] = np.abs(a[4])  # each feature is better than all others in its own way
    a[5], b[5] = np.round(a[5]), np.round(b[5])
    a[6], b[6] = 1.0, 1.0
    a[7] -= 9
    b[8] -= 2
    return a, b


@pytest.mark.parametrize("size", [2, 3, 7, 60])
def test_the_best_pair_is_that_of_all_pairs(size):
    rng = np.random.default_rng(size)
    rows = range(9)
    for share in (1.0, 0.6, 0.1):
        a, b = clouds(rng, size)
        free = rng.random((9, size)) < share
        pair, found = (values.numpy() for values in best_pair(a, b, free))
        for row, (p, q) in zip(rows, pair):
            best = brute_force(a[row], b[row], free[row])
            assert found[row] == (best is not None)
            if found[row]:
                assert p != q and free[row, p] and free[row, q]
                product = (a[row, p] + a[row, q]) * (b[row, p] + b[row, q])
                np.testing.assert_allclose(product, best, rtol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 8, 13])
def test_what_two_others_exceed_is_told_from_the_rest(size):
    values = np.random.default_rng(0).integers(0, 9, (20, size)).astype(np.float32)
    second = second_largest_before(values).numpy()
    for place in range(size):
        before = np.sort(values[:, :place], axis=1)
        expected = before[:, -2] if place > 1 else np.full(20, -np.inf)
        np.testing.assert_array_equal(second[:, place], expected)


def test_values_that_are_not_finite_are_in_no_pair():
    a = np.array([[np.nan, 2.0, 3.0, np.inf, 1.0]], np.float32)
    b = np.array([[1.0, 1.0, -np.inf, 1.0, 1.0]], np.float32)
    pair, found = best_pair(a, b, np.ones((1, 5), bool))
    assert set(pair[0].numpy()) == {1, 4} and found[0]
    assert not best_pair(a[:, 2:], b[:, 2:], np.ones((1, 3), bool))[1][0]


@pytest.mark.parametrize("theta", [1.0, 0.3, -1.0, -0.3])
def test_the_first_change_is_by_hand(model, theta):
    """Of the Jacobian of the paper's equation 8, with all pairs in a matrix."""
    images = make_images(4)
    target = (small_models.classes(model, images) + 1) % 4
    attack = make_attack("jsma", theta=theta, gamma=2 / SIZE)
    model_fn, task = inference(model), Task(targeted=True)
    x, keys = tf.constant(images), row_keys(0, tf.range(4))
    state = attack.init(model_fn, x, tf.constant(target), keys, attack.hyper, task)
    state = attack.advance(model_fn, state, attack.hyper, task)
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = model(x)
    jacobian = tape.batch_jacobian(logits, x).numpy().reshape(4, 4, SIZE)
    for row in range(4):
        alpha = jacobian[row, target[row]]
        beta = jacobian[row].sum(axis=0) - alpha
        sums = alpha[:, None] + alpha[None], beta[:, None] + beta[None]
        score = -sums[0] * sums[1]
        sign = np.sign(theta)
        score[(sums[0] * sign <= 0) | (sums[1] * sign >= 0)] = 0
        np.fill_diagonal(score, 0)
        pair = np.unravel_index(np.argmax(score), score.shape)
        expected = images[row].ravel().copy()
        expected[list(pair)] = np.clip(expected[list(pair)] + theta, 0, 1)
        np.testing.assert_allclose(
            state.changed[row].numpy().ravel(), expected, atol=1e-6
        )


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("theta", [1.0, -1.0])
def test_few_features_fool(model, targeted, theta):
    images = make_images()
    own = small_models.classes(model, images)
    y = (own + 2) % 4 if targeted else own
    adv = jsma(model, images, y, targeted, theta=theta)
    moved = changed(adv, images) > 0
    assert np.mean(moved) >= 0.7
    np.testing.assert_array_equal(
        (small_models.classes(model, adv) == y) == targeted, moved
    )
    assert np.max(changed(adv, images)) < SIZE / 2
    direction = (adv.numpy() - images) * theta
    assert np.all(direction >= 0)
    np.testing.assert_array_equal(adv.numpy()[direction > 0], 1.0 if theta > 0 else 0.0)


@pytest.mark.parametrize("gamma", [0.04, 0.1, 0.3])
def test_each_feature_changes_once_and_few_do(model, gamma):
    images = make_images(count=24)
    adv = jsma(model, images, gamma=gamma, theta=0.15).numpy()
    count = changed(adv, images)
    assert np.all(count <= gamma * SIZE) and np.all(count % 2 == 0)
    steps = np.abs(adv - images)
    np.testing.assert_allclose(steps[steps > 0], 0.15, atol=1e-6)
    if gamma == 0.3:
        assert np.max(count) > 0.1 * SIZE and np.any(count == 0)


def test_a_smaller_share_stops_where_a_larger_one_goes_on(model):
    images = make_images(count=24)
    whole = jsma(model, images, theta=0.3).numpy()
    share = jsma(model, images, theta=0.3, gamma=8 / SIZE).numpy()
    early = changed(whole, images) <= 8
    assert np.any(early) and np.any(~early)
    np.testing.assert_array_equal(share[early], whole[early])
    np.testing.assert_array_equal(share[~early], images[~early])


def test_images_without_an_admissible_pair_are_left():
    """Every value raises both classes: no pair lowers the others."""

    def model(images):
        total = tf.reduce_sum(images, axis=(1, 2, 3))
        return tf.stack([total, total - 1], axis=1)

    images = make_images()
    adv = jsma(model, images, np.zeros(8, int))
    np.testing.assert_array_equal(adv, images)


def test_what_is_fooled_already_stays(model):
    images = make_images()
    labels = (small_models.classes(model, images) + 1) % 4
    np.testing.assert_array_equal(jsma(model, images, labels), images)
    own = small_models.classes(model, images)
    np.testing.assert_array_equal(jsma(model, images, own, targeted=True), images)


def test_an_untargeted_attack_aims_at_the_likeliest_other_class(model):
    """The third class is out of reach; the attack goes for the second."""
    weights = np.zeros((SIZE, 3), np.float32)
    weights[:20] = [0.0, 1.0, 0.0]
    weights[20:40] = [0.0, 0.0, 2.0]
    weights[:40] -= [0.9, 0.0, 0.0]
    bias = np.array([40.0, 0.0, -50.0], np.float32)
    linear = lambda x: tf.reshape(x, [-1, SIZE]) @ weights + bias
    images = np.full((1, *SHAPE), 0.5, np.float32)
    adv = jsma(linear, images).numpy()
    assert small_models.classes(linear, adv) == [1]
    assert set(np.flatnonzero(adv != images)) <= set(range(20))


@pytest.mark.parametrize(
    "message, hyper",
    [
        ("`theta` must not be 0. Received: theta=0.0.", {"theta": 0.0}),
        ("`gamma` must be in (0, 1]. Received: gamma=0.0.", {"gamma": 0.0}),
        ("`gamma` must be in (0, 1]. Received: gamma=1.5.", {"gamma": 1.5}),
    ],
)
def test_values_are_checked_beforehand(message, hyper):
    small_models.assert_refused(message, "jsma", hyper)
