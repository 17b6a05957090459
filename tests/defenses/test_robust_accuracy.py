"""A defence's epochs are scored by the accuracy that it claims."""

import numpy as np
import pytest
import small_models

from tf_advdefense import defenses
from tf_advdefense.attacks import make_attack

EPS = 0.01


@pytest.fixture(scope="module")
def model():
    return small_models.network(3)


@pytest.fixture(scope="module")
def source():
    return small_models.network(8)


@pytest.fixture(scope="module")
def data(model):
    images = small_models.random_images(24)
    labels = small_models.classes(model, images)
    labels[::6] = (labels[::6] + 1) % small_models.CLASSES
    return images, labels


def scored(defense, model, data):
    return defense.robust_accuracy.name, defense.robust_accuracy(model, *data)


def right(model, attacked, data, attack):
    """Which images stay right, of the attack's direct call."""
    images, labels = data
    return small_models.classes(model, attack(attacked, images, labels)) == labels


def test_single_step_training_claims_a_single_step(model, data):
    name, accuracy = scored(defenses.make_defense("fgsm_at", eps=EPS), model, data)
    expected = right(model, model, data, make_attack("fgsm", eps=EPS)).mean()
    assert (name, accuracy) == ("fgsm", expected) and 0 < accuracy < 5 / 6


def test_another_attack_is_another_claim(model, data):
    defense = defenses.make_defense("fgsm_at", attack="mim", eps=EPS, nb_iter=3)
    name, accuracy = scored(defense, model, data)
    attack = make_attack("mim", eps=EPS, nb_iter=3)
    assert name == "mim" and accuracy == right(model, model, data, attack).mean()


def test_ensemble_training_claims_transfer(model, source, data):
    sources = [source, small_models.network(9)]
    defense = defenses.make_defense("ensemble_at", eps=0.2, parts={"sources": sources})
    name, accuracy = scored(defense, model, data)
    attack = make_attack("fgsm", eps=0.2)
    each = [right(model, one, data, attack) for one in sources]
    white_box = right(model, model, data, attack).mean()
    assert (name, accuracy) == ("transfer", np.mean(each[0] & each[1]))
    assert accuracy > white_box


@pytest.mark.parametrize("norm", [np.inf, 2])
def test_training_on_iterated_steps_claims_pgd_in_its_ball(model, data, norm):
    eps = {np.inf: EPS, 2: 0.08}[norm]
    name, accuracy = scored(
        defenses.make_defense("pgd_at", eps=eps, norm=norm), model, data
    )
    attack = make_attack(
        "pgd", eps=eps, norm=norm, eps_iter=eps / 4, nb_iter=5, rand_init=True
    )
    assert (name, accuracy) == ("pgd", right(model, model, data, attack).mean())
    assert 0 < accuracy < 5 / 6


def test_three_norms_are_withstood_at_once(model, data):
    radii = {"eps_linf": 0.02, "eps_l2": 0.2, "eps_l1": 3.0}
    name, accuracy = scored(defenses.make_defense("multi_norm", **radii), model, data)
    each = [
        right(
            model,
            model,
            data,
            make_attack(
                "pgd", eps=eps, norm=norm, eps_iter=eps / 4, nb_iter=5, rand_init=True
            ),
        )
        for eps, norm in zip(radii.values(), (np.inf, 2, 1))
    ]
    assert name == "pgd" and accuracy == np.mean(np.all(each, axis=0))
    assert accuracy < max(ok.mean() for ok in each)


def test_without_a_radius_nothing_is_claimed():
    assert defenses.make_defense("none").robust_accuracy is None
    for settings in ({"eps": 0.0}, {"attack": "deepfool"}):
        assert defenses.make_defense("fgsm_at", **settings).robust_accuracy is None
