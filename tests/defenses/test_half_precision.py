"""A model of half precision crafts in float32 while it is trained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.defenses import DEFENSES
from tf_advdefense.defenses import make_defense
from tf_advdefense.defenses import needed_parts
from tf_advdefense.defenses.crafting import against_current

SHAPE = (6, 6, 3)


def confident(policy):
    """Logits so far apart that their gradient is none in float16."""
    keras.utils.set_random_seed(2)
    keras.config.set_dtype_policy(policy)
    try:
        return keras.Sequential(
            [
                keras.Input(SHAPE),
                keras.layers.Flatten(),
                keras.layers.BatchNormalization(),
                keras.layers.Rescaling(1e-6),
                keras.layers.Dense(8, activation="tanh"),
                keras.layers.Dense(4),
                keras.layers.Activation("linear", dtype="float32"),
            ]
        )
    finally:
        keras.config.set_dtype_policy("float32")


def some_batch():
    images = np.random.default_rng(0).random((8, *SHAPE), np.float32)
    labels = tf.constant([0, 1, 2, 3] * 2, "int64")
    return {"image": tf.constant(images), "label": labels}


@pytest.mark.parametrize("craft_bn", ["inference", "training"])
def test_what_is_crafted_is_that_of_float32(craft_bn):
    narrow, wide = confident("mixed_float16"), confident("float32")
    wide.set_weights(narrow.get_weights())
    batch = some_batch()
    attack = make_attack("pgd", nb_iter=3)
    found, expected = (
        against_current(model, batch, attack, craft_bn=craft_bn)["adv_image"]
        for model in (narrow, wide)
    )
    np.testing.assert_array_equal(found, expected)
    assert np.all(found != batch["image"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name, entry in DEFENSES.items() if entry.craft is not None]
)
def test_every_defence_crafts_in_float32(name):
    narrow, wide = confident("mixed_float16"), confident("float32")
    wide.set_weights(narrow.get_weights())
    quick = dict(nb_iter_linf=1, nb_iter_l2=1, nb_iter_l1=1)
    hyper, found = quick if name == "multi_norm" else {}, []
    for model in (narrow, wide):
        # Of a student the teacher, too.
        parts = {"teacher": model, "sources": [model]}
        needed = {part: parts[part] for part in needed_parts(name)}
        defense = make_defense(name, parts=needed, **hyper)
        found.append(defense.craft(model, some_batch()))
    for key, value in found[1].items():
        np.testing.assert_array_equal(found[0][key], value)
