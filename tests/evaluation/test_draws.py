"""Random models over draws of their own, against drawing by hand."""

import keras
import numpy as np
import pytest

from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.model_fn import Redrawn
from tf_advdefense.defenses.transforms import parse_transforms
from tf_advdefense.defenses.transforms import with_transforms
from tf_advdefense.defenses.transforms.transform import image_keys
from tf_advdefense.evaluation import signs
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.evaluation.statistics import wilson_of_shares

SHAPE = (8, 8, 3)
IMAGES = np.random.default_rng(0).random((12, *SHAPE), np.float32)


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(4)]
    )


@pytest.fixture(scope="module")
def random_model(classifier):
    transforms = parse_transforms("crop_rescale:fraction=0.5,draws=1")
    return with_transforms(classifier, transforms)


def drawn(classifier, number):
    """Logits under one draw, by the transformation itself."""
    (transform,) = parse_transforms("crop_rescale:fraction=0.5,draws=1")
    keys = row_keys(0, row_keys(number, image_keys(IMAGES)))
    return classifier(transform(IMAGES, keys)).numpy()


def test_each_draw_is_another_seeds(classifier, random_model):
    redrawn = Redrawn(random_model)
    found = [redrawn.draw(n)(IMAGES).numpy() for n in (1, 2, 1)]
    np.testing.assert_allclose(found[0], drawn(classifier, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], drawn(classifier, 2), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[0], found[2])
    assert np.abs(found[0] - found[1]).max(axis=1).all()


def test_the_share_of_draws_on_which_both_copies_are_right(classifier, random_model):
    label = np.argmax(classifier(IMAGES), axis=1)
    examples = {"label": label, "image": IMAGES}
    found = signs.over_draws(random_model, examples, IMAGES, batch_size=8)
    right = np.mean(
        [drawn(classifier, n).argmax(1) == label for n in range(1, 11)], axis=0
    )
    assert 0 < right.mean() < 1 and found["draws"] == 10
    assert found["right_share"] == pytest.approx(right.mean())
    assert found["right_interval"] == pytest.approx(wilson_of_shares(right))
    assert signs.over_draws(classifier, examples, IMAGES, batch_size=8) == {}


@pytest.mark.quick
def test_the_interval_of_shares_is_wilsons_where_they_are_whole():
    for correct, total in ((0, 7), (3, 7), (7, 7), (81, 263)):
        shares = np.arange(total) < correct
        assert wilson_of_shares(shares) == pytest.approx(wilson(correct, total))
    assert wilson_of_shares([]) == (0, 1)
