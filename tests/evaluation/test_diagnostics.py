"""Diagnostics: what is refused and why, and which flags planted faults raise."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense import attacks
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts import saved_model
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.evaluation import diagnostics

SHAPE = (6, 6, 3)


@pytest.fixture(scope="module")
def data():
    images = np.random.default_rng(0).integers(0, 256, (20, *SHAPE), np.uint8)
    split = Split(images, np.arange(20) % 4, np.arange(20))
    return Dataset("shapes", tuple("abcd"), "f" * 64, split, split, split)


def model(*layers, shape=SHAPE, classes=4):
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input(shape),
            *layers,
            keras.layers.Flatten(),
            keras.layers.Dense(classes, name="logits"),
        ]
    )


class Training(keras.layers.BatchNormalization):
    """BatchNorm that never leaves training mode, as the paper's did."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


class Rounding(keras.layers.Layer):
    def call(self, inputs):
        return tf.round(inputs * 255) / 255


def refusal(classifier, data):
    with pytest.raises(ValueError) as error:
        diagnostics.check_classifier(classifier, data, "mine")
    text = str(error.value)
    assert "\n" not in text and "mine" in text
    return text


# === Classifiers ===


def test_good_classifiers_pass(data, tmp_path):
    good = model(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5))
    diagnostics.check_classifier(good, data, "mine")
    saved_model.export_saved_model(good, tmp_path / "saved")
    diagnostics.check_classifier(runs.load_model(tmp_path / "saved"), data, "mine")


def test_any_image_size_is_taken(data):
    images = keras.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(images)
    flexible = keras.Model(images, keras.layers.Dense(4)(pooled))
    diagnostics.check_classifier(flexible, data, "mine")


@pytest.mark.parametrize("shape", [(8, 8, 3), (6, 6, 1), (108,)])
def test_another_image_shape(data, shape):
    text = refusal(model(shape=shape), data)
    assert str(list(shape)) in text and str(list(SHAPE)) in text
    assert "`image_size`" in text


def test_another_class_count(data):
    text = refusal(model(classes=7), data)
    assert "[8, 7]" in text and "4 classes" in text and "`dataset`" in text


def test_outputs_that_are_no_row_of_logits(data):
    assert "one logit per class" in refusal(
        keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(4, 3)]), data
    )


def test_probabilities(data):
    softmax = keras.layers.Lambda(tf.nn.softmax)  # that shows nowhere
    probabilities = keras.Sequential([model(), softmax])
    text = refusal(probabilities, data)
    assert "must return logits" in text and "softmax" in text


def test_logits_that_only_look_like_probabilities_pass(data):
    """Non-negative alone, or of sum one alone, is no sign of a softmax."""
    diagnostics.check_classifier(
        keras.Sequential([model(), keras.layers.ReLU()]), data, "mine"
    )
    centred = keras.layers.Lambda(
        lambda z: z - tf.reduce_mean(z, 1, keepdims=True) + 0.25
    )
    diagnostics.check_classifier(keras.Sequential([model(), centred]), data, "mine")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite(data, value):
    broken = model()
    broken.get_layer("logits").bias.assign([0, 0, value, 0])
    assert "finite" in refusal(broken, data)


def test_batch_norm_in_training_mode(data):
    text = refusal(model(Training()), data)
    assert "depend on its batch" in text and "BatchNorm in training mode" in text


def test_random_logits(data):
    noisy = keras.layers.Lambda(lambda x: x + tf.random.uniform(tf.shape(x)))
    assert "randomness" in refusal(model(noisy), data)


@pytest.mark.parametrize("saved", [False, True])
def test_a_model_that_cuts_gradients_is_one_line_when_attacked(data, tmp_path, saved):
    rounding = model(Rounding())
    if saved:
        saved_model.export_saved_model(rounding, tmp_path / "saved")
        rounding = runs.load_model(tmp_path / "saved")
    diagnostics.check_classifier(rounding, data, "mine")  # It can be scored.
    with pytest.raises(ValueError, match="gradient .* Received: none") as error:
        attacks.make_attack("fgsm")(rounding, data.test.images[:4] / np.float32(255))
    assert "\n" not in str(error.value)


# === Red flags ===


