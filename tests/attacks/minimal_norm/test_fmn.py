"""The fast minimum-norm attack against exact distances and its algorithm in NumPy."""

import closed_forms
import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.minimal_norm.fmn import fmn

MOST = {2: 1.02, np.inf: 1.02, 1: 1.05}  # of the exact distance


@pytest.fixture(scope="module")
def linear():
    return closed_forms.linear_model()


@pytest.mark.parametrize("norm", MOST)
@pytest.mark.parametrize(
    "batch, targeted", [(1, False), (3, False), (8, False), (8, True)]
)
def test_the_distance_to_a_linear_boundary(linear, norm, batch, targeted):
    model, normal = linear
    images, labels = closed_forms.images_at(normal, np.linspace(0.03, 0.08, batch))
    exact = closed_forms.boundary_distance(images, normal, norm)
    goal = 1 - labels if targeted else labels
    adv = fmn(model, images, goal, targeted, norm=norm).numpy()
    assert np.all(small_models.classes(model, adv) == 1 - labels)
    ratio = closed_forms.length(adv - images, norm) / exact
    assert np.all(ratio >= 1 - 1e-4) and np.all(ratio <= MOST[norm]), ratio


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_the_number_of_values_that_must_change(linear, batch):
    model, normal = linear
    images, labels = closed_forms.images_at(normal, np.linspace(0.1, 0.6, batch))
    images = np.clip(images, 0, 1)
    fewest = closed_forms.fewest_changes(images, labels, normal)
    adv = fmn(model, images, labels, norm=0).numpy()
    assert np.all(small_models.classes(model, adv) != labels)
    changed = np.count_nonzero((adv != images).reshape(batch, -1), axis=1)
    assert np.all(changed >= fewest)
    assert np.all(changed <= fewest + 1) and np.mean(changed == fewest) >= 0.5


@pytest.mark.parametrize("norm", [2, np.inf, 1, 0])
def test_what_is_fooled_already_and_what_cannot_be_stay(linear, norm):
    model, normal = linear
    images, labels = closed_forms.images_at(normal, np.full(4, 0.05))
    hyper = {"norm": norm, "steps": 10}
    np.testing.assert_array_equal(fmn(model, images, 1 - labels, **hyper), images)
    first = lambda x: tf.one_hot(tf.zeros(tf.shape(x)[:1], tf.int64), 2)
    blind = lambda x: 1e-9 * model(x) + first(x)
    np.testing.assert_array_equal(fmn(blind, images, 0 * labels, **hyper), images)


@pytest.mark.parametrize("norm", [2, np.inf, 1, 0])
def test_neighbours_have_no_influence_in_any_norm(linear, norm):
    model, normal = linear
    images, labels = closed_forms.images_at(normal, np.linspace(0.05, 0.3, 4))
    images = np.clip(images, 0, 1)
    adv = fmn(model, images, labels, norm=norm, steps=20).numpy()
    others = images * np.nan
    others[2] = images[2]
    other_adv = fmn(model, others, labels, norm=norm, steps=20).numpy()
    np.testing.assert_array_equal(other_adv[2], adv[2])
    assert np.any(adv[2] != images[2]) and np.all(np.isfinite(adv))


def test_passes_are_the_steps_of_images_that_the_model_gets_right(linear):
    model, normal = linear
    images, labels = closed_forms.images_at(normal, np.full(10, 0.05))
    labels[:3] = 1 - labels[:3]
    attack = make_attack("fmn", steps=25)
    out = craft(model, attack, images, labels, batch_size=16)
    for passes in ("forwards", "backwards"):
        assert out[passes].tolist() == [1] * 3 + [25] * 7
    assert attack.cost(closed_forms.SHAPE, 2) == (25, 25)


def reference(normal, image, label, norm, steps):
    """Algorithm 1 for one image and a linear lead, in float64."""
    flat, weight = image.reshape(-1).astype(np.float64), normal.reshape(-1)
    weight = weight.astype(np.float64) * (1 if label == 0 else -1)
    dual = {2: 2, np.inf: 1}[norm]
    eta, eps, best, found = np.zeros_like(flat), 0.0, np.inf, False
    for k in range(steps):
        cosine = (1 + np.cos(np.pi * k / steps)) / 2
        alpha, gamma = 0.01 + 0.99 * cosine, 0.001 + 0.049 * cosine
        lead = np.dot(weight, flat + eta - 0.5)
        size = np.linalg.norm(eta, norm)
        if lead > 0:
            found, best = True, min(best, size)
            eps = min(eps * (1 - gamma), best)
        elif found:
            eps = eps * (1 + gamma)
        else:
            extended = size + abs(lead) / np.linalg.norm(weight, dual)
            eps = max(extended, eps * (1 + gamma))
        eta = eta + alpha * weight / np.linalg.norm(weight)
        if norm == np.inf:
            eta = np.clip(eta, -eps, eps)
        else:
            eta = eta * min(1, eps / np.linalg.norm(eta))
        eta = np.clip(flat + eta, 0, 1) - flat
    return best


@pytest.mark.parametrize("norm", [2, np.inf])
def test_it_is_the_papers_algorithm(linear, norm):
    """After few steps, so that another schedule or another radius would show."""
    model, normal = linear
    images, labels = closed_forms.images_at(normal, np.linspace(0.03, 0.08, 6))
    adv = fmn(model, images, labels, norm=norm, steps=13).numpy()
    expected = [
        reference(normal, image, label, norm, 13)
        for image, label in zip(images, labels)
    ]
    np.testing.assert_allclose(
        closed_forms.length(adv - images, norm), expected, rtol=1e-3
    )


@pytest.mark.parametrize(
    "message, hyper",
    [
        ("`norm` must be 2 or inf or 1 or 0. Received: norm=3.", {"norm": 3}),
        (
            "`alpha_init` must be above 0. Received: alpha_init=0.0.",
            {"alpha_init": 0.0},
        ),
        (
            "`gamma_init` must be in (0, 1). Received: gamma_init=1.0.",
            {"gamma_init": 1.0},
        ),
    ],
)
def test_wrong_values_are_one_line(message, hyper):
    small_models.assert_refused(message, "fmn", hyper)
