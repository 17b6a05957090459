"""HopSkipJump on linear models; against CleverHans in `test_hop_skip_jump_phases`."""

import functools

import closed_forms
from closed_forms import SHAPE
from closed_forms import length
import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.black_box import hop_skip_jump as module
from tf_advdefense.attacks.black_box.hop_skip_jump import hop_skip_jump
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.core.draws import row_keys

both_norms = pytest.mark.parametrize("norm", [2, np.inf])


# The phases are compared in all four cases; what holds whatever they are, in two.
norm_and_search = pytest.mark.parametrize(
    "norm, search", [(2, "geometric_progression"), (np.inf, "grid_search")]
)
# What is traced for it, which takes seconds, serves several tests.
BRIEF = {"num_iterations": 3, "norm": np.inf, "initial_num_evals": 50}


# A linear classifier of two classes has closed forms. Its boundary goes through grey.

LINEAR, WEIGHTS = closed_forms.linear_classifier()


def decided(classes):
    """Logits of which the class only can be read; they have no gradient."""
    return tf.one_hot(classes, 2, on_value=9.0, off_value=-9.0)


def linear_model(images):
    return decided(tf.argmax(LINEAR(images), axis=1))


def middle_images(count=20):
    """Images far from the bounds, and their classes."""
    images = closed_forms.grey_images(count)
    return images, small_models.classes(linear_model, images)


def closest(images, norm):
    """The distance of images to the boundary."""
    _, _, distances = closed_forms.class_distances(images, WEIGHTS, norm)
    return np.nanmin(distances, axis=1)


def crafted(images, labels, **hyper):
    settings = {key: hyper.pop(key) for key in ("targets", "seed") if key in hyper}
    attack = make_attack("hop_skip_jump", **hyper)
    return craft(
        linear_model, attack, images, labels, batch_size=len(images), **settings
    )


@functools.cache
def crafted_briefly():
    return crafted(*middle_images(), **BRIEF)


@norm_and_search
def test_distances_approach_the_boundary(norm, search):
    images, labels = middle_images()
    exact = closest(images, norm)
    batch = crafted(images, labels, norm=norm, stepsize_search=search, num_iterations=9)
    assert np.all(batch["prediction"] != labels)
    distance = length(batch["image"] - images, norm)
    assert np.all(distance >= exact * (1 - 1e-5))
    assert np.median(distance / exact) < 1.05
    assert np.max(distance / exact) < 1.15


def other_starts(images, labels):
    """For each image one of the other class, but for the fifth."""
    starts = images[[np.flatnonzero(labels != label)[0] for label in labels]]
    starts[4] = images[4]
    return starts


@both_norms
def test_targets_are_reached_from_their_images(norm):
    images, labels = middle_images()
    batch = crafted(
        images,
        labels,
        targets=1 - labels,
        norm=norm,
        image_target=other_starts(images, labels),
        num_iterations=9,
    )
    others = np.arange(len(images)) != 4
    assert np.all((batch["prediction"] == 1 - labels) == others)
    distance = length(batch["image"] - images, norm)
    assert np.median((distance / closest(images, norm))[others]) < 1.05
    # A start of another class fails alone.
    np.testing.assert_array_equal(batch["image"][4], images[4])
    assert batch["forwards"][4] == 2


def test_random_starts_take_the_place_of_starts_of_the_label():
    images, labels = middle_images()
    hyper = {"image_target": other_starts(images, labels), "num_iterations": 2}
    assert np.all(crafted(images, labels, **hyper)["prediction"] != labels)


def test_one_start_serves_any_number_of_batches():
    images, labels = middle_images()
    start, rows = images[labels == 1][0], labels == 0
    attack = make_attack("hop_skip_jump", image_target=start, max_queries=50)
    batch = craft(
        linear_model,
        attack,
        images[rows],
        labels[rows],
        targets=1 - labels[rows],
        batch_size=4,
    )
    assert np.all(batch["prediction"] == 1) and len(batch["image"]) > 4


@norm_and_search
def test_questions_are_counted_and_answered_by_fooling_images(norm, search):
    asked = []

    @tf.py_function(Tout=tf.float32)
    def answer(images):
        asked.append(images.numpy())
        return linear_model(images)

    def model(images):
        return tf.ensure_shape(answer(images), [None, 2])

    attack = make_attack(
        "hop_skip_jump",
        norm=norm,
        stepsize_search=search,
        num_iterations=2,
        initial_num_evals=10,
        max_queries=150,
    )
    for size in (1, 3, 8):  # traced once
        asked.clear()
        assert_answers(*middle_images(size), model, attack, asked)


def assert_answers(images, labels, model, attack, asked):
    """Of a search whose questions, `[n, h, w, c]` each, are appended to `asked`."""
    size, norm = len(images), attack.norm
    task, keys = Task(clip_min=0.2, clip_max=0.8), row_keys(0, tf.range(size))
    x, y = tf.constant(images), tf.constant(labels)
    state = module.init(model, x, y, keys, attack.hyper, task)
    while not np.all(state.progress.done):
        state = module.advance(model, state, attack.hyper, task)
    adv = module.finish(state, attack.hyper, task).numpy()
    progress = state.progress
    asked = np.stack(asked)
    assert asked.min() >= 0.2 and asked.max() <= 0.8
    assert len(asked) == np.max(progress.forwards)
    assert np.all(progress.backwards == 0)
    for row in range(size):
        questions = asked[: progress.forwards[row], row]
        fooled = small_models.classes(linear_model, questions) != labels[row]
        distance = length(questions - images[row], norm)
        # The result is the closest of the questions that fooled the model.
        found = np.all(questions == adv[row], axis=(1, 2, 3))
        assert np.any(found & fooled)
        assert distance[found][0] <= np.min(distance[fooled]) * (1 + 1e-5)


