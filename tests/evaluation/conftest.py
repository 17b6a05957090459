"""A data set of noise, for tests that need images of any kind."""

import numpy as np
import pytest

from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split


@pytest.fixture(scope="session")
def data():
    """Twenty images of 6x6 pixels and four classes, the same for every split."""
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3), np.uint8)
    split = Split(images, np.arange(20) % 4, np.arange(20))
    return Dataset("shapes", tuple("abcd"), "f" * 64, split, split, split)
