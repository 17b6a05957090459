"""A model without a usable gradient is refused, and the layer at fault is named."""

import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack

SHAPE, CLASSES = (6, 6, 3), 4


def model_with(function):
    """A small network with `function` as its layer `suspect`."""
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, name="before"),
            keras.layers.Lambda(function, name="suspect"),
            keras.layers.Flatten(name="after"),
            keras.layers.Dense(CLASSES),
        ]
    )


def images():
    return small_models.random_images(5, shape=SHAPE)


@pytest.mark.parametrize(
    "function",
    [
        tf.round,
        tf.stop_gradient,
        lambda x: tf.cast(tf.cast(x * 255, tf.uint8), tf.float32),
        lambda x: tf.image.adjust_hue(x[..., :3], 0.1),
    ],
)
def test_the_layer_without_gradient_is_named(function):
    with pytest.raises(ValueError) as error:
        make_attack("pgd")(model_with(function), images())
    assert "none, because layer 'suspect' (Lambda) has none." in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x / (x - x),  # values are not finite
        lambda x: tf.sqrt(x - x) + x,
    ],
)  # values are, the gradient is not
def test_the_layer_with_an_infinite_gradient_is_named(function):
    with pytest.raises(ValueError) as error:
        make_attack("fgsm")(model_with(function), images())
    assert "which come from layer 'suspect' (Lambda)." in str(error.value)
    assert "\n" not in str(error.value)


def test_one_bad_image_suffices():
    bad = images()
    bad[3] = 0
    model = model_with(lambda x: x)
    model.get_layer("before").set_weights(
        [model.get_layer("before").get_weights()[0], np.zeros(4, np.float32)]
    )
    fragile = lambda x: tf.math.log(tf.abs(model(x)))
    make_attack("fgsm")(fragile, images())
    fragile = lambda x: tf.math.log(tf.abs(model(x)))  # not tried yet
    with pytest.raises(ValueError, match="must be finite"):
        make_attack("fgsm")(fragile, bad)


def test_every_member_of_a_joint_model_is_looked_at():
    good = model_with(lambda x: x)
    with pytest.raises(ValueError, match="layer 'suspect'"):
        make_attack("mim")([good, model_with(tf.round)], images())


def test_layers_without_a_name_do_not_hide_the_error():
    with pytest.raises(ValueError, match="Received: none. Attack the model"):
        make_attack("pgd")(lambda x: tf.round(tf.reduce_mean(x, [1, 2])), images())


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4], [0, 1, -1, 3, 2]])
def test_labels_that_are_no_classes(labels):
    with pytest.raises(ValueError, match="`y` must hold classes from 0 to 3. Rec"):
        make_attack("fgsm")(model_with(lambda x: x), images(), np.array(labels))
