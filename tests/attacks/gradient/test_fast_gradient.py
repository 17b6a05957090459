"""FGSM and R+FGSM against CleverHans called directly, and a closed form."""

from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
import closed_forms
import numpy as np
import pytest
import small_models

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.gradient.fast_gradient import fgsm
from tf_advdefense.attacks.gradient.fast_gradient import r_fgsm

pytestmark = pytest.mark.quick

directions = pytest.mark.parametrize("targeted", [False, True])


@pytest.fixture(scope="module")
def model():
    return small_models.network()


@pytest.fixture
def batch():
    return small_models.random_images(6, seed=5), np.arange(6) % 4


@pytest.mark.parametrize("norm", [np.inf, 1, 2])
@directions
def test_fgsm_is_cleverhans(model, batch, norm, targeted):
    small_models.assert_cleverhans(
        fgsm(model, *batch, targeted, eps=0.1, norm=norm),
        small_models.by_cleverhans(
            fast_gradient_method, model, batch, 0.1, norm, targeted=targeted
        ),
        norm,
    )


@directions
def test_r_fgsm_is_cleverhans_after_a_random_step(model, batch, targeted):
    images, labels = 0.2 + 0.6 * batch[0], batch[1]  # away from the box
    found = r_fgsm(model, images, labels, targeted, eps=0.1, alpha=0.3, seed=2)
    # All of eps at random: a corner of the ball.
    signs = np.sign(r_fgsm(model, images, eps=0.1, alpha=1.0, seed=2) - images)
    assert abs(signs.mean()) < 0.1 and abs(signs).min() == 1
    start = images + np.float32(0.3 * 0.1) * signs
    expected = small_models.by_cleverhans(
        fast_gradient_method,
        model,
        (start, labels),
        0.7 * 0.1,
        np.inf,
        targeted=targeted,
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


@pytest.mark.parametrize("norm", [np.inf, 1, 2])
def test_fgsm_on_a_linear_model_is_exact(norm):
    model, weights = closed_forms.linear_classifier()
    normal = (weights[:, 1] - weights[:, 0]).reshape(closed_forms.SHAPE)
    images = closed_forms.grey_images(20)
    labels = small_models.classes(model, images)
    direction = {
        np.inf: np.sign(normal),
        1: np.sign(normal) * (np.abs(normal) == np.abs(normal).max()),
        2: normal / np.linalg.norm(normal),
    }[norm]
    expected = images + 0.1 * closed_forms.away(labels) * direction
    np.testing.assert_allclose(
        fgsm(model, images, labels, eps=0.1, norm=norm), expected, atol=1e-6
    )
