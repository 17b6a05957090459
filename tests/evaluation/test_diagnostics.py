"""Diagnostics: which classifiers are refused, and why."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense import attacks
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts import saved_model
from tf_advdefense.evaluation import diagnostics

SHAPE = (6, 6, 3)


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