def measured(
    target="a",
    attack="fgsm",
    eps=8 / 255,
    ok=(0, 0, 0, 1),
    source=None,
    goal="fixed-eps",
    clean_ok=(1, 1, 1, 1),
    params=(),
):
    """A record and its arrays; white-box unless it has another source."""
    ok, clean_ok = np.array(ok, bool), np.array(clean_ok, bool)
    record = {
        "key": f"{target}-{attack}-{eps}-{source}",
        "target": target,
        "attack": attack,
        "source": source or target,
        "setting": "transfer" if source else "white-box",
        "goal": goal,
        "eps": eps,
        "eps_text": str(eps),
        "num_examples": len(ok),
        "clean_correct": int(clean_ok.sum()),
        "correct": int(ok.sum()),
        "accuracy": float(ok.mean()),
        "fooled": int((clean_ok & ~ok).sum()),
        "params": dict(params),
    }
    arrays = {
        "index": np.arange(len(ok), dtype=np.int32),
        "ok": ok,
        "clean_ok": clean_ok,
    }
    return record, {f"{record['key']}/{name}": a for name, a in arrays.items()}


def flags(*measurements):
    records, arrays = zip(*measurements)
    merged = {name: a for part in arrays for name, a in part.items()}
    found = diagnostics.red_flags(
        {"records": list(records), "dataset": {"class_names": ["cat", "dog"]}}, merged
    )
    assert all(set(flag) == {"flag", "where", "detail"} for flag in found)
    return [(flag["flag"], flag["where"]) for flag in found]


CW = {"attack": "cw", "eps": None, "goal": "minimal-norm"}


def test_a_sound_evaluation_raises_no_flag():
    clean = measured(attack="clean", eps=None, ok=[1] * 8, clean_ok=[1] * 8, goal=None)
    assert (
        flags(
            clean,
            measured(eps=0.01, ok=[1, 1, 1, 0]),
            measured(eps=0.1, ok=[0, 0, 1, 0]),
            measured(source="b", eps=0.1, ok=[0, 1, 1, 0]),
            measured(**CW, ok=[0] * 4),
            measured(source="b", **CW, ok=[1] * 4),
        )
        == []
    )


@pytest.mark.parametrize(
    "right, flagged", [(40, True), (50, True), (58, True), (62, False), (100, False)]
)
def test_clean_accuracy_at_chance(right, flagged):
    ok = [1] * right + [0] * (100 - right)  # of two classes
    clean = measured(attack="clean", eps=None, ok=ok, clean_ok=ok, goal=None)
    assert flags(clean) == ([("accuracy at chance", "a")] if flagged else [])


@pytest.mark.parametrize("attack", ["cw", "hop_skip_jump"])
def test_an_unbounded_attack_that_fails(attack):
    """It is what the attack is after that counts, not what it sees of the model."""
    measurement = measured(**{**CW, "attack": attack}, ok=[0, 0, 1, 0])
    assert flags(measurement) == [("unbounded attack fails", f"{attack} on a")]


@pytest.mark.parametrize(
    "attack, params, bounded",
    [
        ("jsma", {"gamma": 0.1}, True),
        ("jsma", {"gamma": 1.0}, False),
        ("minimal_eps", {"max_eps": 0.1}, True),
        ("minimal_eps", {"max_eps": None}, False),
    ],
)
def test_a_bounded_attack_may_fail(attack, params, bounded):
    measurement = measured(**{**CW, "attack": attack}, params=params, ok=[0, 0, 1, 0])
    assert len(flags(measurement)) == (not bounded)


def test_an_attack_without_effect():
    assert flags(measured(ok=[1, 1, 1, 0], clean_ok=[1, 1, 1, 0])) == [
        ("attack without effect", "fgsm on a")
    ]
    assert flags(measured(eps=0.0, ok=[1, 1, 1, 1])) == []
    assert flags(measured(source="b", ok=[1, 1, 1, 1])) == []


def test_accuracy_that_grows_with_eps():
    rising = [measured(eps=0.1, ok=[1, 1, 0, 0]), measured(eps=0.01, ok=[1, 0, 0, 0])]
    assert flags(*rising) == [("accuracy grows with eps", "fgsm of a on a")]
    other = measured(eps=0.1, ok=[1, 1, 0, 0], attack="pgd")
    assert flags(rising[1], other) == []  # Another attack is another series.


def test_a_rise_of_half_a_point_may_be_chance():
    low, high = ([1] * n + [0] * (400 - n) for n in (200, 202))
    assert (
        flags(
            measured(eps=0.01, ok=low, clean_ok=[1] * 400),
            measured(eps=0.1, ok=high, clean_ok=[1] * 400),
        )
        == []
    )


def test_transfer_that_beats_the_models_own_attack():
    own = measured(ok=[1] * 50 + [0] * 50, clean_ok=[1] * 100)
    beaten = measured(source="b", ok=[0] * 50 + [1] * 50, clean_ok=[1] * 100)
    assert flags(own, beaten) == [("transfer beats white-box", "fgsm on a")]
    one = measured(source="b", ok=[0] + [1] * 49 + [0] * 50, clean_ok=[1] * 100)
    assert flags(own, one) == []  # One image in a hundred may be chance.
