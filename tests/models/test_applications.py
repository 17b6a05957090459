"""Heads of keras.applications, as they come: a softmax, and images of their own range.

The first two are tried always; `pytest -m real tests/models/test_applications.py` tries
twenty, which takes minutes.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.models.foreign import adapt

QUICK = ("MobileNet", "MobileNetV2")
OTHERS = (
    *("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet50V2", "ResNet101V2"),
    *("DenseNet121", "DenseNet169", "MobileNetV3Small", "MobileNetV3Large"),
    *("EfficientNetB0", "EfficientNetB1", "EfficientNetV2B0", "EfficientNetV2B1"),
    *("NASNetMobile", "ConvNeXtTiny", "Xception", "InceptionV3"),
)
LARGER = {"Xception": 71, "InceptionV3": 75}


def spread(model, pixels):
    """Without training all classes are equally likely, to the last digit: no more."""
    logits = np.asarray(inference(model)(tf.constant(pixels)))
    head = next(each for each in reversed(model.layers) if hasattr(each, "kernel"))
    head.kernel.assign(head.kernel / logits.std(axis=0).mean())
    head.bias.assign(-logits.mean(axis=0) / logits.std(axis=0).mean())


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.real) for name in OTHERS)]
)
def test_a_head_is_adapted_and_predicts_the_same(name):
    keras.utils.set_random_seed(0)
    side = LARGER.get(name, 32)
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(side, side, 3), classes=7)
    images = np.random.default_rng(0).random((6, side, side, 3), np.float32)
    spread(model, 255 * images)
    adapted = adapt(model, images, np.zeros(6, int), input_range=(0, 255))
    assert adapted.notes[0] == "its softmax was removed" and not adapted.warnings
    expected = np.asarray(model(255 * images, training=False))
    found = inference(adapted.model)(tf.constant(images))
    np.testing.assert_array_equal(np.argmax(found, 1), np.argmax(expected, 1))
    np.testing.assert_allclose(tf.nn.softmax(found), expected, rtol=1e-3, atol=1e-6)
