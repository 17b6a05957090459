"""The budget of commands against a model whose nearest fooling image is known."""

import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.evaluation.attack_facts import within_budget


def brightness(images):
    """Class 1 where 16 pixels add up to more than 2: from black, 0.5 away in L2."""
    light = tf.reduce_sum(images, [1, 2, 3]) - 2
    return tf.stack([tf.zeros_like(light), light], 1)


@pytest.mark.quick
def test_cw_leaves_black_pixels_within_its_budget():
    black = np.zeros((3, 4, 4, 1), np.uint8)
    attack = within_budget(make_attack("cw"), black)
    distance = np.linalg.norm(attack(brightness, black / np.float32(255))[0])
    np.testing.assert_allclose(distance, 0.5, rtol=0.02)
    # Its defaults, in as few steps, do not get away from the bound at all.
    fewer = make_attack("cw", max_iterations=attack.hyper.max_iterations)
    assert not np.any(fewer(brightness, black / np.float32(255)))


@pytest.mark.quick
def test_the_budget_is_of_most_pixels():
    cw, grey = make_attack("cw"), np.full((2, 4, 4, 1), 100, np.uint8)
    half = np.concatenate([grey, 0 * grey])
    assert within_budget(cw, half).hyper == cw.hyper._replace(max_iterations=200)
    assert within_budget(cw, half[1:]).hyper.learning_rate == 0.1
    fgsm = make_attack("fgsm")
    assert within_budget(fgsm, 0 * grey).hyper == fgsm.hyper
