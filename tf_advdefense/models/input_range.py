"""Images in [0, 1] for models that were trained on others: [0, 255], [-1, 1], BGR.

    layer = layer_for((0, 255))               # None where nothing is to be done
    layer = layer_for("resnet50")             # as keras.applications.resnet50 does
    wanted, counts = find(is_right, number=256, channels=3)

A perturbation, its eps and its norm are always those of images in [0, 1].
"""

from collections.abc import Callable
import inspect
from typing import Any

import keras
import numpy as np

UNIT = (0.0, 1.0)
# What models are mostly trained on, in the order of preference; of those with three
# channels also what keras.applications does for its older weights.
RANGES = (UNIT, (0.0, 255.0), (-1.0, 1.0))
_COLOUR = ("resnet50", "densenet")
_SURELY = 1e-3  # The chance that equally good ranges differ by so much.
_FIRST = 64  # So many images show which ranges are far behind.

Wanted = tuple[float, float] | str


def preprocessings() -> list[str]:
    """The modules of keras.applications that have a `preprocess_input`."""
    return sorted(
        name
        for name, module in inspect.getmembers(keras.applications, inspect.ismodule)
        if hasattr(module, "preprocess_input")
    )


@keras.saving.register_keras_serializable("tf_advdefense")
class Preprocessing(keras.layers.Layer):
    """What a module of keras.applications does with images, here in [0, 1].

    Attributes:
      module: its name, such as "resnet50".
    """

    def __init__(self, module: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.module = module

    def call(self, images: Any) -> Any:
        return _function(self.module)(255.0 * images)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "module": self.module}


def _function(module: str) -> Callable:
    known = preprocessings()
    if module not in known:
        raise ValueError(
            "`preprocess` must name a module of keras.applications with a "
            f"`preprocess_input`. Received: preprocess={module}. Known: "
            f"{', '.join(known)}."
        )
    return getattr(keras.applications, module).preprocess_input


def layer_for(wanted: Wanted) -> keras.layers.Layer | None:
    """The layer from images in [0, 1] to those that a model takes.

    Args:
      wanted: their (low, high), or the name of a module of keras.applications.

    Raises:
      ValueError: an unknown name, or an empty range.
    """
    if isinstance(wanted, str):
        _function(wanted)
        return Preprocessing(wanted, name="preprocessing")
    low, high = wanted
    if not low < high:
        raise ValueError(
            f"`input_range` must be (low, high). Received: input_range={wanted}."
        )
    if wanted == UNIT:
        return None
    return keras.layers.Rescaling(high - low, low, name="input_range")


def as_user(images: np.ndarray, wanted: Wanted) -> np.ndarray:
    """Images in [0, 1] as somebody feeds them to the model as it is."""
    if isinstance(wanted, str):
        return np.asarray(_function(wanted)(255 * np.array(images)), np.float32)
    low, high = wanted
    return images * np.float32(high - low) + np.float32(low)


def text(wanted: Wanted) -> str:
    """How it is said: "images in [0, 255]"."""
    if isinstance(wanted, str):
        return f"images as keras.applications.{wanted}.preprocess_input gives them"
    return "images in [{:g}, {:g}]".format(*wanted)


def find(
    is_right: Callable[[Wanted, int], np.ndarray], number: int, channels: int
) -> tuple[Wanted, dict[Wanted, int]]:
    """The range in which a model classifies best, and what it got right in each.

    They are tried in the order of preference, and another one is taken only where it is
    better than the one before beyond chance, by an exact McNemar test on the images
    that are right in one of the two alone. One that is worse beyond chance on the first
    images is not tried on the others, nor counted.

    Args:
      is_right: gives which of the first n images, bool `[n]`, are right in a range.
      number: how many images there are.
      channels: of the images.
    """
    best: Wanted = UNIT
    found = is_right(UNIT, number)
    counts = {UNIT: int(found.sum())}
    for wanted in (*RANGES[1:], *(_COLOUR if channels == 3 else ())):
        if _better(found[:_FIRST], is_right(wanted, min(_FIRST, number))):
            continue
        right = is_right(wanted, number)
        counts[wanted] = int(right.sum())
        if _better(right, found):
            best, found = wanted, right
    return best, counts


def _better(one: np.ndarray, other: np.ndarray) -> bool:
    from scipy import stats  # Takes a second to load.

    gained, lost = np.sum(one & ~other), np.sum(other & ~one)
    if gained <= lost:
        return False
    return bool(stats.binomtest(int(gained), int(gained + lost)).pvalue < _SURELY)
