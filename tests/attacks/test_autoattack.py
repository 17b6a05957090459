"""AutoAttack: its parts, and what each leaves to the next."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core import craft as engine

SMALL = {"n_iter": 6, "n_queries": 30}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(6, 3, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(5),
        ]
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((32, 8, 8, 3), np.float32)


def classes(model, images):
    return np.argmax(model(images), axis=1)


def described(attack):
    changed = ("n_restarts", "n_target_classes", "use_largereps", "eot_iter")
    values = {
        part.name: {key: part.hyper[key] for key in changed if key in part.hyper}
        for part in attack.parts
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
    for part in attack.parts:
        assert (part.hyper["eps"], part.norm) == (attack.hyper["eps"], attack.norm)
        assert part.hyper.get("n_iter", 100) == 100
        assert part.hyper.get("n_queries", 5000) == 5000
    totals = np.sum([part.passes for part in attack.parts], axis=0)
    np.testing.assert_array_equal(attack.passes, totals)


def test_a_part_attacks_what_the_parts_before_it_left(model, images):
    # Such logits leave the cross-entropy no gradient: the first part fools few.
    sure = lambda x: 1e4 * model(x)
    labels = classes(model, images)
    labels[0] = (labels[0] + 1) % 5  # wrong already
    attack = make_attack("autoattack", eps=0.03, **SMALL)
    whole = engine.craft(sure, attack, images, labels, batch_size=32)
    robust, passes, left = np.arange(32), np.zeros(32, int), []
    for part in attack.parts:
        alone = engine.craft(
            sure, part, images[robust], labels[robust], robust, batch_size=32
        )
        passes[robust] += alone["backwards"]
        robust = robust[alone["prediction"] == labels[robust]]
        left.append(len(robust))
    assert left[0] > left[1] >= left[2] >= left[3] > 0
    kept = np.flatnonzero(whole["prediction"] == labels)
    np.testing.assert_array_equal(kept, robust)
    assert np.mean(whole["backwards"] == passes) >= 0.9
    assert whole["forwards"][0] == 1 and whole["backwards"][0] == 0
    np.testing.assert_array_equal(whole["image"][0], images[0])
    assert np.all(whole["linf"] <= 0.03 * (1 + 1e-5))


def test_called_directly_as_through_the_engine(model, images):
    labels = classes(model, images)
    attack = make_attack("autoattack", eps=0.03, **SMALL)
    batch = engine.craft(model, attack, images, labels, batch_size=32)
    adv = attack(model, images, labels, index=np.arange(32)).numpy()
    fooled = classes(model, adv) != labels
    assert np.mean(fooled == (batch["prediction"] != labels)) >= 0.97
    close = np.max(np.abs(adv - batch["image"]), axis=(1, 2, 3)) < 1e-5
    assert np.mean(close) >= 0.8


def test_rand_on_a_model_that_draws(model, images):
    def noisy(x):
        return model(x + tf.random.normal(tf.shape(x), stddev=0.02))

    labels = classes(model, images)
    attack = make_attack("autoattack", version="rand", eps=0.1, n_iter=3)
    batch = engine.craft(noisy, attack, images, labels, batch_size=32)
    assert np.mean(classes(model, batch["image"]) != labels) > 0.8
    assert np.all(batch["linf"] <= 0.1 * (1 + 1e-5))
    np.testing.assert_array_equal(batch["backwards"] % 20, 0)


def test_an_unknown_version_is_one_line():
    with pytest.raises(ValueError) as error:
        make_attack("autoattack", version="custom")
    assert str(error.value) == (
        "`version` must be one of standard, plus, rand. Received: version='custom'."
    )
