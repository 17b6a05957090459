"""FAB-T and its projections: an oracle, exact distances, the original's results."""

import pathlib

import keras
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.optimize import minimize
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core import craft as engine
from tf_advdefense.attacks.core.balls import dual_lengths
from tf_advdefense.attacks.core.balls import lengths
from tf_advdefense.attacks.minimal_norm import fab
from tf_advdefense.attacks.minimal_norm.fab import fab_t
from tf_advdefense.attacks.minimal_norm.hyperplane import to_hyperplane

GOLDEN = pathlib.Path(__file__).parent / "golden" / "fab.npz"
DUAL = {2: 2, np.inf: 1, 1: np.inf}
norms = pytest.mark.parametrize("norm", [np.inf, 2, 1])


# --- projections ----------------------------------------------------------------------


def nearest_point(x, value, gradient, norm):
    """The distance from x to value + <gradient, d> = 0 in [0, 1], by scipy; or None."""
    size = len(x)
    if norm == 2:
        found = minimize(
            lambda d: d @ d / 2,
            np.zeros(size),
            jac=lambda d: d,
            bounds=list(zip(-x, 1 - x)),
            constraints={
                "type": "eq",
                "fun": lambda d: value + gradient @ d,
                "jac": lambda d: gradient,
            },
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-12},
        )
        return np.linalg.norm(found.x) if found.success else None
    # Linear programs in (d, bounds of |d|): one bound for all entries, or one for each.
    eye = np.eye(size)
    bounds_of = np.ones((size, 1)) if norm == np.inf else eye
    found = linprog(
        np.r_[np.zeros(size), np.ones(bounds_of.shape[1])],
        A_ub=np.block([[eye, -bounds_of], [-eye, -bounds_of]]),
        b_ub=np.zeros(2 * size),
        A_eq=np.r_[gradient, np.zeros(bounds_of.shape[1])][None],
        b_eq=[-value],
        bounds=[*zip(-x, 1 - x), *[(0, None)] * bounds_of.shape[1]],
    )
    return found.fun if found.success else None


@pytest.fixture(scope="module")
def planes():
    """Points and hyperplanes: near, far, bounds in the way, and out of reach."""
    rng = np.random.default_rng(0)
    points = rng.random((24, 3, 2, 2), np.float32)
    gradients = rng.normal(size=points.shape).astype(np.float32)
    gradients[:, 0, 0, 0] = 0
    reach = np.where(gradients > 0, 1 - points, points) * np.abs(gradients)
    share = np.tile([0.01, 0.3, 0.9, 1.5], 6)
    values = -share * reach.reshape(24, -1).sum(axis=1)
    flipped = np.arange(24) >= 12  # the same from the other side of the hyperplane
    gradients[flipped] *= -1
    values[flipped] *= -1
    return points, values.astype(np.float32), gradients, share > 1


def steps(points, values, gradients, norm):
    return to_hyperplane(
        *map(tf.constant, (points, values, gradients)), norm, 0.0, 1.0
    ).numpy()


@norms
def test_steps_are_the_shortest_inside_the_bounds(planes, norm):
    points, values, gradients, beyond = planes
    step = steps(points, values, gradients, norm)
    flat, moved = step.reshape(24, -1), points + step
    assert moved.min() >= -1e-6 and moved.max() <= 1 + 1e-6
    left = values + np.sum(gradients.reshape(24, -1) * flat, axis=1)
    np.testing.assert_allclose(left[~beyond], 0, atol=1e-5)
    for row in np.flatnonzero(~beyond):
        oracle = nearest_point(
            *(a[row].astype(np.float64).ravel() for a in (points, values, gradients)),
            norm,
        )
        found = np.linalg.norm(flat[row], norm)
        np.testing.assert_allclose(found, oracle, rtol=2e-4)


@norms
def test_a_hyperplane_out_of_reach_is_approached_to_the_bounds(planes, norm):
    points, values, gradients, beyond = planes
    moved = points + steps(points, values, gradients, norm)
    uphill = -np.sign(values).reshape(-1, 1, 1, 1) * gradients
    corner = np.where(uphill > 0, 1.0, np.where(uphill < 0, 0.0, points))
    np.testing.assert_allclose(moved[beyond], corner[beyond], atol=1e-5)


