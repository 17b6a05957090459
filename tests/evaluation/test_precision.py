"""Measurements are in float32 in full, where a GPU would round its products to less."""

import keras
import pytest
import tensorflow as tf

from tf_advdefense import attacks
from tf_advdefense import distribution
from tf_advdefense.evaluation import diagnostics
from tf_advdefense.evaluation.crafted_sets import make_set
from tf_advdefense.evaluation.survey import survey
from tf_advdefense.evaluation.survey import take_share

SHAPE = (6, 6, 3)
rounded = tf.config.experimental.tensor_float_32_execution_enabled
FGSM = attacks.make_attack("fgsm")


class Watched(keras.layers.Flatten):
    """Notes whether products were rounded each time that it is called."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def call(self, inputs):
        self.seen.add(rounded())
        return super().call(inputs)


def check(model, data, directory):
    diagnostics.check_classifier(model, data, "mine")


def craft(model, data, directory):
    make_set(model, FGSM, data, output_dir=directory, say=lambda _: None)


def compare(model, data, directory):
    survey({"mine": model}, data, [("8/255", FGSM)], store=directory)


def share(model, data, directory):
    take_share((0, 1), {"mine": model}, data, [("8/255", FGSM)], store=directory)


@pytest.mark.parametrize("door", [check, craft, compare, share])
def test_whatever_measures_has_all_of_float32(door, data, tmp_path):
    watched = Watched()
    model = keras.Sequential([keras.Input(SHAPE), watched, keras.layers.Dense(4)])
    watched.seen.clear()
    assert rounded()
    door(model, data, tmp_path)
    assert watched.seen == {False}
    assert rounded()


@pytest.mark.parametrize("before", [True, False])
def test_what_was_set_before_is_set_again(before):
    tf.config.experimental.enable_tensor_float_32_execution(before)
    try:
        with pytest.raises(KeyError), distribution.full_float32():
            assert not rounded()
            raise KeyError
        assert rounded() == before
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)
