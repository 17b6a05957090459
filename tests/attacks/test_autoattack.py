"""AutoAttack: its parts, and what each leaves to the next."""

import numpy as np
import pytest
import small_models
from small_models import classes
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.craft import craft

SMALL = {"n_iter": 6, "n_queries": 30}


@pytest.fixture(scope="module")
def model():
    return small_models.network(3, activation="tanh", classes=5)


@pytest.fixture(scope="module")
def images():
    return small_models.random_images(32)


def described(attack):
    changed = ("n_restarts", "n_target_classes", "use_largereps", "eot_iter")
    values = {
        part.name: {
            key: value for key, value in part.hyper._asdict().items() if key in changed
        }
        for part in attack.parts(attack.hyper)
    }
    return {
        name: {key: value for key, value in hyper.items() if value is True or value > 1}
        for name, hyper in values.items()
    }


@pytest.mark.parametrize(
    "hyper, parts",
    [
        (
            {},
            {
                "apgd_ce": {},
                "apgd_t": {"n_target_classes": 9},
                "fab_t": {"n_target_classes": 9},
                "square": {},
            },
        ),
        (
            {"norm": 1, "eps": 12.0},
            {
                "apgd_ce": {"n_restarts": 5, "use_largereps": True},
                "apgd_t": {"n_target_classes": 5, "use_largereps": True},
                "fab_t": {"n_target_classes": 9},
                "square": {},
            },
        ),
        (
            {"version": "plus", "norm": 2},
            {
                "apgd_ce": {"n_restarts": 5},
                "apgd_dlr": {"n_restarts": 5},
                "square": {},
                "apgd_t": {"n_target_classes": 9},
                "fab_t": {"n_restarts": 5, "n_target_classes": 9},
            },
        ),
        (
            {"version": "rand"},
            {"apgd_ce": {"eot_iter": 20}, "apgd_dlr": {"eot_iter": 20}},
        ),
    ],
)
def test_the_parts_are_the_originals(hyper, parts):
    attack = make_attack("autoattack", **hyper)
    assert described(attack) == parts
    assert list(described(attack)) == list(parts)
    sequence, shape, count = attack.parts(attack.hyper), (32, 32, 3), 10
    for part in sequence:
        assert (part.eps, part.norm) == (attack.eps, attack.norm)
        assert getattr(part.hyper, "n_iter", 100) == 100
        assert getattr(part.hyper, "n_queries", 5000) == 5000
    totals = np.sum([part.cost(shape, count) for part in sequence], axis=0)
    np.testing.assert_array_equal(attack.cost(shape, count), totals)


@pytest.mark.slow
def test_a_part_attacks_what_the_parts_before_it_left(model, images):
    # Such logits leave the cross-entropy itself no gradient.
    sure = lambda x: 1e4 * model(x)
    labels = classes(model, images)
    labels[0] = (labels[0] + 1) % 5  # wrong already
    attack = make_attack("autoattack", eps=0.03, **SMALL)
    whole = craft(sure, attack, images, labels, batch_size=32)
    robust, passes, left = np.arange(32), np.zeros(32, int), []
    for part in attack.parts(attack.hyper):
        alone = craft(sure, part, images[robust], labels[robust], robust, batch_size=32)
        passes[robust] += alone["backwards"]
        robust = robust[alone["prediction"] == labels[robust]]
        left.append(len(robust))
    assert 32 > left[0] >= left[1] >= left[2] >= left[3] > 0
    kept = np.flatnonzero(whole["prediction"] == labels)
    np.testing.assert_array_equal(kept, robust)
    assert np.mean(whole["backwards"] == passes) >= 0.9
    assert whole["forwards"][0] == 1 and whole["backwards"][0] == 0
    np.testing.assert_array_equal(whole["image"][0], images[0])
    assert np.all(whole["linf"] <= 0.03 * (1 + 1e-5))


@pytest.mark.slow
def test_called_directly_it_is_the_same_and_inside_a_function_nearly(model, images):
    labels = classes(model, images)
    attack = make_attack("autoattack", eps=0.03, **SMALL)
    batch = craft(model, attack, images, labels, batch_size=32)
    np.testing.assert_array_equal(attack(model, images, labels), batch["image"])
    # Inside a tf.function every image stays until all are done.
    adv = tf.function(lambda: attack(model, images, labels))().numpy()
    fooled = classes(model, adv) != labels
    assert np.mean(fooled == (batch["prediction"] != labels)) >= 0.97
    close = np.max(np.abs(adv - batch["image"]), axis=(1, 2, 3)) < 1e-5
    assert np.mean(close) >= 0.8


def test_rand_on_a_model_that_draws(model, images):
    def noisy(x):
        return model(x + tf.random.normal(tf.shape(x), stddev=0.02))

    labels = classes(model, images)
    attack = make_attack("autoattack", version="rand", eps=0.1, n_iter=3)
    batch = craft(noisy, attack, images, labels, batch_size=32)
    assert np.mean(classes(model, batch["image"]) != labels) > 0.8
    assert np.all(batch["linf"] <= 0.1 * (1 + 1e-5))
    np.testing.assert_array_equal(batch["backwards"] % 20, 0)


def test_an_unknown_version_is_one_line():
    small_models.assert_refused(
        "`version` must be one of standard, plus, rand. Received: version='custom'.",
        "autoattack",
        {"version": "custom"},
    )
