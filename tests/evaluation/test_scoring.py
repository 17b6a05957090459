"""Evaluation: counts by hand, classes of any batch size, two ways to one number."""

import keras
import numpy as np
import pytest

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.datasets import Split
from tf_advdefense.evaluation import scoring as evaluation
from tf_advdefense.evaluation import signs
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.images import as_float

NORMS = ("l0", "l1", "l2", "linf")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    )


@pytest.fixture(scope="module")
def split(model):
    """Forty images, every fifth of another class than the model says."""
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 3), np.uint8)
    labels = logits(model, images).argmax(1)
    labels[::5] = (labels[::5] + 1) % 4
    return Split(images, labels, np.arange(100, 140))


def logits(model, images):
    return np.asarray(model(as_float(images), training=False))


# === Counts ===


@pytest.mark.quick
def test_a_measurement_by_hand():
    label = np.array([0, 0, 0, 0, 1, 1])
    before = np.array([0, 0, 0, 1, 1, 0])
    after = np.array([0, 1, 2, 0, 0, 1])  # The last two: fooled, and right too late.
    distances = {norm: np.arange(6) * scale for norm, scale in zip(NORMS, (1, 2, 3, 4))}
    fields, arrays = evaluation.measure(label, before, after, distances)
    assert fields["num_examples"] == 6
    assert fields["clean_correct"] == 4
    assert fields["correct"] == 1
    assert fields["fooled"] == 3
    assert fields["accuracy"] == 1 / 6
    assert fields["interval"] == list(wilson(1, 6))
    for norm, scale in zip(NORMS, (1, 2, 3, 4)):  # Images 1, 2 and 4.
        assert fields[f"mean_{norm}"] == pytest.approx(scale * 7 / 3)
        assert fields[f"median_{norm}"] == pytest.approx(scale * 2)
    assert arrays["clean_ok"].tolist() == [True, True, True, False, True, False]
    assert arrays["ok"].tolist() == [True, False, False, False, False, False]
    assert set(arrays) == {"clean_ok", "ok", *NORMS}
    assert arrays["l2"].dtype == np.float32
    np.testing.assert_array_equal(arrays["l2"], distances["l2"])


def test_no_distances_where_none_is_fooled():
    label = np.array([0, 1])
    distances = {norm: np.ones(2) for norm in NORMS}
    fields, _ = evaluation.measure(label, label, label, distances)
    assert fields["fooled"] == 0
    for norm in NORMS:
        assert fields[f"mean_{norm}"] is fields[f"median_{norm}"] is None


def test_clean_images_have_no_distances():
    label = np.array([0, 1, 1])
    prediction = np.array([0, 1, 0])
    fields, arrays = evaluation.measure(label, prediction, prediction)
    assert (fields["correct"], fields["fooled"]) == (2, 0)
    assert fields["mean_l2"] is fields["median_linf"] is None
    assert set(arrays) == {"clean_ok", "ok"}


@pytest.mark.parametrize(
    "correct, total, low, high",
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)  # The last: Newcombe (1998), table I.
def test_wilson_against_published_values(correct, total, low, high):
    assert wilson(correct, total) == pytest.approx((low, high), abs=6e-5)


# === Classes ===


@pytest.mark.parametrize("batch_size", [1, 7, 16, 40, 64])
def test_classes_are_the_models_at_any_batch_size(model, split, batch_size):
    expected = logits(model, split.images)
    np.testing.assert_array_equal(
        evaluation.classify(model, split.images, batch_size), expected.argmax(1)
    )
    np.testing.assert_array_equal(
        evaluation.least_likely(model, split.images, batch_size), expected.argmin(1)
    )


def test_float_images_are_taken_as_they_are(model, split):
    images = split.images / np.float32(255)
    np.testing.assert_array_equal(
        evaluation.classify(model, images), evaluation.classify(model, split.images)
    )


def test_one_shape_is_compiled_for_all_batches(split):
    traced = []

    def model(images):
        traced.append(images.shape)
        return images[:, 0, 0]

    evaluation.classify(model, split.images, 16)
    assert traced == [(16, 6, 6, 3)]


# === Measurements ===


@pytest.mark.quick
def test_clean_accuracy(model, split):
    fields, arrays = evaluation.on_clean(model, split, batch_size=16)
    assert fields["correct"] == fields["clean_correct"] == 32
    assert fields["accuracy"] == 0.8
    assert fields["forwards"] == fields["backwards"] == 0
    np.testing.assert_array_equal(arrays["index"], split.index)
    assert not arrays["ok"][::5].any()


