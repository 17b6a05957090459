"""The Square attack against the original's results, closed forms and properties."""

import json

import closed_forms
import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.black_box import square_windows
from tf_advdefense.attacks.black_box.square import square
from tf_advdefense.attacks.core.craft import craft

every_norm = pytest.mark.parametrize("norm, eps", [(np.inf, 0.1), (2, 1.0), (1, 6.0)])


@pytest.fixture(scope="module")
def golden():
    arrays = small_models.golden_arrays("square")
    return arrays | {"images": arrays["images"] / np.float32(255)}


@pytest.fixture(scope="module")
def trained(golden):
    return small_models.two_layers(golden)


def leads(model, adv, labels):
    """By how much a wrong class leads, `[n]`."""
    logits = model(adv).numpy()
    own = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    np.put_along_axis(logits, labels[:, None], -np.inf, axis=1)
    return logits.max(axis=1) - own


GOLDEN_SETTINGS = ["linf", "linf_rescaled", "linf_restarts", "l2", "l2_small_windows"]


def test_every_golden_setting_is_checked(golden):
    assert small_models.golden_settings(golden) == set(GOLDEN_SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("setting", GOLDEN_SETTINGS)
def test_as_many_images_stay_robust_as_in_the_original(golden, trained, setting):
    hyper = json.loads(str(golden[f"args_{setting}"]))
    hyper["norm"] = {"Linf": np.inf, "L2": 2}[hyper["norm"]]
    # Four times at once: an image draws by its place.
    images = np.tile(golden["images"], [4, 1, 1, 1])
    labels = np.tile(golden["labels"], 4)
    adv = square(trained, images, labels, **hyper)
    counts = np.sum(leads(trained, adv, labels).reshape(4, -1) < 0, axis=1)
    original = golden[f"robust_{setting}"]
    # Images with draws of their own scatter less than a batch that shares them.
    assert original.min() <= np.mean(counts) <= original.max()
    error = np.std(original) / np.sqrt(len(original)) + np.std(counts) / 2
    assert abs(np.mean(counts) - original.mean()) <= 3 * error + 1


@every_norm
def test_more_queries_never_lower_the_lead(golden, trained, norm, eps):
    images, labels = golden["images"][:20], golden["labels"][:20]
    before = -np.inf  # a start is kept even where it is worse than the image
    for n_queries in (5, 60):
        adv = square(trained, images, labels, norm=norm, eps=eps, n_queries=n_queries)
        after = leads(trained, adv, labels)
        assert np.all(closed_forms.length(adv - images, norm) <= eps * (1 + 1e-5))
        assert np.all((after >= before - 1e-5) | (after > 0))
        before = after
    assert np.mean(after > leads(trained, images, labels) + 0.01) > 0.9


@every_norm
def test_the_search_comes_close_to_the_best_of_a_linear_model(norm, eps):
    rng = np.random.default_rng(0)
    # Not square, two channels, far from the bounds, and too far to be fooled.
    weights = rng.normal(size=(6, 9, 2)).astype(np.float32)
    images = rng.uniform(0.4, 0.6, (4, 6, 9, 2)).astype(np.float32)
    eps = {np.inf: 0.2, 2: 1.0, 1: 0.5}[norm]

    def rise(x):
        return tf.reduce_sum(x * weights, axis=(1, 2, 3))

    model = lambda x: tf.stack([0 * rise(x) + 1e3, rise(x)], axis=1)
    adv = square(
        model,
        images,
        np.zeros(4, int),
        eps=eps,
        norm=norm,
        n_queries=1500,
        resc_schedule=True,
    )
    best = {
        np.inf: eps * np.abs(weights).sum(),
        2: eps * np.linalg.norm(weights),
        # No entry can rise by more than its room of 0.4 at least.
        1: eps * np.abs(weights).max(),
    }[norm]
    share = (rise(adv) - rise(images)).numpy() / best
    # Bumps of three by three pixels cannot take any shape.
    assert np.all(share >= {np.inf: 0.99, 2: 0.5, 1: 0.4}[norm])
    assert np.all(share <= 1 + 1e-5)


def test_windows_reach_the_last_row_and_column():
    images = np.full((100, 6, 6, 1), 0.5, np.float32)
    model = lambda x: tf.stack([x[:, 0, 0, 0] * 0 + 1, x[:, -1, -1, 0] * 0.1], 1)
    adv = square(model, images, np.zeros(100, int), p_init=0.5, n_queries=400)
    np.testing.assert_allclose(adv[:, -1, -1, 0], 0.5 + 8 / 255, atol=1e-6)


def test_an_image_leaves_when_it_fools_and_pays_for_its_own_queries(golden, trained):
    images, labels = golden["images"][:32], golden["labels"][:32].copy()
    labels[:8] = (labels[:8] + 1) % 5  # wrong already
    attack = make_attack("square", eps=0.15, n_queries=50, n_restarts=2)
    found = craft(trained, attack, images, labels, batch_size=32)
    np.testing.assert_array_equal(found["image"][:8], images[:8])
    assert np.all(found["forwards"][:8] == 1) and np.all(found["backwards"] == 0)
    fooled = found["prediction"] != labels
    assert 8 < fooled.sum() < 32
    queries, backwards = attack.cost(images.shape[1:], 3)
    assert (queries, backwards) == (1 + 2 * (50 + 1), 0)
    assert np.all(found["forwards"][~fooled] == queries)
    assert np.all(found["forwards"][fooled] <= queries)
    assert len(np.unique(found["forwards"])) > 3


def test_a_restart_begins_anew(golden, trained):
    images, labels = golden["images"], golden["labels"]

    def found(eps, n_restarts):
        hyper = {"eps": eps, "n_queries": 25, "n_restarts": n_restarts}
        return leads(trained, square(trained, images, labels, **hyper), labels)

    once, often = found(0.12, 1), found(0.12, 4)
    assert not np.any((often < 0) & (once > 0))
    assert np.sum(often < 0) < np.sum(once < 0)
    # Where none of them fools the model, the last one need not be the best.
    assert np.any(found(0.01, 2) < found(0.01, 1) - 1e-4)


@pytest.mark.parametrize("norm, outer", [(2, 1 / 4), (1, 1 / 16)])
def test_bumps_are_two_opposite_halves(norm, outer):
    upper = np.array([[outer, 1 + outer, outer]])
    lower = np.array([[outer, outer, outer], [outer, 1 + outer, outer]])
    halves = [half / np.linalg.norm(half.ravel(), norm) for half in (upper, -lower)]
    expected = np.concatenate(halves) / (2 if norm == 1 else np.sqrt(2))
    np.testing.assert_allclose(square_windows.bump(3, norm), expected, atol=1e-7)


def test_windows_shrink_by_the_schedule_of_the_original():
    hyper = square.hyper
    sides = square_windows.window_sides((None, 32, 32, 3), hyper)
    assert sides == [29, 20, 14, 10, 7, 5, 4, 3, 2, 1]
    turn = tf.constant([0, 1, 11, 12, 51, 52, 2002, 5000])  # query 0 is in turn 1
    _, side = square_windows.level_and_side(turn, (8, 32, 32, 3), hyper)
    np.testing.assert_array_equal(side, [29, 29, 29, 20, 20, 14, 4, 3])
    assert square_windows.window_sides((None, 9, 40, 1), hyper)[0] == 9
    hyper = hyper._replace(norm=2)
    assert square_windows.window_sides((None, 8, 40, 1), hyper)[0] == 7
    assert square_windows.window_sides((None, 32, 32, 3), hyper)[-1] == 3


def test_a_share_of_windows_out_of_range_is_one_line():
    with pytest.raises(ValueError, match=r"`p_init` must be in \(0, 1\]. Received: p_"):
        make_attack("square", p_init=1.2)