@pytest.mark.slow
def test_no_question_goes_beyond_the_budget_and_more_come_closer():
    images, labels = middle_images()
    free = crafted_briefly()
    assert len(set(free["forwards"])) > 1
    for budget in (1, 157):
        few = crafted(images, labels, **BRIEF, max_queries=budget)
        expected = np.minimum(free["forwards"], budget)
        np.testing.assert_array_equal(few["forwards"], expected)
        limited = make_attack("hop_skip_jump", max_queries=budget)
        assert limited.cost(SHAPE, 2) == (budget, 0)
    most, backwards = make_attack("hop_skip_jump", **BRIEF).cost(SHAPE, 2)
    assert np.all(free["forwards"] <= most) and backwards == 0
    assert np.all(free["linf"] <= few["linf"])
    assert np.median(free["linf"] / few["linf"]) < 0.95


def test_other_bounds_are_a_change_of_scale():
    images, labels = middle_images()
    scaled = hop_skip_jump(
        lambda x: linear_model((x + 1) / 2),
        images * 2 - 1,
        labels,
        clip_min=-1.0,
        clip_max=1.0,
        **BRIEF,
    )
    distance = length(scaled - (images * 2 - 1), np.inf)
    assert 1.9 < np.median(distance / crafted_briefly()["linf"]) < 2.1


def test_wrong_images_and_stubborn_models_keep_the_image():
    images, labels = middle_images()
    batch = crafted(images, 1 - labels, **BRIEF)
    np.testing.assert_array_equal(batch["image"], images)
    np.testing.assert_array_equal(batch["forwards"], 1)
    constant = lambda x: decided(tf.zeros(tf.shape(x)[:1], tf.int64))
    attack = make_attack("hop_skip_jump")
    zeros = np.zeros(len(images), int)
    batch = craft(constant, attack, images, zeros, batch_size=len(images))
    np.testing.assert_array_equal(batch["image"], images)
    np.testing.assert_array_equal(batch["forwards"], 1001)


@pytest.mark.quick
def test_starts_get_coarser_where_fine_noise_is_all_alike():
    def model(images):
        flat = tf.math.reduce_std(images, axis=(1, 2)) < 0.1
        return decided(tf.cast(tf.reduce_all(flat, axis=1), tf.int64))

    images = np.random.default_rng(0).random((3, 9, 8, 3), np.float32)
    attack = make_attack("hop_skip_jump", max_queries=100)
    batch = craft(model, attack, images, np.zeros(3, int), batch_size=3)
    np.testing.assert_array_equal(batch["prediction"], 1)


def fickle_model(images):
    """Fooled by any change at all, so that the distance becomes zero."""
    same = tf.reduce_all(images == 0.5, axis=(1, 2, 3))
    return decided(tf.cast(~same, tf.int64))


@norm_and_search
def test_nothing_is_endless_or_nan_where_the_boundary_is_the_image(norm, search):
    images, labels = (
        np.full((3, *SHAPE), 0.5, np.float32),
        np.zeros(3, int),
    )
    hyper = {"norm": norm, "stepsize_search": search, "num_iterations": 6}
    adv = hop_skip_jump(fickle_model, images, labels, initial_num_evals=5, **hyper)
    assert np.all(np.isfinite(adv)) and np.all(length(adv - images, norm) > 0)
    assert np.all(length(adv - images, norm) < 1e-2)


def test_a_projection_ends_where_float32_does():
    images, labels = middle_images()
    batch = crafted(images, labels, gamma=1e-9, num_iterations=2, initial_num_evals=5)
    assert np.all(batch["prediction"] != labels)
    # 2 + starts + 10 + 24 for the first projection, and twice 5 or 7 + steps + 24.
    assert np.median(batch["forwards"]) < 150


@pytest.mark.parametrize(
    "message, hyper",
    [
        (
            "`stepsize_search` must be one of geometric_progression, grid_search. "
            "Received: stepsize_search='grid'.",
            {"stepsize_search": "grid"},
        ),
        ("`gamma` must be above 0. Received: gamma=0.0.", {"gamma": 0.0}),
        (
            "`max_queries` must be None or a whole number from 1 on. "
            "Received: max_queries=0.",
            {"max_queries": 0},
        ),
        ("`norm` must be 2 or inf. Received: norm=1.", {"norm": 1}),
    ],
)
def test_values_are_checked_beforehand(message, hyper):
    small_models.assert_refused(message, "hop_skip_jump", hyper)


def test_targeted_starts_are_needed_and_checked():
    images, labels = middle_images()
    with pytest.raises(ValueError, match="needs `image_target`, .*=None.$"):
        hop_skip_jump(linear_model, images, labels, targeted=True)
    with pytest.raises(ValueError, match="`image_target` must have the shape of"):
        hop_skip_jump(linear_model, images, labels, image_target=images[:3])