@pytest.mark.parametrize(
    "name, hyper",
    [("fgsm", {"eps": 0.02}), ("cw", {"max_iterations": 30, "learning_rate": 0.05})],
)
def test_a_set_scores_as_the_attack_it_was_made_by(model, split, name, hyper):
    attack = make_attack(name, **hyper)
    live, live_arrays = evaluation.under_attack(model, attack, split, batch_size=16)
    examples = craft(
        model, attack, split.images, split.labels, split.index, batch_size=16
    )
    stored, stored_arrays = evaluation.on_set(model, examples, split.images, 16, model)
    assert 0 < live["fooled"] < 32 or name == "cw"
    for cost in ("seconds", "forwards", "backwards"):
        live.pop(cost), stored.pop(cost)
    assert live == stored
    spent = live_arrays.pop("passes")  # A set does not say what it cost.
    assert (spent > 0).sum() >= live["fooled"]
    assert live_arrays.keys() == stored_arrays.keys()
    for key, values in live_arrays.items():
        np.testing.assert_array_equal(values, stored_arrays[key])


def test_an_attack_leaves_the_true_label(model, split):
    """An image that is wrong beforehand is not fooled, nor counted as correct."""
    fields, arrays = evaluation.under_attack(
        model, make_attack("fgsm", eps=0.0), split, batch_size=16
    )
    assert (fields["clean_correct"], fields["correct"], fields["fooled"]) == (32, 32, 0)
    np.testing.assert_array_equal(arrays["ok"], arrays["clean_ok"])
    assert fields["forwards"] == fields["backwards"] == 1


def test_another_model_is_judged_on_its_own_clean_images(model, split):
    """Transfer: correct is what the *target* gets right clean and attacked."""
    keras.utils.set_random_seed(9)
    other = keras.models.clone_model(model)
    examples = craft(
        model,
        make_attack("fgsm", eps=0.05),
        split.images,
        split.labels,
        split.index,
        batch_size=16,
    )
    fields, _ = evaluation.on_set(other, examples, split.images, 16)
    clean = logits(other, split.images).argmax(1) == split.labels
    after = logits(other, examples["image"]).argmax(1) == split.labels
    assert fields["clean_correct"] == clean.sum()
    assert fields["correct"] == (clean & after).sum()
    assert fields["mean_l2"] == pytest.approx(examples["l2"][clean & ~after].mean())


# === Signs ===


def test_untrained_models_are_told_by_their_biases(model):
    assert signs.is_untrained(model)
    assert not signs.is_untrained(lambda images: images)
    bare = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Flatten()])
    assert not signs.is_untrained(bare)  # There is nothing to tell it by.
    trained = keras.models.clone_model(model)
    trained.layers[-1].bias.assign([0, 0, 0, 1e-6])
    assert not signs.is_untrained(trained)


def test_signs_of_examples_by_hand(model, split):
    draw = np.random.default_rng(1)
    image = np.clip(as_float(split.images) + draw.normal(0, 0.1, (40, 6, 6, 3)), 0, 1)
    image = image.astype(np.float32)
    clean, after = (logits(model, each) for each in (split.images, image))
    examples = {
        "image": image,
        "label": split.labels,
        "clean_prediction": clean.argmax(1),
        "prediction": after.argmax(1),
    }
    found = signs.of_examples(model, model, examples, split.images, 16)
    right = clean.argmax(1) == split.labels
    rounded = logits(model, np.rint(image * 255).astype(np.uint8)).argmax(1)

    def odds(each):
        own = each[np.arange(40), split.labels]
        others = np.exp(each).sum(1) - np.exp(own)
        return np.log(others) - own

    assert found == {
        "still_right": np.sum(after.argmax(1) == split.labels),
        "rounded": np.sum(right & (rounded == split.labels)),
        "raised": np.sum(right & (odds(after) > odds(clean))),
        "missed": 0,
    }
    assert 0 < found["raised"] < right.sum()


def test_examples_that_miss_the_model(model, split):
    """The stand-in is another network: counted is what fools it alone."""
    other = keras.models.clone_model(model)
    examples = craft(other, make_attack("fgsm", eps=0.2), split.images, split.labels)
    examples["clean_prediction"] = evaluation.classify(model, split.images)
    examples["prediction"] = evaluation.classify(model, examples["image"])
    found = signs.of_examples(model, other, examples, split.images, 16)
    right = examples["clean_prediction"] == split.labels
    kept = right & (examples["prediction"] == split.labels)
    fooled = evaluation.classify(other, examples["image"]) != split.labels
    assert found["missed"] == np.sum(kept & fooled) > 0


def test_which_part_of_a_sequence_fools(model, split):
    attack = make_attack("autoattack", eps=0.02, n_iter=3, n_queries=20)
    fields, arrays = evaluation.under_attack(model, attack, split, 40)
    found = fields["signs"]["fooled_by"]
    assert sum(found.values()) == fields["fooled"] > 0
    left = arrays["clean_ok"]
    for part in attack.parts(attack.hyper, 4):
        alone = evaluation.under_attack(model, part, split, 40)[1]
        assert found[part.name] == np.sum(left & ~alone["ok"]), part.name
        left = left & alone["ok"]
    assert found[next(iter(found))] > 0
