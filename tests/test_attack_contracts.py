"""What every attack promises, over the whole registry: new entries are picked up."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.attacks import ATTACKS
from tf_advdefense.attacks import engine
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


@every_attack
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_integer_labels_of_any_type(model, name, dtype):
    images = make_images()
    labels = own_classes(model, images)
    np.testing.assert_array_equal(
        quick(name)(model, images, labels.astype(dtype)),
        quick(name)(model, images, labels),
    )


def given_starts(model, name, images, targets):
    """Images of the target classes, for an attack that starts from such."""
    if "image_target" not in ATTACKS[name].hyper:
        return {}
    bim = make_attack("bim", eps=1.0, eps_iter=0.1, nb_iter=30)
    return {"image_target": bim(model, images, targets, targeted=True)}


@every_attack
def test_targeted_raises_the_targets_probability(model, name):
    images = make_images()
    targets = (own_classes(model, images) + 1) % CLASSES
    starts = given_starts(model, name, images, targets)
    adv = quick(name, **starts)(model, images, targets, targeted=True)

    def probability(x):
        return np.take_along_axis(
            tf.nn.softmax(model(x)).numpy(), targets[:, None], axis=1
        )

    # An attack on the margin may reach the target while a third class gains.
    raised = (probability(adv) > probability(images))[:, 0]
    assert np.mean(raised | (own_classes(model, adv) == targets)) >= 0.8


@every_attack
def test_same_seed_same_bits(model, name):
    images = make_images()
    first, second, other = (
        quick(name)(model, images, seed=seed).numpy() for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    if quick(name).hyper.get("rand_init"):
        assert np.all(np.any(first != other, axis=(1, 2, 3)))


@every_attack
@pytest.mark.parametrize("neighbour", ["images", "nan"])
def test_neighbours_have_no_influence_at_all(model, name, neighbour):
    images, index, slot = make_images(), np.arange(BATCH), 3
    labels = own_classes(model, images)
    others = make_images(seed=1) if neighbour == "images" else images * np.nan
    other_labels, other_index = (labels + 1) % CLASSES, index + 9
    others[slot], other_labels[slot] = images[slot], labels[slot]
    other_index[slot] = index[slot]
    adv = quick(name)(model, images, labels, index=index)[slot]
    other_adv = quick(name)(model, others, other_labels, index=other_index)[slot]
    np.testing.assert_array_equal(adv, other_adv)
    assert np.any(adv != images[slot])


@every_attack
def test_a_model_that_overflows_gives_finite_images(model, name):
    """Inside a tf.function; eagerly, an attack by gradient refuses such a model."""
    overflowing = lambda x: model(x) * np.nan
    attack, labels = quick(name), np.zeros(BATCH, np.int64)
    adv = tf.function(lambda x, y: attack(overflowing, x, y))(make_images(), labels)
    assert np.all(np.isfinite(adv))
    if attack.function.gradient:
        with pytest.raises(ValueError, match="must be finite") as error:
            attack(overflowing, make_images(), labels)
        assert "\n" not in str(error.value)


def assert_equal_up_to_rounding(model, labels, one, other):
    """Float32 kernels round differently in other slots and batch sizes; no more."""
    same = np.max(np.abs(one - other), axis=(1, 2, 3)) < 1e-5
    assert np.mean(same) >= 0.8
    logits = [model(adv).numpy()[same] for adv in (one, other)]
    tolerance = 1e-5 * (1 + np.max(np.abs(logits[0])))
    np.testing.assert_allclose(*logits, rtol=0, atol=tolerance)
    fooled = [own_classes(model, adv) != labels for adv in (one, other)]
    assert np.mean(fooled[0] == fooled[1]) >= 0.99


@every_attack
def test_another_order_and_batch_size_change_rounding_only(model, name):
    images = make_images(seed=3, batch=64)
    labels = own_classes(model, images)
    order = np.random.default_rng(1).permutation(64)[:40]
    attack = quick(name)
    whole = attack(model, images, labels, index=np.arange(64)).numpy()[order]
    part = attack(model, images[order], labels[order], index=order).numpy()
    assert_equal_up_to_rounding(model, labels[order], whole, part)


@every_attack
def test_leaving_the_batch_changes_rounding_only_and_traces_nothing_twice(model, name):
    images, traces = make_images(seed=3, batch=64), []
    labels = own_classes(model, images)
    labels[::5] = (labels[::5] + 1) % CLASSES  # some are done at once

    def counted(x):
        traces.append(x.shape)
        return model(x, training=False)

    run = lambda: engine.craft(counted, quick(name), images, labels, batch_size=64)
    left, first = run(), len(traces)
    again = run()
    assert len(traces) == first
    np.testing.assert_array_equal(left["image"], again["image"])
    stayed = quick(name)(counted, images, labels, index=np.arange(64)).numpy()
    assert_equal_up_to_rounding(model, labels, left["image"], stayed)
    assert np.all(left["forwards"] <= quick(name).passes[0])
    assert np.all(left["backwards"] <= quick(name).passes[1])


@every_attack
def test_inside_a_tf_function_as_eagerly(model, name):
    images = make_images()
    labels = own_classes(model, images)
    attack = quick(name)
    compiled = tf.function(lambda x, y: attack(model, x, y, seed=3))
    np.testing.assert_allclose(
        compiled(images, labels), attack(model, images, labels, seed=3), atol=1e-6
    )


@every_attack
def test_no_gradient_flows_through_the_result(model, name):
    x = tf.constant(make_images())
    with tf.GradientTape() as tape:
        tape.watch(x)
        adv = quick(name)(model, x)
    assert set(tape.gradient(adv, [x, *model.trainable_variables])) == {None}


@every_attack
def test_batch_norm_and_dropout_stay_in_inference_mode(name):
    """Even where the attack runs inside a layer that is being trained."""
    model = make_model()

    class Crafting(keras.layers.Layer):
        def call(self, images, training):
            return quick(name)(model, images)

    images = make_images()
    # A twin, because the traces of `model` were made inside the layer.
    np.testing.assert_allclose(
        Crafting()(images, training=True), quick(name)(make_model(), images), atol=1e-6
    )


@every_attack
def test_a_function_is_a_model_too(model, name):
    function = lambda images: model(images, training=False)
    np.testing.assert_array_equal(
        quick(name)(function, make_images()), quick(name)(model, make_images())
    )


@every_attack
def test_a_registry_entry_describes_itself(name):
    attack = ATTACKS[name]
    assert attack.name == name
    assert attack.kind in (
        "fixed-eps",
        "minimal-norm",
        "score-based",
        "decision-based",
    )
    assert attack.norm in (np.inf, 2, 1, 0, None) and attack.passes[0] >= 1
    assert attack.paper.startswith("arXiv:")
    assert attack.function.__doc__


BAD_CALLS = {
    "`y` must hold one integer per image. Received: int64 of shape (5,)": {
        "y": np.zeros(5, np.int64)
    },
    "`y` must hold one integer per image. Received: float32 of shape (6, 4)": {
        "y": np.zeros((6, 4), np.float32)
    },
    "`index` must hold one integer per image": {"index": np.arange(5)},
    "A targeted attack needs `y`, the target classes. Received: y=None.": {
        "targeted": True
    },
    "`clip_min` must be below `clip_max`. Received: clip_min=1.0, clip_max=0.0.": {
        "clip_min": 1.0,
        "clip_max": 0.0,
    },
    "Images must lie in [0.0, 1.0]. Received: values in [0, 255]": {
        "x": np.linspace(0, 255, BATCH * 192).reshape(BATCH, *SHAPE)
    },
}


@every_attack
@pytest.mark.parametrize("message", BAD_CALLS)
def test_bad_input_is_one_line(model, name, message):
    call = {"x": make_images(), **BAD_CALLS[message]}
    with pytest.raises(ValueError) as error:
        quick(name)(model, **call)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


# A severed path, integer arithmetic, and an operation TensorFlow cannot differentiate.
BROKEN_PATHS = {
    "stop_gradient": tf.stop_gradient,
    "uint8": lambda images: tf.cast(tf.cast(images * 255, tf.uint8), tf.float32),
    "adjust_hue": lambda images: tf.image.adjust_hue(images, 0.1),
}


@pytest.mark.parametrize("name", WITH_GRADIENT)
@pytest.mark.parametrize("path", BROKEN_PATHS)
def test_a_model_without_gradient_is_one_line(model, name, path):
    with pytest.raises(ValueError, match="must have a gradient") as error:
        quick(name)(lambda images: model(BROKEN_PATHS[path](images)), make_images())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", WITHOUT_GRADIENT)
@pytest.mark.parametrize("path", BROKEN_PATHS)
def test_attacks_on_scores_or_decisions_need_no_gradient(model, name, path):
    attack, images = quick(name), make_images()
    broken = lambda images: model(BROKEN_PATHS[path](images))
    batches = engine.craft_batches(
        broken, attack, images, own_classes(broken, images), batch_size=BATCH
    )
    (batch,) = batches
    assert np.any(batch["image"] != images)
    assert attack.passes[1] == 0
    assert engine.time_passes(broken, images, batch_size=BATCH, gradient=False)[0] > 0


@fixed_eps_attack
def test_a_negative_radius_is_refused(name):
    with pytest.raises(ValueError, match="`eps` must be .* Received: eps=-0.1."):
        make_attack(name, eps=-0.1)
