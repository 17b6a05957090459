"""Images of one's own: every form in which people hold them is the same data set."""

import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.datasets.arrays import from_arrays
from tf_advdefense.images import as_float

GREY = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), np.uint8)
GREY[0, 0, 0], GREY[0, 0, 1] = 0, 255
LABELS = np.array([0, 2, 1, 0, 2, 1])
UNIT = as_float(GREY)


def pairs(batch=None):
    dataset = tf.data.Dataset.from_tensor_slices((GREY, LABELS))
    return dataset.batch(batch) if batch else dataset


FORMS = {
    "uint8": (GREY, LABELS),
    "int64": (GREY.astype(np.int64), LABELS),
    "float in [0, 1]": (UNIT, LABELS),
    "float in [0, 255]": (GREY.astype(np.float64), LABELS),
    "float in [-1, 1]": (2 * UNIT - 1, LABELS),
    "one-hot": (GREY, np.eye(3)[LABELS]),
    "a column": (GREY, LABELS[:, np.newaxis]),
    "whole floats": (GREY, LABELS.astype(np.float32)),
    "dataset": (pairs(), None),
    "batches": (pairs(4), None),
    "weighted": (pairs(4).map(lambda x, y: (x, y, y)), None),
}


@pytest.mark.quick
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_data(form):
    data = from_arrays(*FORMS[form])
    np.testing.assert_allclose(as_float(data.test.images), UNIT, atol=1e-6)
    np.testing.assert_array_equal(data.test.labels, LABELS)
    assert data.class_names == ("0", "1", "2") and data.image_shape == (5, 4, 3)
    assert not len(data.train) and not len(data.validation)
    if data.test.images.dtype == np.uint8:
        assert data.fingerprint == from_arrays(GREY, LABELS).fingerprint


@pytest.mark.quick
def test_grey_images_and_more_classes():
    data = from_arrays(GREY[..., 0], LABELS, num_classes=7, name="mine")
    assert data.image_shape == (5, 4, 1) and data.num_classes == 7
    assert data.name == "mine"
    named = from_arrays(GREY, LABELS, class_names=("a", "b", "c"))
    assert named.class_names == ("a", "b", "c")
    assert named.fingerprint != from_arrays(GREY, LABELS).fingerprint


@pytest.mark.quick
@pytest.mark.parametrize(
    "images, labels, expected",
    [
        (UNIT - 7, LABELS, "must lie in .* Received: values from -7 to -6"),
        (np.full_like(UNIT, np.nan), LABELS, "must be finite"),
        (GREY[0], LABELS, "6 images|5 images and 6 labels"),
        (GREY[0, 0], LABELS, r"of shape \(4, 3\)"),
        (GREY, LABELS[:4], "6 images and 4 labels"),
        (GREY[:0], LABELS[:0], "not none"),
        (GREY, LABELS - 1, "classes from 0 to 1. Received: -1 to 1"),
        (GREY, LABELS + 0.5, "must be classes"),
        (GREY, np.array(list("abcabc")), "must be classes"),
        (pairs().map(lambda x, y: {"image": x}), None, "`map` it to pairs"),
        (pairs().take(0), None, "an empty one"),
    ],
)
def test_what_is_no_data_is_refused_in_one_line(images, labels, expected):
    with pytest.raises(ValueError, match=expected) as error:
        from_arrays(images, labels)
    assert "\n" not in str(error.value)