@norms
def test_steps_depend_on_ratios_only(planes, norm):
    points, values, gradients, _ = planes
    small = np.float32(1e-30)
    np.testing.assert_allclose(
        steps(points, values * small, gradients * small, norm),
        steps(points, values, gradients, norm),
        atol=1e-5,
    )


@norms
def test_no_gradient_or_nan_moves_only_its_own_row(planes, norm):
    points, values, gradients, _ = (a.copy() for a in planes)
    expected = steps(points, values, gradients, norm)
    gradients[0], values[1], gradients[2] = 0, np.nan, np.nan
    step = steps(points, values, gradients, norm)
    np.testing.assert_array_equal(step[0], 0)
    np.testing.assert_array_equal(step[3:], expected[3:])


@norms
def test_lengths_are_numpys(planes, norm):
    points = planes[0]
    flat = points.reshape(24, -1)
    np.testing.assert_allclose(
        lengths(tf.constant(points), norm),
        np.linalg.norm(flat, norm, axis=1),
        rtol=1e-6,
    )
    # Hoelder's inequality is an equality for the best step.
    gradient, value = planes[2], tf.fill([24], -1e-3)
    step = to_hyperplane(tf.constant(points), value, gradient, norm, -9.0, 9.0)
    np.testing.assert_allclose(
        lengths(step, norm) * dual_lengths(tf.constant(gradient), norm), 1e-3, rtol=1e-4
    )


# --- exact distances on linear models -------------------------------------------------


def linear_model(classes, seed=0):
    """A linear classifier whose boundaries go through grey, and its weights."""
    weights = np.random.default_rng(seed).normal(size=(27, classes)).astype(np.float32)
    images = keras.Input((3, 3, 3))
    dense = keras.layers.Dense(classes)
    model = keras.Model(images, dense(keras.layers.Flatten()(images)))
    dense.set_weights([weights, -0.5 * weights.sum(axis=0)])
    return model, weights


def middle_images(count):
    """Images so far from the bounds that these do not matter."""
    images = np.random.default_rng(1).uniform(0.4, 0.6, (count, 3, 3, 3))
    return images.astype(np.float32)


def boundary_distances(images, weights, norm):
    """Labels, and distances to the region of each other class, `[n, classes]`."""
    logits = (images.reshape(len(images), -1).astype(np.float64) - 0.5) @ weights
    labels = np.argmax(logits, axis=1)
    between = weights.T[None] - weights.T[labels][:, None]
    lead = logits - logits[np.arange(len(images)), labels][:, None]
    slope = np.linalg.norm(between, DUAL[norm], axis=2)
    slope[np.arange(len(images)), labels] = np.nan
    return labels, -lead / slope


@norms
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_distances_on_linear_models_are_exact(norm, classes, batch):
    model, weights = linear_model(classes)
    images = middle_images(batch)
    labels, distances = boundary_distances(images, weights, norm)
    adv = fab_t(model, images, norm=norm, n_iter=20, eta=1.0005).numpy()
    found = np.linalg.norm((adv - images).reshape(batch, -1), norm, axis=1)
    assert np.all(np.argmax(model(adv), axis=1) != labels)
    np.testing.assert_allclose(found, np.nanmin(distances, axis=1), rtol=1e-3)


@norms
def test_a_target_is_reached(norm):
    model, weights = linear_model(4)
    images = middle_images(8)
    labels, distances = boundary_distances(images, weights, norm)
    targets = (labels + 1) % 4
    adv = fab_t(model, images, targets, targeted=True, norm=norm, n_iter=30).numpy()
    np.testing.assert_array_equal(np.argmax(model(adv), axis=1), targets)
    found = np.linalg.norm((adv - images).reshape(8, -1), norm, axis=1)
    # The region of the target begins no nearer than its boundary with the label.
    least = distances[np.arange(8), targets]
    assert np.all(found >= least * 0.999) and np.median(found / least) < 1.2


# --- the original ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        return dict(arrays)


