"""Noise against closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.black_box.noise import noise
from tf_advdefense.attacks.core.craft import craft


def brighter_is_wrong(level):
    mean = lambda x: tf.reduce_mean(x, axis=(1, 2, 3))
    return lambda x: tf.stack([0 * mean(x) + level, mean(x)], axis=1)


def test_more_draws_are_worse_and_end_with_the_first_that_fools():
    images = np.full((50, 4, 4, 1), 0.5, np.float32)
    labels = np.zeros(50, int)
    never, sometimes = brighter_is_wrong(2.0), brighter_is_wrong(0.6)
    means = [
        np.mean(noise(never, images, labels, n_draws=n), axis=(1, 2, 3))
        for n in (1, 5, 25)
    ]
    assert np.all(means[0] <= means[1]) and np.all(means[1] <= means[2])
    assert np.mean(means[2] > means[0]) > 0.8
    attack = make_attack("noise", n_draws=40)
    found = craft(sometimes, attack, images, labels, batch_size=50)
    fooled = found["prediction"] == 1
    assert attack.cost((4, 4, 1), 2) == (40, 0) and fooled.sum() > 10
    assert np.all(found["forwards"][~fooled] == 40)
    assert np.median(found["forwards"][fooled]) < 40


@pytest.mark.quick
def test_one_draw_is_noise_whatever_the_model_says():
    images = np.full((3, 8, 8, 3), 0.5, np.float32)
    adv = noise(brighter_is_wrong(0.0), images, np.zeros(3, int)).numpy()
    assert np.all(np.std(adv, axis=(1, 2, 3)) > 0.15)
    assert np.all(np.abs(adv - images) <= 0.3 + 1e-6)
