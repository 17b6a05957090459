"""BIM and MIM against CleverHans called directly."""

from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method
from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent
import numpy as np
import pytest
import small_models

from tf_advdefense.attacks.gradient.iterative_gradient import bim
from tf_advdefense.attacks.gradient.iterative_gradient import mim
from tf_advdefense.attacks.gradient.projected_gradient import pgd

norms = pytest.mark.parametrize("norm", [np.inf, 2])
directions = pytest.mark.parametrize("targeted", [False, True])


@pytest.fixture(scope="module")
def model():
    return small_models.network()


@pytest.fixture
def batch():
    return small_models.random_images(6, seed=5), np.arange(6) % 4


@norms
@directions
def test_bim_is_cleverhans(model, batch, norm, targeted):
    sizes = {"eps": 0.1, "eps_iter": 0.03, "nb_iter": 7, "norm": norm}
    small_models.assert_cleverhans(
        bim(model, *batch, targeted, **sizes),
        small_models.by_cleverhans(
            projected_gradient_descent, model, batch, targeted=targeted, **sizes
        ),
        norm,
    )


@norms
@pytest.mark.parametrize("decay_factor", [1.0, 0.5])
def test_mim_is_cleverhans(model, batch, norm, decay_factor):
    sizes = {"eps": 0.2, "eps_iter": 0.05, "norm": norm, "decay_factor": decay_factor}
    small_models.assert_cleverhans(
        mim(model, *batch, **sizes),
        small_models.by_cleverhans(momentum_iterative_method, model, batch, **sizes),
        norm,
    )


def test_steps_are_reduced_to_the_radius(model, batch):
    for attack in (bim, pgd, mim):
        np.testing.assert_array_equal(
            attack(model, *batch, eps=0.01, eps_iter=0.5, nb_iter=2),
            attack(model, *batch, eps=0.01, eps_iter=0.01, nb_iter=2),
        )