def ratios_to_the_original(golden, norm, check=None):
    """Our distance by the original's, `[targets, n]`: one run for each target."""
    name = {np.inf: "Linf", 2: "L2", 1: "L1"}[norm]

    def model(images):
        flat = tf.reshape(images, [tf.shape(images)[0], -1])
        return tf.tanh(flat @ golden["w1"] + golden["b1"]) @ golden["w2"] + golden["b2"]

    attack = make_attack("fab_t", norm=norm, n_iter=30)
    settings = attack.hyper | {"targeted": False, "clip_min": 0.0, "clip_max": 1.0}
    images, labels = (tf.constant(golden[key]) for key in ("images", "labels"))
    found = []
    for rank in range(4):
        state = attack.stages.init(model, images, labels, 0, tf.range(8), settings)
        state["targets"] = state["targets"][:, rank : rank + 1]
        while not np.all(state["done"]):
            state = attack.stages.advance(model, state, settings)
        np.testing.assert_array_equal(state["backwards"], 30)
        np.testing.assert_array_equal(state["forwards"], 61)
        adv = attack.stages.finish(state, settings)
        assert np.all(np.argmax(model(adv), axis=1) != golden["labels"])
        found.append(lengths(adv - images, norm))
    return np.array(found) / golden[f"distance_{name}"]


@norms
def test_every_targets_distance_is_the_originals(golden, norm, monkeypatch):
    """Where it tries the same points: not those of which it takes the gradient."""
    record = fab._record

    def record_as_the_original(state, point, *args):
        return state if point is state["point"] else record(state, point, *args)

    monkeypatch.setattr(fab, "_record", record_as_the_original)
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


def distances(adv, images, norm=np.inf):
    return np.linalg.norm((np.asarray(adv) - images).reshape(len(images), -1), norm, 1)


def test_a_radius_keeps_what_is_fooled_within_it_and_stops_there():
    model, weights = linear_model(4)
    images = middle_images(16)
    labels, exact = boundary_distances(images, weights, np.inf)
    closest = np.nanmin(exact, axis=1)
    eps = float(np.median(closest))
    attack = make_attack("fab_t", eps=eps, n_iter=10)
    found = engine.craft(model, attack, images, labels, batch_size=16)
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
    model, weights = linear_model(4)
    images = middle_images(8)
    labels, _ = boundary_distances(images, weights, np.inf)
    np.testing.assert_array_equal(fab_t(model, images, (labels + 1) % 4), images)
    np.testing.assert_array_equal(fab_t(model, images, labels, targeted=True), images)
    attack = make_attack("fab_t")
    found = engine.craft(model, attack, images, (labels + 1) % 4, batch_size=8)
    np.testing.assert_array_equal(found["forwards"], 1)
    np.testing.assert_array_equal(found["backwards"], 0)


def test_what_cannot_be_fooled_stays():
    images = middle_images(3)
    constant = lambda x: (
        tf.reduce_sum(x * 1e-9) + tf.one_hot(tf.zeros(tf.shape(x)[:1], tf.int32), 3)
    )
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
    images = np.random.default_rng(2).random((16, 6, 6, 1), np.float32)
    return model, images


@norms
def test_more_targets_and_restarts_are_never_worse(curved, norm):
    model, images = curved
    one, all_, again, other_seed = (
        distances(fab_t(model, images, norm=norm, n_iter=8, **hyper), images, norm)
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
    image = tf.fill([40, 5, 5, 3], 0.5)
    best = np.float32([np.inf, 0.1] * 20)
    state = {
        "image": image,
        "best_distance": tf.constant(best),
        "keys": tf.range(40, dtype=tf.int64),
    }
    settings = {"norm": norm, "eps": eps, "clip_min": -9.0, "clip_max": 9.0}
    start = fab._random_start(state, tf.fill([40], 1), settings)
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
    with pytest.raises(ValueError) as error:
        make_attack("fab_t", **hyper)
    assert str(error.value) == message


def test_the_registry_states_the_passes():
    assert make_attack("fab_t").passes == (1801, 900)
    assert make_attack("fab_t", n_restarts=2, n_iter=5).passes == (181, 90)
