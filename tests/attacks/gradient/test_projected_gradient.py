"""Projected gradient descent against CleverHans and closed forms."""

import functools

from cleverhans.tf2.attacks import projected_gradient_descent as cleverhans_pgd
import closed_forms
import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.balls import random_ball
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.losses import LOSSES
from tf_advdefense.attacks.gradient.fast_gradient import fgsm
from tf_advdefense.attacks.gradient.iterative_gradient import bim
from tf_advdefense.attacks.gradient.iterative_gradient import mim
from tf_advdefense.attacks.gradient.projected_gradient import pgd
from tf_advdefense.attacks.gradient.sparse_l1 import sparse_l1

norms = pytest.mark.parametrize("norm", [np.inf, 2])
directions = pytest.mark.parametrize("targeted", [False, True])


@pytest.fixture(scope="module")
def model():
    return small_models.network()


@pytest.fixture
def batch():
    return small_models.random_images(6, seed=5), np.arange(6) % 4


def rounding(norm):
    """None, but a compiled L2 step rounds x / sqrt(y) in another way."""
    return 1e-6 if norm == 2 else 0


@norms
@directions
def test_it_is_cleverhans(model, batch, norm, targeted):
    sizes = {"eps": 0.1, "eps_iter": 0.03, "nb_iter": 7, "norm": norm}
    np.testing.assert_allclose(
        pgd(model, *batch, targeted, **sizes),
        small_models.by_cleverhans(
            cleverhans_pgd.projected_gradient_descent,
            model,
            batch,
            targeted=targeted,
            **sizes,
        ),
        rtol=0,
        atol=rounding(norm),
    )


@norms
@pytest.mark.parametrize("radius", [None, 0.3])
def test_it_is_cleverhans_from_the_same_random_start(
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
        small_models.by_cleverhans(
            cleverhans_pgd.projected_gradient_descent, model, batch, **sizes, **start
        ),
        rtol=0,
        atol=rounding(norm),
    )


@norms
@pytest.mark.parametrize("loss", ["margin", "dlr"])
@directions
def test_other_losses_are_those_of_cleverhans_parameter(
    model, batch, norm, loss, targeted
):
    sizes = {"eps": 0.1, "eps_iter": 0.03, "nb_iter": 5, "norm": norm}
    np.testing.assert_allclose(
        pgd(model, *batch, targeted, loss=loss, **sizes),
        small_models.by_cleverhans(
            cleverhans_pgd.projected_gradient_descent,
            model,
            batch,
            targeted=targeted,
            loss_fn=LOSSES[loss],
            **sizes,
        ),
        rtol=0,
        atol=1e-6,
    )


def highest_lead(images, labels, normal, eps, norm):
    """The exact maximum of the wrong logit's lead in the ball and the bounds."""
    room = np.where(closed_forms.away(labels) * normal > 0, 1 - images, images)
    room, slope = room.reshape(len(images), -1), np.abs(normal).reshape(-1)
    if norm == 1:  # the steepest entries first, as far as they go
        order = np.argsort(-slope)
        reach = np.minimum(np.cumsum(room[:, order], axis=1), eps)
        return np.sum(np.diff(reach, axis=1, prepend=0) * slope[order], axis=1)
    low, high = np.zeros((len(images), 1)), np.full((len(images), 1), 1e3)
    for _ in range(60):
        scale = (low + high) / 2
        inside = closed_forms.length(np.minimum(scale * slope, room), 2) <= eps
        low = np.where(inside[:, None], scale, low)
        high = np.where(inside[:, None], high, scale)
    return np.sum(np.minimum(low * slope, room) * slope, axis=1)


@pytest.mark.parametrize(
    "norm, eps, least",
    [(2, 0.1, 0.9999), (2, 1.2, 0.99), (1, 0.1, 0.9999), (1, 2.5, 0.98)],
    ids=["2", "2-and-bounds", "1", "1-and-bounds"],
)
def test_a_linear_loss_is_climbed_to_the_top(norm, eps, least):
    model, normal = closed_forms.linear_model()
    images, labels = closed_forms.images_at(normal, np.linspace(0.02, 0.2, 8))
    hyper = {"eps": eps, "eps_iter": eps / 40, "nb_iter": 100, "norm": norm}
    eta = pgd(model, images, labels, **hyper).numpy() - images
    reached = np.sum(eta * normal * closed_forms.away(labels), axis=(1, 2, 3))
    ratio = reached / highest_lead(images, labels, normal, eps, norm)
    assert np.all(ratio <= 1 + 1e-5) and np.all(ratio >= least), ratio
    assert np.all(closed_forms.length(eta, norm) <= eps * (1 + 1e-5))


def test_blocked_entries_take_no_share_of_an_l2_step():
    linear, normal = closed_forms.linear_model()
    images = np.full((1, *closed_forms.SHAPE), 0.5, np.float32)
    blocked = np.abs(normal) > np.median(np.abs(normal))
    images[0][blocked] = np.where(normal > 0, 1.0, 0.0)[blocked]
    free = np.where(blocked, 0.0, normal)  # Class 0 is left along the normal.
    step = {"eps": 0.1, "eps_iter": 0.1, "nb_iter": 1, "norm": 2}
    found = pgd(linear, images, np.zeros(1, int), clip_grad=True, **step)
    wanted = images + 0.1 * free / np.linalg.norm(free)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    # CleverHans' step spends most of its length on what the box takes back.
    shorter = pgd(linear, images, np.zeros(1, int), **step) - images
    assert np.linalg.norm(shorter) < 0.06


