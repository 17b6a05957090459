"""An attack as an object: what it shows, what it refuses, when it is traced anew."""

import pydoc

import numpy as np
import pytest
import small_models

from tf_advdefense.attacks import ATTACKS
from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.core.hyperparameters import recorded
from tf_advdefense.attacks.gradient.projected_gradient import pgd

pytestmark = pytest.mark.quick


@pytest.fixture(scope="module")
def model():
    return small_models.network()


@pytest.fixture
def batch():
    return small_models.random_images(6, seed=5), np.arange(6) % 4


def test_an_attack_is_the_defaults_completed():
    attack = make_attack("pgd", eps=0.1)
    assert attack.hyper._asdict() == {**ATTACKS["pgd"].defaults, "eps": 0.1}
    image, classes = (32, 32, 3), 10
    assert (attack.norm, attack.cost(image, classes)) == (np.inf, (20, 20))
    assert make_attack("cw").cost(image, classes) == (5000, 5000)
    assert make_attack("fgsm", norm=2).norm == 2
    assert make_attack("mim").hyper.eps == 0.3


def test_an_attack_shows_its_name_and_hyperparameters():
    assert repr(make_attack("cw", max_iterations=7)) == (
        "cw(binary_search_steps=5, max_iterations=7, abort_early=True, "
        "confidence=0.0, initial_const=0.01, learning_rate=0.005)"
    )
    assert str(make_attack("fgsm", eps=0.1)) == "fgsm(eps=0.1, norm=inf)"


@pytest.mark.parametrize(
    "name, texts",
    [
        ("pgd", ["Madry et al. 2017 (arXiv:1706.06083)", "nb_restarts: descents at"]),
        ("cw", ["Carlini and Wagner 2016", "max_iterations: Adam steps for each"]),
    ],
)
def test_help_of_an_attack_is_its_own(name, texts):
    text = pydoc.render_doc(make_attack(name), renderer=pydoc.plaintext)
    assert all(each in text for each in texts)


def test_a_replaced_hyperparameter_leaves_the_attack_as_it_was():
    weaker = pgd.replace(nb_iter=3)
    assert (weaker.hyper.nb_iter, pgd.hyper.nb_iter) == (3, 20)
    assert weaker.replace(nb_iter=20) == pgd
    assert weaker.name == pgd.name


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
    small_models.assert_refused(message, name, hyper)


def test_calls_check_their_hyperparameters_too(model, batch):
    with pytest.raises(ValueError, match="`eps` must be in .0, 1.. Received: eps=8."):
        pgd(model, *batch, eps=8)
    with pytest.raises(ValueError, match="Did you mean 'eps_iter'?"):
        pgd(model, *batch, eps_itr=0.1)


@pytest.mark.parametrize(
    "name, hyper",
    [
        ("pgd", {"nb_iter": 5}),
        ("sparse_l1", {"nb_iter": 5}),
        ("apgd_ce", {}),
        ("spsa", {}),
        ("square", {}),
        ("noise", {}),
        ("fab_t", {}),
    ],
)
def test_another_radius_is_not_traced_anew(model, batch, name, hyper):
    counted, traces = small_models.counted(model)
    attack = small_models.within_budget(name)
    attack(counted, *batch, eps=0.1)
    first = len(traces)
    for eps in (0.2, 0.3):
        step = {"eps_iter": eps / 3} if "eps_iter" in attack.defaults else {}
        attack(counted, *batch, eps=eps, **step, **hyper)
    assert first > 0 and len(traces) == first


@pytest.mark.parametrize("name, hyper", [("cw", {}), ("fmn", {"norm": 1})])
def test_equal_hyperparameters_are_traced_once(model, batch, name, hyper):
    counted, traces = small_models.counted(model)
    attack = small_models.within_budget(name, **hyper)
    attack(counted, *batch)
    first = len(traces)
    equal = make_attack(name).replace(**attack.hyper._asdict())
    assert equal is not attack and equal == attack
    equal(counted, *batch)
    craft(counted, equal, *batch, batch_size=6)
    assert first > 0 and len(traces) == first


@pytest.mark.parametrize("name", ["fgsm", "pgd", "cw", "apgd_ce", "deepfool", "square"])
def test_an_empty_batch_gives_an_empty_batch(model, name):
    nothing = np.zeros((0, *small_models.SHAPE), np.float32)
    for labels in (None, np.zeros(0, int)):
        adv = small_models.within_budget(name)(model, nothing, labels)
        assert adv.shape == (0, *small_models.SHAPE) and adv.dtype == "float32"


def test_what_came_later_is_recorded_only_where_it_is_given():
    attack = make_attack("pgd")
    assert "clip_grad" not in recorded(attack.hyper)
    assert recorded(attack.replace(clip_grad=True).hyper)["clip_grad"] is True
    others = attack.hyper._asdict()
    del others["clip_grad"]  # They are recorded, whatever their values.
    assert recorded(attack.hyper) == others
