"""Sparse L1 descent against CleverHans' PyTorch version, and what it promises."""

import json

import numpy as np
import pytest
import small_models

from tf_advdefense.attacks.gradient.sparse_l1 import sparse_l1


@pytest.fixture(scope="module")
def golden():
    return small_models.golden_arrays("sparse_l1")


@pytest.fixture(scope="module")
def model():
    return small_models.network()


@pytest.fixture
def batch():
    return small_models.random_images(6, seed=5), np.arange(6) % 4


GOLDEN_SETTINGS = ["default", "small_ball", "clip_grad", "vector", "targeted"]


def test_every_golden_setting_is_checked(golden):
    stored = small_models.golden_settings(golden, "adv_")
    assert stored == set(GOLDEN_SETTINGS)


@pytest.mark.parametrize("setting", GOLDEN_SETTINGS)
def test_matches_cleverhans_in_pytorch(golden, setting):
    model = small_models.two_layers(golden)
    hyper = json.loads(str(golden[f"args_{setting}"]))
    y = golden["targets" if hyper.get("targeted") else "labels"]
    adv = sparse_l1(model, golden["images"], y, **hyper)
    np.testing.assert_allclose(adv, golden[f"adv_{setting}"], atol=2e-6)


def test_keeps_everything_at_a_sparsity_below_one_entry(model, batch):
    images, labels = batch
    adv = sparse_l1(model, images, labels, grad_sparsity=0.1, nb_iter=1, eps_iter=0.1)
    changed = np.mean(adv.numpy() != images)
    assert changed > 0.9


def test_changes_the_stated_share(model, batch):
    images, labels = batch
    eta = sparse_l1(model, images, labels, grad_sparsity=90, nb_iter=1) - images
    changed = np.count_nonzero(eta, axis=(1, 2, 3))
    # 90 % of 192 entries is 172.8: the 172nd smallest is the first to be kept.
    assert np.all(changed <= 192 - 172 + 1) and np.all(changed >= 15)


def test_starts_inside_the_ball_and_centred(model, batch):
    images = np.full((64, 8, 8, 3), 0.5, np.float32)
    start = sparse_l1(
        model,
        images,
        np.zeros(64, int),
        eps=5.0,
        eps_iter=1e-6,
        rand_init=True,
        nb_iter=1,
    )
    eta = start.numpy() - images
    length = np.sum(np.abs(eta), axis=(1, 2, 3))
    assert np.all(length <= 5 + 1e-4)
    # A uniform draw from a ball of 192 dimensions is nearly as long as the radius.
    assert length.mean() > 4.8
    assert abs(np.mean(np.sign(eta))) < 0.03


@pytest.mark.parametrize("sparsity", [0, 100, [50.0] * 5 + [100.0]])
def test_percentages_are_checked(model, batch, sparsity):
    with pytest.raises(ValueError, match=r"`grad_sparsity` must be in \(0, 100\)"):
        sparse_l1(model, *batch, grad_sparsity=sparsity)


def test_needs_one_percentage_per_image(model, batch):
    with pytest.raises(ValueError, match="`grad_sparsity` must be one number or one"):
        sparse_l1(model, *batch, grad_sparsity=[50.0, 60.0])
