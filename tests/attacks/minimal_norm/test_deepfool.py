"""DeepFool: exact distances on linear models, the algorithm in NumPy, its corners."""

import closed_forms
import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.minimal_norm.deepfool import deepfool

norms = pytest.mark.parametrize("norm", [2, np.inf])


# --- linear models --------------------------------------------------------------------


@norms
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_distances_on_linear_models_are_exact(norm, classes, batch):
    model, weights = closed_forms.linear_classifier(classes)
    images = closed_forms.grey_images(batch)
    _, labels, exact = closed_forms.class_distances(images, weights, norm)
    closest = np.nanmin(exact, axis=1)
    adv = deepfool(model, images, norm=norm, overshoot=0.0)
    assert np.all(small_models.classes(model, adv) != labels)
    np.testing.assert_allclose(
        closed_forms.length(adv - images, norm), closest, rtol=1e-3
    )
    adv = deepfool(model, images, norm=norm, overshoot=0.25)
    np.testing.assert_allclose(
        closed_forms.length(adv - images, norm), 1.25 * closest, rtol=1e-3
    )


@norms
def test_only_the_likeliest_candidates_are_looked_at(norm):
    model, weights = closed_forms.linear_classifier(6)
    images = closed_forms.grey_images(16)
    logits, _, exact = closed_forms.class_distances(images, weights, norm)
    ranks = np.argsort(-logits, axis=1)
    expected = np.take_along_axis(exact, ranks, axis=1)
    # That of the second class first, then the least with the third, ...
    expected = np.minimum.accumulate(expected[:, 1:], axis=1)
    assert np.any(expected[:, 0] > expected[:, 2])
    for candidates in (2, 3, 4):
        adv = deepfool(model, images, norm=norm, nb_candidate=candidates, max_iter=1)
        found = closed_forms.length(adv - images, norm) / 1.02
        fooled = found > 0  # with a class unseen in the way, one step may fall short
        np.testing.assert_allclose(
            found[fooled], expected[fooled, candidates - 2], rtol=1e-3
        )
        assert np.mean(fooled) > 0.9


@norms
def test_more_candidates_than_classes_are_all_classes(norm):
    model, _ = closed_forms.linear_classifier(4)
    images = closed_forms.grey_images(8)
    np.testing.assert_array_equal(
        deepfool(model, images, norm=norm, nb_candidate=10),
        deepfool(model, images, norm=norm, nb_candidate=4),
    )


@norms
def test_a_target_is_reached(norm):
    model, weights = closed_forms.linear_classifier(4)
    images = closed_forms.grey_images(8)
    _, labels, exact = closed_forms.class_distances(images, weights, norm)
    targets = (labels + 1) % 4
    adv = deepfool(model, images, targets, targeted=True, norm=norm)
    np.testing.assert_array_equal(small_models.classes(model, adv), targets)
    least = exact[np.arange(8), targets]
    assert np.all(closed_forms.length(adv - images, norm) >= least * 0.999)
    again = deepfool(model, adv, targets, targeted=True, norm=norm)
    np.testing.assert_array_equal(again, adv)


@norms
def test_images_at_the_bounds_are_fooled_inside_them(norm):
    model, _ = closed_forms.linear_classifier(4)
    images = np.random.default_rng(2).integers(2, size=(16, 3, 3, 3)).astype(np.float32)
    labels = small_models.classes(model, images)
    adv = deepfool(model, images, norm=norm).numpy()
    assert adv.min() >= 0 and adv.max() <= 1
    assert np.all(small_models.classes(model, adv) != labels)


def test_passes_are_counted_by_image():
    model, weights = closed_forms.linear_classifier(4)
    images = closed_forms.grey_images(8)
    _, labels, _ = closed_forms.class_distances(images, weights, 2)
    labels[:2] = (labels[:2] + 1) % 4  # wrong already
    attack = make_attack("deepfool")
    found = craft(model, attack, images, labels, batch_size=8)
    np.testing.assert_array_equal(found["forwards"], [1, 1] + [3] * 6)
    np.testing.assert_array_equal(found["backwards"], [0, 0] + [3] * 6)
    np.testing.assert_array_equal(found["image"][:2], images[:2])
    image, classes = (32, 32, 3), 10
    assert attack.cost(image, classes) == (101, 450)
    shorter = make_attack("deepfool", max_iter=3, nb_candidate=4)
    assert shorter.cost(image, classes) == (7, 9)


# --- the algorithm in NumPy -----------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    """`tanh(x @ w1 + b1) @ w2 + b2` with steep boundaries, and images."""
    rng = np.random.default_rng(3)
    shapes = {"w1": (48, 20), "b1": (20,), "w2": (20, 5), "b2": (5,)}
    weights = {name: rng.normal(size=shape) / 2 for name, shape in shapes.items()}
    return weights, rng.random((12, 4, 4, 3))


def as_float32(weights):
    return {name: array.astype(np.float32) for name, array in weights.items()}


def logits_and_jacobian(weights, x):
    hidden = np.tanh(x @ weights["w1"] + weights["b1"])
    jacobian = (weights["w1"] * (1 - hidden**2)) @ weights["w2"]
    return hidden @ weights["w2"] + weights["b2"], jacobian.T


