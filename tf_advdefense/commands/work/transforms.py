"""The layers that --transforms names, and a model behind them."""

from collections.abc import Callable
from typing import Any

from absl.flags import FlagValues
import keras
import numpy as np

from tf_advdefense.defenses import transforms


def names(flags: FlagValues) -> list[str]:
    """The names of --transforms, in order."""
    described = _described(flags).split(",")
    return [part.partition(":")[0] for part in described if ":" in part]


def behind(
    flags: FlagValues, model: keras.Model, train_images: Callable[[], np.ndarray]
) -> keras.Model:
    """The model behind the layers of --transforms.

    Args:
      flags: with `transforms`, `eot_draws` and perhaps `seed`.
      model: from images in [0, 1] to logits.
      train_images: gives the training images, uint8 `[n, height, width, channels]`;
        called only if a transformation needs them.
    """
    layers = transforms.parse_transforms(flags.transforms)
    for layer in layers:
        if not layer.adapted:
            layer.adapt(train_images(), flags.seed if "seed" in flags else 0)
    return transforms.with_transforms(model, layers, eot_draws=flags.eot_draws)


def request(flags: FlagValues) -> dict[str, Any]:
    """What a run's request says of them: nothing without, as older requests do."""
    if not flags.transforms:
        return {}
    return {"transforms": _described(flags), "eot_draws": flags.eot_draws}


def _described(flags: FlagValues) -> str:
    """--transforms with every parameter."""
    return transforms.describe(transforms.parse_transforms(flags.transforms))
