"""Attacks against oracles: CleverHans called directly, closed forms, golden values."""

import json
import pathlib

from cleverhans.tf2.attacks import projected_gradient_descent as cleverhans_pgd
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method
import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.attacks import ATTACKS
from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.balls import random_ball
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.gradient.fast_gradient import bim
from tf_advdefense.attacks.gradient.fast_gradient import fgsm
from tf_advdefense.attacks.gradient.fast_gradient import mim
from tf_advdefense.attacks.gradient.fast_gradient import r_fgsm
from tf_advdefense.attacks.gradient.projected_gradient import pgd
from tf_advdefense.attacks.gradient.sparse_l1 import sparse_l1
from tf_advdefense.attacks.minimal_norm.carlini_wagner import cw

BOUNDS = {"clip_min": 0.0, "clip_max": 1.0}
GOLDEN = pathlib.Path(__file__).parent / "golden" / "sparse_l1.npz"
norms = pytest.mark.parametrize("norm", [np.inf, 2])
directions = pytest.mark.parametrize("targeted", [False, True])


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(11)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    )


@pytest.fixture
def batch():
    rng = np.random.default_rng(5)
    return rng.random((6, 8, 8, 3), np.float32), np.arange(6) % 4


def cleverhans(function, model, batch, *args, **kwargs):
    images, labels = batch
    return function(model, images, *args, y=labels, **BOUNDS, **kwargs)


def equality(attack, norm):
    """Bit for bit, but a compiled L2 step rounds x / sqrt(y) in another way."""
    return {"rtol": 0, "atol": 1e-6 if attack is pgd and norm == 2 else 0}


@pytest.mark.parametrize("norm", [np.inf, 1, 2])
@directions
def test_fgsm_is_cleverhans(model, batch, norm, targeted):
    np.testing.assert_array_equal(
        fgsm(model, *batch, targeted, eps=0.1, norm=norm),
        cleverhans(fast_gradient_method, model, batch, 0.1, norm, targeted=targeted),
    )


@directions
def test_r_fgsm_is_cleverhans_after_a_random_step(model, batch, targeted):
    images, labels = 0.2 + 0.6 * batch[0], batch[1]  # away from the box
    found = r_fgsm(model, images, labels, targeted, eps=0.1, alpha=0.3, seed=2)
    # All of eps at random: a corner of the ball.
    signs = np.sign(r_fgsm(model, images, eps=0.1, alpha=1.0, seed=2) - images)
    assert abs(signs.mean()) < 0.1 and abs(signs).min() == 1
    start = images + np.float32(0.3 * 0.1) * signs
    expected = fast_gradient_method(
        model, start, 0.7 * 0.1, np.inf, y=labels, targeted=targeted, **BOUNDS
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_r_fgsm_without_a_random_step_is_fgsm(model, batch):
    one, other = (
        attack(model, *batch, eps=0.1)
        for attack in (make_attack("r_fgsm", alpha=0.0), fgsm)
    )
    np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="`alpha` must be a share.*alpha=2"):
        r_fgsm(model, *batch, alpha=2.0)


@pytest.mark.parametrize("attack", [bim, pgd])
@norms
@directions
def test_bim_and_pgd_are_cleverhans(model, batch, attack, norm, targeted):
    sizes = {"eps": 0.1, "eps_iter": 0.03, "nb_iter": 7, "norm": norm}
    np.testing.assert_allclose(
        attack(model, *batch, targeted, **sizes),
        cleverhans(
            cleverhans_pgd.projected_gradient_descent,
            model,
            batch,
            targeted=targeted,
            **sizes,
        ),
        **equality(attack, norm),
    )


@norms
@pytest.mark.parametrize("radius", [None, 0.3])
def test_pgd_is_cleverhans_from_the_same_random_start(
    model, batch, norm, radius, monkeypatch
):
    index = tf.range(100, 106, dtype=tf.int64)

    def draw(shape, order, size, dtype):
        return size * random_ball(row_keys(4, index), 0, batch[0].shape[1:], order)

    monkeypatch.setattr(cleverhans_pgd, "random_lp_vector", draw)
    sizes = {"eps": 0.1, "eps_iter": 0.03, "nb_iter": 5, "norm": norm}
    start = {"rand_init": True, "rand_minmax": radius}
    np.testing.assert_allclose(
        pgd(model, *batch, seed=4, index=index, **sizes, **start),
        cleverhans(
            cleverhans_pgd.projected_gradient_descent, model, batch, **sizes, **start
        ),
        **equality(pgd, norm),
    )


@norms
@pytest.mark.parametrize("decay_factor", [1.0, 0.5])
def test_mim_is_cleverhans(model, batch, norm, decay_factor):
    sizes = {"eps": 0.2, "eps_iter": 0.05, "norm": norm, "decay_factor": decay_factor}
    np.testing.assert_array_equal(
        mim(model, *batch, **sizes),
        cleverhans(momentum_iterative_method, model, batch, **sizes),
    )