@pytest.mark.parametrize("attack", [fgsm, mim, pgd, sparse_l1])
def test_an_eps_per_image_is_each_images_eps(model, batch, attack):
    images, labels = batch
    scale = 20 if attack is sparse_l1 else 1
    eps = scale * np.array([0, 0.01, 0.02, 0.05, 0.1, 0.2], np.float32)
    hyper = {} if attack is fgsm else {"nb_iter": 3, "eps_iter": scale * 0.03}
    out = attack(model, images, labels, eps=eps, **hyper).numpy()
    for row, radius in enumerate(eps):
        one = attack(model, images, labels, eps=float(radius), **hyper).numpy()
        np.testing.assert_array_equal(out[row], one[row])
    traced = tf.function(lambda eps: attack(model, images, labels, eps=eps, **hyper))
    np.testing.assert_allclose(traced(tf.constant(eps)), out, atol=1e-6)


def test_an_eps_per_image_is_checked(model, batch):
    for eps, message in {
        (0.1,) * 5: r"`eps` must be one number or one per image. Received: shape \(5,",
        (0.1, 0.2, 2.0): r"`eps` must be in \[0, 1\]. Received: eps=2.0.",
        ((0.1,) * 6,): "`eps` of `pgd` must be one number or one per image.",
    }.items():
        with pytest.raises(ValueError, match=message):
            pgd(model, *batch, eps=np.array(eps))
    with pytest.raises(ValueError, match="`eps` of `bim` must be one number"):
        bim(model, *batch, eps=np.full(6, 0.1))


# Restarts.


def plateau(images):
    """Two classes, a boundary near the image's mean 0.5, and no slope at grey."""
    lead = tf.reduce_mean(images, axis=[1, 2, 3]) - 0.5
    lead = 100 * tf.nn.relu(tf.abs(lead) - 0.001)
    return tf.stack([tf.fill(tf.shape(lead), 1.0), lead], axis=1)


def test_restarts_fool_where_the_gradient_is_zero():
    images = np.full((8, 8, 8, 3), 0.5, np.float32)
    labels = np.zeros(8, int)
    hyper = {"eps": 0.1, "eps_iter": 0.02, "nb_iter": 8}
    np.testing.assert_array_equal(pgd(plateau, images, labels, **hyper), images)
    attack = make_attack("pgd", nb_restarts=6, **hyper)
    out = craft(plateau, attack, images, labels, batch_size=8)
    assert np.all(out["prediction"] == 1)
    # The first descent goes nowhere; nobody goes on after the first that fooled.
    assert np.all(out["backwards"] >= 16) and len(set(out["backwards"].tolist())) > 1
    np.testing.assert_array_equal(out["forwards"], out["backwards"] // 8 * 9)
    assert attack.cost((8, 8, 3), 2) == (54, 48)
    np.testing.assert_array_equal(
        attack(plateau, images, labels), attack(plateau, images, labels)
    )


@pytest.mark.parametrize(
    "norm, targeted", [(np.inf, False), (np.inf, True), (2, False), (1, False)]
)
def test_restarts_keep_the_highest_loss(model, norm, targeted):
    images = small_models.random_images(12, seed=8)
    labels = small_models.classes(model, images)
    goal = (labels + 1) % 4 if targeted else labels
    eps = {np.inf: 0.01, 2: 0.1, 1: 0.5}[norm]  # too small to fool most images
    hyper = {"eps": eps, "eps_iter": eps, "nb_iter": 1, "norm": norm}

    def outcome(**more):
        adv = pgd(model, images, goal, targeted, **hyper, **more)
        logits = model(adv)
        loss = LOSSES["ce"](labels=goal, logits=logits).numpy()
        reached = np.argmax(logits, axis=1) == goal
        return -loss if targeted else loss, reached if targeted else ~reached

    loss, fooled = outcome()
    for restarts in (2, 4):
        more_loss, more_fooled = outcome(nb_restarts=restarts)
        assert np.all(more_fooled >= fooled)
        assert np.all(more_loss[~more_fooled] >= loss[~more_fooled] - 1e-6)
        loss, fooled = more_loss, more_fooled
    losses = [outcome(rand_init=True, nb_restarts=count)[0] for count in (1, 8)]
    assert np.all(losses[1] >= losses[0] - 1e-6) and np.any(losses[1] > losses[0])


def test_a_batch_of_unknown_size(model, batch):
    spec = [tf.TensorSpec([None, 8, 8, 3]), tf.TensorSpec([None], tf.int64)]
    for hyper in ({}, {"nb_restarts": 2}, {"norm": 1, "rand_init": True}):
        attack = make_attack("pgd", nb_iter=3, eps=0.1, **hyper)
        call = functools.partial(attack, model)
        traced = tf.function(call, input_signature=spec)
        np.testing.assert_allclose(traced(*batch), attack(model, *batch), atol=1e-6)


@pytest.mark.parametrize(
    "message, hyper",
    [
        ("`norm` must be inf or 2 or 1. Received: norm=0.", {"norm": 0}),
        ("`loss` must be one of ce, margin, dlr. Received: loss='l2'.", {"loss": "l2"}),
        (
            "`grad_sparsity` must be in (0, 100). Received: grad_sparsity=100.",
            {"norm": 1, "grad_sparsity": 100},
        ),
    ],
)
def test_wrong_values_are_one_line(message, hyper):
    small_models.assert_refused(message, "pgd", hyper)


def test_too_few_classes_for_a_loss_are_one_line():
    linear, normal = closed_forms.linear_model()
    images, labels = closed_forms.images_at(normal, np.full(2, 0.05))
    with pytest.raises(ValueError, match="'dlr' needs at least 3 classes") as error:
        pgd(linear, images, labels, loss="dlr")
    assert "\n" not in str(error.value)
