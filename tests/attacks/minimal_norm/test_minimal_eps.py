"""The smallest radius of an attack against exact distances on linear models."""

import closed_forms
import numpy as np
import pytest
import small_models

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.minimal_norm.minimal_eps import minimal_eps

CASES = [
    ("pgd", np.inf),
    ("pgd", 2),
    ("pgd", 1),
    ("fgsm", np.inf),
    ("fgsm", 2),
    ("fgsm", 1),
    ("mim", np.inf),
    ("mim", 2),
    ("sparse_l1", 1),
]
BENDS = [None, closed_forms.steepen, closed_forms.flatten]
# Bends mislead the search for the radius, which knows only the norm of the attack.
BENT_CASES = [("pgd", np.inf), ("fgsm", 2), ("pgd", 1)]


@pytest.fixture(scope="module", params=BENDS, ids=["linear", "steep", "flat"])
def bent(request):
    return closed_forms.linear_model(request.param)


@pytest.mark.slow
@pytest.mark.parametrize(
    "bend, attack, norm",
    [
        *((None, *case) for case in CASES),
        *((bend, *case) for bend in BENDS[1:] for case in BENT_CASES),
    ],
)
def test_the_distance_to_the_boundary(bend, attack, norm):
    """Radii that begin at, below and above it."""
    model, normal = closed_forms.linear_model(bend)
    images, labels = closed_forms.images_at(normal, np.linspace(0.03, 0.08, 5))
    exact = closed_forms.boundary_distance(images, normal, norm)
    if attack == "sparse_l1":  # which moves two of 27 entries alike
        slopes = np.sort(np.abs(normal).reshape(-1))[-2:]
        exact = exact * slopes[1] / slopes.mean()
    hyper = {"attack": attack, "norm": norm, "search_steps": 12, "nb_iter": 10}
    adv = minimal_eps(model, images, labels, **hyper).numpy()
    assert np.all(small_models.classes(model, adv) != labels)
    ratio = closed_forms.length(adv - images, norm) / exact
    # A gap of at most the distance, halved at least nine times.
    assert np.all(ratio >= 1 - 1e-4) and np.all(ratio <= 1 + 2.0**-9 + 1e-4), ratio


def test_targeted(bent):
    model, normal = bent
    images, labels = closed_forms.images_at(normal, np.linspace(0.03, 0.08, 5))
    adv = minimal_eps(model, images, 1 - labels, targeted=True, nb_iter=5).numpy()
    exact = closed_forms.boundary_distance(images, normal, np.inf)
    assert np.all(small_models.classes(model, adv) != labels)
    size = closed_forms.length(adv - images, np.inf)
    np.testing.assert_allclose(size, exact, rtol=0.01)


def test_no_radius_is_larger_than_the_largest():
    model, normal = closed_forms.linear_model(closed_forms.steepen)
    images, labels = closed_forms.images_at(normal, np.linspace(0.03, 0.08, 6))
    exact = closed_forms.boundary_distance(images, normal, np.inf)
    most = (exact[2] + exact[3]) / 2
    attack = make_attack("minimal_eps", max_eps=most, nb_iter=5)
    out = craft(model, attack, images, labels, batch_size=8)
    fooled = out["prediction"] != labels
    np.testing.assert_array_equal(fooled, exact < most)
    assert np.all(out["linf"] <= most)
    np.testing.assert_array_equal(out["image"][~fooled], images[~fooled])
    # Doubled until it is the largest: then there is nothing left to try.
    assert np.all(out["backwards"][~fooled] <= 1 + 3 * 5)
    assert np.all(out["backwards"][fooled] == 1 + 10 * 5)
    assert np.all(out["forwards"][fooled] == 1 + 10 * 6)
    assert attack.cost(closed_forms.SHAPE, 2) == (61, 51)


def test_what_is_fooled_already_takes_one_pass():
    model, normal = closed_forms.linear_model()
    images, labels = closed_forms.images_at(normal, np.full(4, 0.05))
    out = craft(model, make_attack("minimal_eps"), images, 1 - labels, batch_size=4)
    np.testing.assert_array_equal(out["image"], images)
    assert np.all(out["forwards"] == 1) and np.all(out["backwards"] == 1)


@pytest.mark.parametrize(
    "message, hyper",
    [
        (
            "`attack` must be one that takes an eps per image: pgd, fgsm, mim, "
            "sparse_l1. Received: attack='cw'.",
            {"attack": "cw"},
        ),
        (
            "`norm` of mim must be inf or 2. Received: norm=1.",
            {"attack": "mim", "norm": 1},
        ),
        (
            "`loss` of fgsm must be 'ce'. Received: loss='margin'.",
            {"attack": "fgsm", "loss": "margin"},
        ),
        (
            "`loss` must be one of ce, margin, dlr. Received: loss='mse'.",
            {"loss": "mse"},
        ),
        ("`max_eps` must be above 0. Received: max_eps=0.", {"max_eps": 0}),
    ],
)
def test_wrong_values_are_one_line(message, hyper):
    small_models.assert_refused(message, "minimal_eps", hyper)
