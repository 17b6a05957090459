"""Attacks at full strength: confident models, saturated losses, few classes, odd input.

On a linear model the distance to the boundary is known, so that an attack must fool an
image just beyond it, and must not just before it, whatever the scale of the logits.
"""

import types

import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.black_box import hop_skip_jump_points
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.model_fn import inference

SHAPE = (6, 6, 3)
SIZE = int(np.prod(SHAPE))
COUNT = 8
DRAW = np.random.default_rng(4)
WEIGHTS = (DRAW.choice([-1, 1], (SIZE, 2)) * DRAW.uniform(0.5, 1, (SIZE, 2))).astype(
    np.float32
)
IMAGES = DRAW.uniform(0.4, 0.6, (COUNT, *SHAPE)).astype(np.float32)
# At 1 nothing is special; at 300 the cross-entropy's gradient is below 1e-12, and its
# square too small for float32; at 1e5 it is zero.
SCALES = (1.0, 300.0, 1e5)
DUAL = {np.inf: 1, 2: 2, 1: np.inf}


SCALE = tf.Variable(1.0)


def model(images):
    return SCALE * (tf.reshape(images - 0.5, [-1, SIZE]) @ WEIGHTS)


def linear(scale):
    """Two logits, moved so that each image is at its own, small distance.

    One model, which is at the last scale asked for: its traces serve them all.
    """
    SCALE.assign(scale)
    return model


def leads():
    logits = (IMAGES - 0.5).reshape(COUNT, SIZE) @ WEIGHTS
    return np.abs(logits[:, 0] - logits[:, 1]), np.argmax(logits, axis=1)


def distances(norm):
    """Of each image to the boundary, where the bounds are far away."""
    slope = np.linalg.norm(WEIGHTS[:, 0] - WEIGHTS[:, 1], DUAL[norm])
    return leads()[0] / slope


CLIMBING = [
    *(("fgsm", norm, {}) for norm in (np.inf, 2)),
    *(("bim", norm, {"nb_iter": 5}) for norm in (np.inf, 2)),
    *(("mim", norm, {"nb_iter": 5}) for norm in (np.inf, 2)),
    *(("pgd", norm, {"nb_iter": 5}) for norm in (np.inf, 2)),
    *(("apgd_ce", norm, {"n_iter": 20}) for norm in (np.inf, 2)),
]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name, norm, hyper", CLIMBING)
def test_confidence_is_no_robustness(name, norm, hyper, scale):
    model, (_, labels) = linear(scale), leads()
    away = distances(norm)
    for image in np.argsort(away)[[0, -1]]:
        for share, fooled in ((1.03, True), (0.97, False)):
            eps = float(share * away[image])
            given = {**hyper, "eps": eps, "norm": norm}
            if name in ("bim", "mim", "pgd"):
                given["eps_iter"] = eps / 2
            one = slice(image, image + 1)
            adv = make_attack(name, **given)(model, IMAGES[one], labels[one])
            reached = np.argmax(model(adv), axis=1) != labels[one]
            assert reached.all() == fooled, (image, share)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("norm", [np.inf, 2])
def test_the_smallest_radius_of_a_confident_model(norm, scale):
    attack = make_attack("minimal_eps", norm=norm, search_steps=12, nb_iter=5)
    adv = attack(linear(scale), IMAGES, leads()[1]).numpy()
    found = np.linalg.norm((adv - IMAGES).reshape(COUNT, -1), norm, axis=1)
    np.testing.assert_allclose(found, distances(norm), rtol=0.02)


BRIEFLY = {
    "fmn": {"steps": 8},
    "minimal_eps": {"search_steps": 3, "nb_iter": 3},
    "deepfool": {"max_iter": 4},
    "fab_t": {"n_iter": 4, "n_target_classes": 1},
}


@pytest.mark.parametrize(
    "name, norm",
    [(name, norm) for name in BRIEFLY for norm in make_attack(name).norms],
)
def test_a_scale_changes_not_a_bit(name, norm):
    """A power of two rounds nothing, so that nothing may depend on it."""
    attack = make_attack(name, norm=norm, **BRIEFLY[name])
    # DeepFool's 1e-5 beyond a boundary is CleverHans' from the logit 1 on.
    powers = (-10, -80) if name == "deepfool" else (0, -80, 60)
    plain, *scaled = (
        attack(linear(2.0**power), IMAGES, leads()[1]) for power in powers
    )
    for each in scaled:
        np.testing.assert_array_equal(plain, each)


@pytest.mark.parametrize("name", ["fgsm", "bim", "mim", "pgd", "r_fgsm", "sparse_l1"])
def test_a_flat_cross_entropy_is_climbed_all_the_same(name):
    given = {"eps": 30.0} if name == "sparse_l1" else {"eps": 0.1}
    steep, flat = (
        make_attack(name, **given)(linear(scale), IMAGES, leads()[1])
        for scale in (1.0, 1e5)
    )
    # Of a linear model both rise in the same direction.
    np.testing.assert_allclose(steep, flat, atol=1e-6)


