"""Models as attacks see them: one function for each model, which lives as long."""

import gc
import weakref

import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.attacks.core.model_fn import predict
from tf_advdefense.attacks.core.model_fn import served

pytestmark = pytest.mark.quick


def test_a_model_has_one_function_whoever_asks():
    model = small_models.network()
    assert inference(model) is inference(model) is served(model)
    assert inference(inference(model)) is inference(model)
    assert inference([model, model]) is inference((model, model))


def test_batchnorm_and_dropout_are_at_inference():
    model, images = small_models.deeper_network(), small_models.random_images(4)
    expected = model(images, training=False)
    np.testing.assert_array_equal(inference(model)(images), expected)
    assert np.any(model(images, training=True) != expected)
    np.testing.assert_array_equal(
        predict(inference(model), images), np.argmax(expected, axis=1)
    )


def test_logits_of_any_floating_kind_become_float32():
    model, images = small_models.network(), small_models.random_images(4)
    for kind in ("float16", "bfloat16", "float64"):
        function = inference(lambda x, kind=kind: tf.cast(model(x), kind))
        assert function(images).dtype == tf.float32


def test_a_model_whose_name_is_dropped_keeps_working():
    images = small_models.random_images(4)
    function = inference(small_models.network())
    gc.collect()
    expected = small_models.network()(images)
    np.testing.assert_allclose(function(images), expected, atol=1e-6)


def plain_function():
    weights = np.eye(192, 4, dtype=np.float32)
    return lambda x: tf.reshape(x, [-1, 192]) @ weights


@pytest.mark.parametrize("build", [small_models.network, plain_function])
def test_a_model_that_nobody_holds_is_freed(build):
    model = build()
    inference(model)(small_models.random_images(4))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_model_that_was_attacked_is_freed_with_its_trace():
    model = small_models.network()
    make_attack("fgsm")(model, small_models.random_images(4))
    gone = weakref.ref(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert gone() is None