def test_steps_are_reduced_to_the_radius(model, batch):
    for attack in (bim, pgd, mim):
        np.testing.assert_array_equal(
            attack(model, *batch, eps=0.01, eps_iter=0.5, nb_iter=2),
            attack(model, *batch, eps=0.01, eps_iter=0.01, nb_iter=2),
        )


# A linear classifier of two classes has closed forms. Its boundary goes through grey.


def linear_model():
    weights = np.random.default_rng(0).normal(size=(27, 2)).astype(np.float32)
    images = keras.Input((3, 3, 3))
    dense = keras.layers.Dense(2)
    model = keras.Model(images, dense(keras.layers.Flatten()(images)))
    dense.set_weights([weights, -0.5 * weights.sum(axis=0)])
    return model, (weights[:, 1] - weights[:, 0]).reshape(3, 3, 3)


def middle_images(normal):
    """Images far from the bounds, their classes and their distances to the boundary."""
    images = np.random.default_rng(1).uniform(0.3, 0.7, (20, 3, 3, 3))
    images = images.astype(np.float32)
    side = np.sum((images - 0.5) * normal, axis=(1, 2, 3)) / np.linalg.norm(normal)
    return images, (side > 0).astype(np.int64), np.abs(side)


def away(labels):
    """The sign of a step that leaves each class, shaped to broadcast over images."""
    return np.where(labels == 0, 1, -1).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("norm", [np.inf, 1, 2])
def test_fgsm_on_a_linear_model_is_exact(norm):
    model, normal = linear_model()
    images, labels, _ = middle_images(normal)
    direction = {
        np.inf: np.sign(normal),
        1: np.sign(normal) * (np.abs(normal) == np.abs(normal).max()),
        2: normal / np.linalg.norm(normal),
    }[norm]
    expected = images + 0.1 * away(labels) * direction
    np.testing.assert_allclose(
        fgsm(model, images, labels, eps=0.1, norm=norm), expected, atol=1e-6
    )


@directions
def test_cw_finds_the_distance_to_the_boundary(targeted):
    model, normal = linear_model()
    images, labels, closest = middle_images(normal)
    goal = 1 - labels if targeted else labels
    adv = cw(
        model, images, goal, targeted, max_iterations=200, binary_search_steps=9
    ).numpy()
    distance = np.linalg.norm((adv - images).reshape(20, -1), axis=1)
    assert np.all(np.argmax(model(adv), axis=1) == 1 - labels)
    np.testing.assert_allclose(distance, closest, rtol=0.05, atol=1e-4)
    assert np.all(distance >= closest * 0.999)


@directions
def test_cw_confidence_is_the_margin_of_the_logits(targeted):
    model, normal = linear_model()
    images, labels, _ = middle_images(normal)
    goal = 1 - labels if targeted else labels
    adv = cw(model, images, goal, targeted, max_iterations=200, confidence=1.5)
    logits = model(adv).numpy()
    rows = np.arange(20)
    margin = logits[rows, 1 - labels] - logits[rows, labels]
    assert np.all(margin >= 1.5 - 1e-4)
    np.testing.assert_allclose(margin, 1.5, atol=0.3)


def test_cw_leaves_what_is_fooled_already_and_what_it_cannot_fool():
    model, normal = linear_model()
    images, labels, _ = middle_images(normal)
    np.testing.assert_array_equal(cw(model, images, 1 - labels), images)
    constant = lambda x: tf.reduce_sum(x * 1e-9) + tf.one_hot(tf.zeros(20, tf.int64), 2)
    adv = cw(constant, images, np.zeros(20, int), max_iterations=10)
    np.testing.assert_array_equal(adv, images)


def test_cw_matches_the_bounds_it_is_given():
    """An affine change of the images' scale changes nothing but the scale."""
    model, normal = linear_model()
    images, labels, _ = middle_images(normal)
    hyper = {"max_iterations": 100, "initial_const": 1.0}
    unit = cw(model, images, labels, **hyper).numpy()
    scaled = cw(
        lambda x: model((x + 1) / 2),
        images * 2 - 1,
        labels,
        clip_min=-1.0,
        clip_max=1.0,
        **hyper | {"initial_const": 4.0},  # squared distances are 4 times as long
    )
    np.testing.assert_allclose((scaled.numpy() + 1) / 2, unit, atol=1e-4)


def test_cw_repeats_the_smallest_constant_after_ten_steps():
    model, normal = linear_model()
    images, labels, _ = middle_images(normal)
    adv = cw(model, images, labels, max_iterations=100, binary_search_steps=10)
    assert np.all(np.argmax(model(adv), axis=1) != labels)


def test_cw_without_early_abort_is_no_worse(model, batch):
    images, labels = batch
    hyper = {"max_iterations": 100, "binary_search_steps": 3, "learning_rate": 0.02}
    distances = [
        np.linalg.norm((cw(model, images, abort_early=early, **hyper) - images).numpy())
        for early in (True, False)
    ]
    assert distances[1] <= distances[0] * 1.02


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        return dict(arrays)


GOLDEN_SETTINGS = ["default", "small_ball", "clip_grad", "vector", "targeted"]


