"""FAB-T: exact distances on linear models, and the original's results."""

import closed_forms
import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.balls import lengths
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.attacks.minimal_norm import fab
from tf_advdefense.attacks.minimal_norm.fab import fab_t

norms = pytest.mark.parametrize("norm", [np.inf, 2, 1])


# --- exact distances on linear models -------------------------------------------------


@norms
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_distances_on_linear_models_are_exact(norm, classes, batch):
    model, weights = closed_forms.linear_classifier(classes)
    images = closed_forms.grey_images(batch, 0.1)
    _, labels, distances = closed_forms.class_distances(images, weights, norm)
    adv = fab_t(model, images, norm=norm, n_iter=20, eta=1.0005).numpy()
    found = closed_forms.length(adv - images, norm)
    assert np.all(small_models.classes(model, adv) != labels)
    np.testing.assert_allclose(found, np.nanmin(distances, axis=1), rtol=1e-3)


@norms
def test_a_target_is_reached(norm):
    model, weights = closed_forms.linear_classifier(4)
    images = closed_forms.grey_images(8, 0.1)
    _, labels, distances = closed_forms.class_distances(images, weights, norm)
    targets = (labels + 1) % 4
    adv = fab_t(model, images, targets, targeted=True, norm=norm, n_iter=30).numpy()
    np.testing.assert_array_equal(small_models.classes(model, adv), targets)
    found = closed_forms.length(adv - images, norm)
    # The region of the target begins no nearer than its boundary with the label.
    least = distances[np.arange(8), targets]
    assert np.all(found >= least * 0.999) and np.median(found / least) < 1.2


# --- the original ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden():
    return small_models.golden_arrays("fab")


def ratios_to_the_original(golden, norm):
    """Our distance by the original's, `[targets, n]`: one run for each target."""
    name = {np.inf: "Linf", 2: "L2", 1: "L1"}[norm]
    model_fn = inference(small_models.two_layers(golden))
    attack, task = make_attack("fab_t", norm=norm, n_iter=30), Task()
    images, labels = (tf.constant(golden[key]) for key in ("images", "labels"))
    keys, found = row_keys(0, tf.range(8)), []
    for rank in range(4):
        state = attack.init(model_fn, images, labels, keys, attack.hyper, task)
        state = state._replace(targets=state.targets[:, rank : rank + 1])
        while not np.all(state.progress.done):
            state = attack.advance(model_fn, state, attack.hyper, task)
        np.testing.assert_array_equal(state.progress.backwards, 30)
        np.testing.assert_array_equal(state.progress.forwards, 61)
        adv = attack.finish(state, attack.hyper, task)
        assert np.all(small_models.classes(model_fn, adv) != golden["labels"])
        found.append(lengths(adv - images, norm))
    return np.array(found) / golden[f"distance_{name}"]


@norms
def test_every_targets_distance_is_the_originals(golden, norm, monkeypatch):
    """Where it tries the same points: not those of which it takes the gradient."""
    record = fab.record

    def record_as_the_original(state, point, *args):
        return state if point is state.point else record(state, point, *args)

    monkeypatch.setattr(fab, "record", record_as_the_original)
    np.testing.assert_allclose(ratios_to_the_original(golden, norm), 1, rtol=1e-3)


@norms
def test_points_on_the_way_make_distances_smaller(golden, norm):
    """Iterates that aim at one class cross another: `beta` times as far is tried."""
    ratios = ratios_to_the_original(golden, norm)
    assert np.all((ratios < 1.0001) & (ratios > 0.9 * 0.999))
    assert np.mean(ratios) < 0.98
    # Nothing lies before the second class.
    np.testing.assert_allclose(ratios[0], 1, rtol=1e-3)


# --- stopping, restarts, targets ------------------------------------------------------


def test_a_radius_keeps_what_is_fooled_within_it_and_stops_there():
    model, weights = closed_forms.linear_classifier(4)
    images = closed_forms.grey_images(16, 0.1)
    _, labels, exact = closed_forms.class_distances(images, weights, np.inf)
    closest = np.nanmin(exact, axis=1)
    eps = float(np.median(closest))
    attack = make_attack("fab_t", eps=eps, n_iter=10)
    found = craft(model, attack, images, labels, batch_size=16)
    fooled = found["prediction"] != labels
    # A linear model is fooled at once, wherever the overshoot stays within eps.
    np.testing.assert_array_equal(fooled[closest * 1.05 < eps], True)
    np.testing.assert_array_equal(fooled[closest > eps], False)
    assert np.all(found["linf"][fooled] <= eps)
    np.testing.assert_array_equal(found["image"][~fooled], images[~fooled])
    assert np.all(found["backwards"][closest * 1.05 < eps] <= 10)
    np.testing.assert_array_equal(found["backwards"][closest > eps], 30)
    np.testing.assert_array_equal(found["forwards"][closest > eps], 61)