@pytest.mark.parametrize("name", ["cw", "ead"])
def test_a_constant_as_large_as_one_likes(name):
    """An early abort that starts from a finite loss would end the search at once."""
    attack = small_models.within_budget(name, initial_const=1e9)
    adv = attack(linear(1.0), IMAGES, leads()[1])
    assert np.all(np.argmax(linear(1.0)(adv), axis=1) != leads()[1])


@pytest.mark.parametrize("version", ["standard", "plus", "rand"])
def test_autoattack_of_two_classes(version):
    attack = make_attack("autoattack", version=version, n_iter=5, n_queries=20, eps=0.1)
    assert ("apgd_dlr" in [p.name for p in attack.parts(attack.hyper, 2)]) is False
    adv = attack(linear(1.0), IMAGES, leads()[1])
    assert np.all(np.argmax(linear(1.0)(adv), axis=1) != leads()[1])


def test_spatial_tries_the_image_where_it_is():
    wrong = 1 - leads()[1]
    adv = make_attack("spatial", dx_min=0.5, dy_min=0.5, n_angles=1)(
        linear(1.0), IMAGES, wrong
    )
    # All labels are wrong: the image itself fools, and no shift is needed for it.
    assert np.all(np.argmax(linear(1.0)(adv), axis=1) != wrong)


def test_auto_pgd_never_aims_at_the_label():
    """Of a random model the first class of a draw need not be the label."""
    labels = 1 - leads()[1]  # as if another draw had been right
    model = linear(1.0)
    attack = make_attack("apgd_t", n_iter=3, n_target_classes=1)
    keys = row_keys(0, np.arange(COUNT))
    x, y = tf.constant(IMAGES), tf.constant(labels)
    state = attack.init(inference(model), x, y, keys, attack.hyper, Task())
    assert not np.any(state.targets.numpy() == labels[:, None])


def test_hop_skip_jump_probes_large_images():
    """The paper's probe moves entries by 1e-8 of the way, which float32 cannot."""
    hyper = make_attack("hop_skip_jump", norm=np.inf).hyper
    image = tf.fill([1, 224, 224, 3], 0.7)
    state = types.SimpleNamespace(
        image=image, iteration=tf.constant([1]), reach=tf.constant([0.1])
    )
    size = float(hop_skip_jump_points.delta(state, hyper, Task())[0])
    entry = size / np.sqrt(224 * 224 * 3)
    assert np.float32(0.7) + np.float32(entry) != np.float32(0.7)
    # Of small images it is the paper's own.
    state.image = tf.fill([1, 32, 32, 3], 0.7)
    size = float(hop_skip_jump_points.delta(state, hyper, Task())[0])
    np.testing.assert_allclose(size, 0.1 / (32 * 32 * 3), rtol=1e-5)


# === Hyperparameters that switch an attack off ===


@pytest.mark.parametrize(
    "name, hyper",
    [
        ("pgd", {"eps_iter": 0.0}),
        ("pgd", {"eps_iter": -0.1}),
        ("bim", {"eps_iter": float("nan")}),
        ("cw", {"learning_rate": 0.0}),
        ("cw", {"initial_const": -1.0}),
        ("ead", {"confidence": -1.0}),
        ("spsa", {"learning_rate": -0.1}),
        ("cw", {"confidence": None}),
        ("pgd", {"eps_iter": None}),
        ("pgd", {"norm": 1, "grad_sparsity": 100.0}),
    ],
)
def test_what_switches_an_attack_off_is_refused(name, hyper):
    (key,) = set(hyper) - {"norm"}
    with pytest.raises(
        ValueError, match=f"`{key}` must be .* Received: {key}="
    ) as error:
        make_attack(name, **hyper)
    assert "\n" not in str(error.value)


# === Odd input ===


def test_a_row_of_nan_hides_no_other_row():
    images = IMAGES.copy()
    images[0] = np.nan
    images[3, 0, 0, 0] = 1.5
    with pytest.raises(ValueError, match=r"must lie in \[0.0, 1.0\].*1.5\]"):
        make_attack("fgsm")(linear(1.0), images, leads()[1])


def test_values_a_hair_outside_are_printed_as_such():
    images = IMAGES.copy()
    images[0, 0, 0, 0] = np.nextafter(np.float32(1), np.float32(2))
    with pytest.raises(ValueError, match=r"1\.00000012\]"):
        make_attack("fgsm")(linear(1.0), images, leads()[1])


@pytest.mark.parametrize("name", ["fgsm", "pgd", "cw", "deepfool", "square", "fab_t"])
def test_images_of_one_value(name):
    model = lambda x: tf.reshape(x, [-1, 1]) * [[-1.0, 1.0]] + [[0.5, -0.5]]
    images = np.array([0.3, 0.45], np.float32).reshape(2, 1, 1, 1)
    known = make_attack(name).defaults
    hyper = {key: 0.3 for key in ("eps", "eps_iter") if key in known}
    adv = small_models.within_budget(name, **hyper)(model, images, np.array([0, 0]))
    assert adv.shape == images.shape and np.argmax(model(adv), axis=1)[1] == 1