def test_every_golden_setting_is_checked(golden):
    stored = {key.removeprefix("adv_") for key in golden if key.startswith("adv_")}
    assert stored == set(GOLDEN_SETTINGS)


@pytest.mark.parametrize("setting", GOLDEN_SETTINGS)
def test_sparse_l1_matches_cleverhans_in_pytorch(golden, setting):
    def model(images):
        flat = tf.reshape(images, [len(images), -1])
        hidden = tf.tanh(flat @ golden["w1"] + golden["b1"])
        return hidden @ golden["w2"] + golden["b2"]

    hyper = json.loads(str(golden[f"args_{setting}"]))
    y = golden["targets" if hyper.get("targeted") else "labels"]
    adv = sparse_l1(model, golden["images"], y, **hyper)
    np.testing.assert_allclose(adv, golden[f"adv_{setting}"], atol=2e-6)


def test_sparse_l1_keeps_everything_at_a_sparsity_below_one_entry(model, batch):
    images, labels = batch
    adv = sparse_l1(model, images, labels, grad_sparsity=0.1, nb_iter=1, eps_iter=0.1)
    changed = np.mean(adv.numpy() != images)
    assert changed > 0.9


def test_sparse_l1_changes_the_stated_share(model, batch):
    images, labels = batch
    eta = sparse_l1(model, images, labels, grad_sparsity=90, nb_iter=1) - images
    changed = np.count_nonzero(eta, axis=(1, 2, 3))
    # 90 % of 192 entries is 172.8: the 172nd smallest is the first to be kept.
    assert np.all(changed <= 192 - 172 + 1) and np.all(changed >= 15)


def test_sparse_l1_starts_inside_the_ball_and_centred(model, batch):
    images = np.full((64, 8, 8, 3), 0.5, np.float32)
    start = sparse_l1(
        model,
        images,
        np.zeros(64, int),
        eps=5.0,
        eps_iter=0.0,
        rand_init=True,
        nb_iter=1,
    )
    eta = start.numpy() - images
    length = np.sum(np.abs(eta), axis=(1, 2, 3))
    assert np.all(length <= 5 + 1e-4)
    # A uniform draw from a ball of 192 dimensions is nearly as long as the radius.
    assert length.mean() > 4.8
    assert abs(np.mean(np.sign(eta))) < 0.03


def test_make_attack_completes_the_hyperparameters():
    attack = make_attack("pgd", eps=0.1)
    assert attack.hyper == {**ATTACKS["pgd"].hyper, "eps": 0.1}
    assert (attack.norm, attack.passes) == (np.inf, (20, 20))
    assert make_attack("cw").passes == (5000, 5000)
    assert make_attack("fgsm", norm=2).norm == 2
    assert make_attack("mim").hyper["eps"] == 0.3


@pytest.mark.parametrize(
    "message, name, hyper",
    [
        (
            f"Unknown attack 'pdg'. Did you mean 'pgd'? Known: {', '.join(ATTACKS)}.",
            "pdg",
            {},
        ),
        (
            "`fgsm` has no hyperparameter 'esp'. Did you mean 'eps'? Known: eps, norm.",
            "fgsm",
            {"esp": 0.1},
        ),
        (
            "`eps` must be in [0, 1]. Received: eps=8. "
            "Write 8/255 for eight grey levels.",
            "pgd",
            {"eps": 8},
        ),
        (
            "`eps` must be at least 0. Received: eps=-1.",
            "sparse_l1",
            {"eps": -1},
        ),
        ("`norm` must be inf or 2. Received: norm=1.", "mim", {"norm": 1}),
    ],
)
def test_names_and_ranges_are_checked_beforehand(message, name, hyper):
    with pytest.raises(ValueError) as error:
        make_attack(name, **hyper)
    assert str(error.value) == message


def test_functions_check_their_hyperparameters_too(model, batch):
    with pytest.raises(ValueError, match="`eps` must be in .0, 1.. Received: eps=8."):
        pgd(model, *batch, eps=8)
    with pytest.raises(ValueError, match="Did you mean 'eps_iter'?"):
        pgd(model, *batch, eps_itr=0.1)


@pytest.mark.parametrize("sparsity", [0, 100, [50.0] * 5 + [100.0]])
def test_sparse_l1_percentages_are_checked(model, batch, sparsity):
    with pytest.raises(ValueError, match=r"`grad_sparsity` must be in \(0, 100\)"):
        sparse_l1(model, *batch, grad_sparsity=sparsity)


def test_sparse_l1_needs_one_percentage_per_image(model, batch):
    with pytest.raises(ValueError, match="`grad_sparsity` must be one number or one"):
        sparse_l1(model, *batch, grad_sparsity=[50.0, 60.0])


def test_another_radius_is_not_traced_anew(model, batch):
    traces = []

    def counted(images):
        traces.append(images.shape)
        return model(images)

    for attack in (pgd, sparse_l1):
        attack(counted, *batch, eps=0.1, nb_iter=2)
        first = len(traces)
        for eps in (0.2, 0.3):
            attack(counted, *batch, eps=eps, eps_iter=eps / 3, nb_iter=5)
        assert len(traces) == first
