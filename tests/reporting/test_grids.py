"""Image grids."""

import numpy as np
import pytest
from reporting.synthetic import synthetic_example

from tf_advdefense.reporting import grids


@pytest.mark.parametrize(
    "largest, factor", [(0.0, 1), (0.8, 1), (0.3, 1), (0.07, 5), (0.01, 50), (0.05, 10)]
)
def test_magnification_fills_the_range_without_clipping(largest, factor):
    assert grids.magnification(np.array([0.0, -largest])) == factor


def test_difference_is_signed_around_mid_grey(monkeypatch):
    drawn = []
    monkeypatch.setattr(grids, "_draw", lambda axes, image, _: drawn.append(image))
    example = synthetic_example(n=1)
    example["adversarial"] = example["clean"].copy()
    example["adversarial"][0, 0, 0, 0] += 0.1
    example["adversarial"][0, 1, 1, 1] -= 0.05
    grids.image_grid(example)
    clean, adversarial, difference = drawn
    np.testing.assert_array_equal(clean, example["clean"][0])
    np.testing.assert_allclose(adversarial, example["adversarial"][0], atol=1e-6)
    assert difference[0, 0, 0] == pytest.approx(1.0, abs=1e-5)
    assert difference[1, 1, 1] == pytest.approx(0.25, abs=1e-5)
    assert difference[2, 2, 2] == 0.5


def test_grids_of_grey_images_without_class_names():
    example = synthetic_example(channels=1)
    del example["class_names"]
    assert grids.image_grid(example).startswith(b"<svg")
