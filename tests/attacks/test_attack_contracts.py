"""What every attack promises, over the whole registry: new entries are picked up."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.attacks import ATTACKS
from tf_advdefense.attacks import make_attack

BATCH, SHAPE, CLASSES = 6, (8, 8, 3), 4
# Budgets small enough for a test, and steps large enough to fool the tiny model.
QUICK = {
    "cw": {
        "max_iterations": 40,
        "binary_search_steps": 2,
        "learning_rate": 0.05,
        "initial_const": 1.0,
    },
    "ead": {
        "max_iterations": 40,
        "binary_search_steps": 2,
        "initial_const": 10.0,
    },
    "bim": {"nb_iter": 4},
    "pgd": {"nb_iter": 4, "rand_init": True},
    "mim": {"nb_iter": 4},
    "fmn": {"steps": 20},
    "minimal_eps": {"search_steps": 4, "nb_iter": 4},
    "sparse_l1": {"nb_iter": 4, "rand_init": True},
    "apgd_ce": {"n_iter": 8},
    "apgd_dlr": {"n_iter": 8},
    "apgd_t": {"n_iter": 6},
    "autoattack": {"n_iter": 4, "n_queries": 20},
    "deepfool": {"max_iter": 10},
    "fab_t": {"n_iter": 6, "n_target_classes": 2},
    "square": {"n_queries": 60, "eps": 0.1},
    "spsa": {"nb_iter": 5, "spsa_samples": 32, "learning_rate": 0.05, "eps": 0.1},
    "noise": {"n_draws": 40},
    "hop_skip_jump": {
        "num_iterations": 2,
        "initial_num_evals": 20,
        "max_queries": 150,
    },
}
KINDS = {name: ATTACKS[name].kind for name in ATTACKS}
# Attacks on scores may have a radius, too.
FIXED_EPS = [
    name
    for name in ATTACKS
    if KINDS[name] != "minimal-norm" and "eps" in ATTACKS[name].hyper
]
WITH_GRADIENT = [
    name for name in ATTACKS if KINDS[name] in ("fixed-eps", "minimal-norm")
]
WITHOUT_GRADIENT = [name for name in ATTACKS if name not in WITH_GRADIENT]

every_attack = pytest.mark.parametrize("name", ATTACKS)
fixed_eps_attack = pytest.mark.parametrize("name", FIXED_EPS)


@pytest.fixture(scope="module")
def model():
    return make_model()


def make_model():
    keras.utils.set_random_seed(7)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(6, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(CLASSES),
        ]
    )


def make_images(seed=0, batch=BATCH):
    return np.random.default_rng(seed).random((batch, *SHAPE), np.float32)


def quick(name, **hyper):
    return make_attack(name, **{**QUICK.get(name, {}), **hyper})


def own_classes(model, images):
    return np.argmax(model(images), axis=1)


def norm(eta, order):
    return np.linalg.norm(eta.reshape(len(eta), -1), order, axis=1)


@every_attack
def test_result_is_a_finite_float32_tensor_like_the_images(model, name):
    adv = quick(name)(model, make_images())
    assert isinstance(adv, tf.Tensor) and adv.dtype == tf.float32
    assert adv.shape == (BATCH, *SHAPE)
    assert np.all(np.isfinite(adv))


@every_attack
def test_result_fools_some_images_and_stays_inside_the_bounds(model, name):
    hyper = {"eps": 20.0} if name == "sparse_l1" else {"eps": 0.3}
    attack = quick(name, **hyper if name in FIXED_EPS else {})
    images = make_images()
    adv = attack(model, images).numpy()
    assert adv.min() >= 0 and adv.max() <= 1
    assert np.any(own_classes(model, adv) != own_classes(model, images))


@every_attack
def test_other_bounds_hold(model, name):
    images = 0.25 + 0.5 * make_images()
    adv = quick(name)(model, images, clip_min=0.25, clip_max=0.75).numpy()
    assert adv.min() >= 0.25 and adv.max() <= 0.75


@fixed_eps_attack
@pytest.mark.parametrize("eps", [0.01, 0.3, 1.0])
def test_result_is_inside_the_ball(model, name, eps):
    for order in ATTACKS[name].function.norms:
        hyper = {"norm": order} if "norm" in ATTACKS[name].hyper else {}
        images = make_images()
        adv = quick(name, eps=eps, **hyper)(model, images).numpy()
        distance = norm(adv - images, order)
        # An image plus its perturbation is rounded entry by entry.
        rounding = 1e-7 * (images[0].size if order == 1 else 1)
        assert np.all(distance <= eps * (1 + 1e-5) + rounding)
        assert np.all(distance > 0)


@fixed_eps_attack
def test_no_radius_is_the_identity(model, name):
    for order in ATTACKS[name].function.norms:
        hyper = {"norm": order} if "norm" in ATTACKS[name].hyper else {}
        images = make_images()
        adv = quick(name, eps=0, **hyper)(model, images)
        np.testing.assert_array_equal(adv, images)


@every_attack
def test_inputs_and_the_model_are_unmodified(model, name):
    images, labels = make_images(), np.zeros(BATCH, np.int64)
    images_before, weights_before = images.copy(), model.get_weights()
    quick(name)(model, images, labels)
    np.testing.assert_array_equal(images, images_before)
    np.testing.assert_array_equal(labels, 0)
    for before, after in zip(weights_before, model.get_weights()):
        np.testing.assert_array_equal(before, after)


@every_attack
def test_no_labels_means_the_predicted_ones(model, name):
    images = make_images()
    np.testing.assert_array_equal(
        quick(name)(model, images),
        quick(name)(model, images, own_classes(model, images)),
    )


@pytest.mark.parametrize(
    "name, dtype",
    [
        *((name, "mixed_float16") for name in ATTACKS if name != "autoattack"),
        ("pgd", "mixed_bfloat16"),
        ("pgd", "float64"),
        ("fab_t", "float64"),
    ],
)
def test_logits_of_any_floating_kind(name, dtype):
    keras.config.set_dtype_policy(dtype)
    try:
        other = make_model()
    finally:
        keras.config.set_dtype_policy("float32")
    images = make_images()
    assert other(images).dtype == dtype.removeprefix("mixed_")
    adv = quick(name)(other, images, own_classes(other, images))
    assert adv.dtype == tf.float32 and np.all(np.isfinite(adv))