def reference(weights, image, norm, candidates, overshoot):
    """One image, float64: the authors' loop with CleverHans' steps."""
    x0 = image.ravel()
    label = np.argmax(logits_and_jacobian(weights, x0)[0])
    total, x = np.zeros_like(x0), x0
    for iteration in range(1, 51):
        logits, jacobian = logits_and_jacobian(weights, x)
        steps = []
        for k in [k for k in np.argsort(-logits) if k != label][: candidates - 1]:
            w, f = jacobian[k] - jacobian[label], logits[k] - logits[label]
            size = (abs(f) + 1e-5) / np.linalg.norm(w, closed_forms.DUAL[norm])
            unit = w / np.linalg.norm(w) if norm == 2 else np.sign(w)
            steps.append((size, size * unit))
        total = total + min(steps, key=lambda step: step[0])[1]
        x = np.clip(x0 + (1 + overshoot) * total, 0, 1)
        if np.argmax(logits_and_jacobian(weights, x)[0]) != label:
            return x.reshape(image.shape), iteration
    raise AssertionError("not fooled")


@norms
@pytest.mark.parametrize("candidates, overshoot", [(5, 0.02), (3, 0.0)])
def test_every_image_is_that_of_the_algorithm(network, norm, candidates, overshoot):
    weights, images = network
    expected, iterations = zip(
        *(reference(weights, image, norm, candidates, overshoot) for image in images)
    )
    assert max(iterations) > 2
    hyper = {"norm": norm, "nb_candidate": candidates, "overshoot": overshoot}
    model, images = (
        small_models.two_layers(as_float32(weights)),
        images.astype(np.float32),
    )
    labels = small_models.classes(model, images)
    found = craft(
        model, make_attack("deepfool", **hyper), images, labels, batch_size=12
    )
    np.testing.assert_allclose(found["image"], expected, atol=2e-4)
    iterations = np.array(iterations)
    np.testing.assert_array_equal(found["forwards"], 1 + 2 * iterations)
    np.testing.assert_array_equal(found["backwards"], (candidates - 1) * iterations)


# --- corners --------------------------------------------------------------------------


def brightness_model(lead, classes=2):
    """The second of the classes leads the first by a function of the brightness."""

    def model(images):
        brightness = tf.reduce_sum(images, [1, 2, 3])
        zeros = tf.zeros_like(brightness)
        return tf.stack([zeros, lead(brightness), *[zeros - 1] * (classes - 2)], 1)

    return model


def dark_images(brightness):
    values = np.float32(brightness) / 4
    return np.broadcast_to(values.reshape(-1, 1, 1, 1), (len(values), 2, 2, 1))


def test_the_image_returned_is_one_that_was_seen_to_fool():
    """The second class is a narrow band, which the first overshoot leaps over."""
    model = brightness_model(lambda s: 0.05 - tf.abs(s - 1))
    images = dark_images([0.0, 0.2])
    adv = deepfool(model, images, overshoot=0.2).numpy()
    assert np.all(np.abs(adv.sum(axis=(1, 2, 3)) - 1) < 0.05)


def test_what_is_not_fooled_in_time_stays():
    model = brightness_model(lambda s: tf.sqrt(s) - 1)
    images = dark_images([0.1, 0.99])
    one_step = deepfool(model, images, max_iter=1).numpy()
    np.testing.assert_array_equal(one_step[0], images[0])  # Newton's step falls short
    assert np.all(one_step[1] > images[1])
    adv = deepfool(model, images).numpy()
    np.testing.assert_allclose(adv.sum(axis=(1, 2, 3)), 1, rtol=0.04)


def test_without_any_gradient_nothing_moves_and_nothing_is_tried_again():
    model = brightness_model(lambda s: 0 * s - 1)
    images = dark_images([0.1, 0.9])
    found = craft(model, make_attack("deepfool"), images, np.zeros(2, int))
    np.testing.assert_array_equal(found["image"], images)
    np.testing.assert_array_equal(found["forwards"], 3)
    np.testing.assert_array_equal(found["backwards"], 1)


@norms
def test_a_candidate_without_a_gradient_is_passed_over(norm):
    """The third class is close in logits but at no finite distance."""
    near = brightness_model(lambda s: s - 2, classes=3)
    images = dark_images([0.8, 1.6])
    adv = deepfool(near, images, norm=norm).numpy()
    expected = images + 1.02 * (2 - images.sum(axis=(1, 2, 3), keepdims=True)) / 4
    np.testing.assert_allclose(adv, expected, rtol=1e-3)


@pytest.mark.parametrize(
    "hyper, message",
    [
        (
            {"nb_candidate": 1},
            "`nb_candidate` must be at least 2: the label and one class to reach. "
            "Received: nb_candidate=1.",
        ),
        (
            {"overshoot": -0.1},
            "`overshoot` must be at least 0. Received: overshoot=-0.1.",
        ),
        ({"norm": 1}, "`norm` must be 2 or inf. Received: norm=1."),
    ],
)
def test_ranges_are_checked(hyper, message):
    small_models.assert_refused(message, "deepfool", hyper)