def test_what_is_wrong_already_stays():
    model, weights = closed_forms.linear_classifier(4)
    images = closed_forms.grey_images(8, 0.1)
    _, labels, _ = closed_forms.class_distances(images, weights, np.inf)
    np.testing.assert_array_equal(fab_t(model, images, (labels + 1) % 4), images)
    np.testing.assert_array_equal(fab_t(model, images, labels, targeted=True), images)
    attack = make_attack("fab_t")
    found = craft(model, attack, images, (labels + 1) % 4, batch_size=8)
    np.testing.assert_array_equal(found["forwards"], 1)
    np.testing.assert_array_equal(found["backwards"], 0)


def test_what_cannot_be_fooled_stays():
    images = closed_forms.grey_images(3, 0.1)
    first = lambda x: tf.one_hot(tf.zeros(tf.shape(x)[:1], tf.int32), 3, 9.0, -9.0)
    constant = lambda x: tf.reduce_sum(x * 1e-9) + first(x)
    np.testing.assert_array_equal(fab_t(constant, images, [0, 0, 0], n_iter=3), images)


@pytest.fixture(scope="module")
def curved():
    """A small network whose boundaries have many folds, and images it classifies."""
    keras.utils.set_random_seed(4)
    steep = keras.initializers.RandomNormal(stddev=1.0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(30, "tanh", kernel_initializer=steep),
            keras.layers.Dense(30, "tanh", kernel_initializer=steep),
            keras.layers.Dense(6),
        ]
    )
    images = small_models.random_images(16, seed=2, shape=(6, 6, 1))
    return model, images


@pytest.mark.slow
@norms
def test_more_targets_and_restarts_are_never_worse(curved, norm):
    model, images = curved
    one, all_, again, other_seed = (
        closed_forms.length(
            fab_t(model, images, norm=norm, n_iter=8, **hyper) - images, norm
        )
        for hyper in (
            {"n_target_classes": 1},
            {"n_target_classes": 9},
            {"n_target_classes": 9, "n_restarts": 3},
            {"n_target_classes": 9, "n_restarts": 3, "seed": 1},
        )
    )
    for found in (one, all_, again, other_seed):
        found[found == 0] = np.inf  # not fooled
    assert np.all(all_ <= one) and np.any(all_ < one)
    assert np.all(again <= all_) and np.any(again < all_)
    assert np.any(again != other_seed)


@norms
@pytest.mark.parametrize("eps", [None, 0.2])
def test_restarts_begin_half_as_far_as_the_best_or_eps(norm, eps):
    image, labels = tf.fill([40, 5, 5, 3], 0.5), tf.zeros([40], tf.int64)
    best = np.float32([np.inf, 0.1] * 20)
    model_fn = inference(lambda x: tf.reduce_mean(x, axis=[1, 2]))
    attack, task = make_attack("fab_t", norm=norm, eps=eps), Task(False, -9.0, 9.0)
    keys = tf.range(40, dtype=tf.int64)
    state = attack.init(model_fn, image, labels, keys, attack.hyper, task)
    state = state._replace(best_distance=tf.constant(best))
    start = fab.random_start(state, tf.fill([40], 1), attack.hyper, task)
    radius = {np.inf: 0.3, 2: 1.0, 1: 5.0}[norm] if eps is None else eps
    np.testing.assert_allclose(
        lengths(start - image, norm), np.minimum(best, radius) / 2, rtol=1e-4
    )
    assert abs(np.mean(np.sign(start - image))) < 0.06


@pytest.mark.parametrize(
    "hyper, message",
    [
        ({"alpha_max": 1.5}, "`alpha_max` must be in [0, 1]. Received: alpha_max=1.5."),
        ({"eta": 0.9}, "`eta` must be in [1, inf]. Received: eta=0.9."),
        ({"beta": -0.1}, "`beta` must be in [0, 1]. Received: beta=-0.1."),
        ({"norm": 3}, "`norm` must be inf or 2 or 1. Received: norm=3."),
    ],
)
def test_ranges_are_checked(hyper, message):
    small_models.assert_refused(message, "fab_t", hyper)


def test_the_passes_are_stated():
    image, classes = (32, 32, 3), 10
    assert make_attack("fab_t").cost(image, classes) == (1801, 900)
    again = make_attack("fab_t", n_restarts=2, n_iter=5)
    assert again.cost(image, classes) == (181, 90)
