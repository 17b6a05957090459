"""Networks that come with the package, by the names of their weights.

model = pretrained("pgd_at", "small_resnet", (32, 32, 3), 10, {})
"""

from collections.abc import Sequence
import hashlib
import json
from typing import Any

import keras

from tf_advdefense import zoo


def pretrained(
    weights: str,
    name: str,
    image_shape: Sequence[int],
    num_classes: int,
    model_args: dict[str, Any],
) -> keras.Model:
    """A trained network of the zoo, from images in [0, 1] to float32 logits.

    Args:
      weights: its name in the zoo.
      name, image_shape, num_classes, model_args: what is asked for, which must be what
        it was built with; of its arguments none need be given.

    Raises:
      ValueError: in one line, for an unknown name, another architecture, or a damaged
        file.
    """
    directory = zoo.find(weights)
    config = json.loads((directory / "config.json").read_text())
    request = config["request"]
    built = {
        "model": request["model"],
        "image_shape": tuple(config["image_shape"]),
        "num_classes": len(config["class_names"]),
        **request["model_args"],
    }
    asked = {
        "model": name,
        "image_shape": tuple(image_shape),
        "num_classes": num_classes,
        **model_args,
    }
    for key, value in asked.items():
        if built.get(key) != value:
            raise ValueError(
                f"`weights={weights}` are of {key}={built.get(key, 'its default')}. "
                f"Received: {key}={value}. Leave it out, or train a network of it."
            )
    file = directory / "model.keras"
    if hashlib.sha256(file.read_bytes()).hexdigest() != config["model_file_sha256"]:
        raise ValueError(
            f"The file of `weights={weights}` must be the one that the package came "
            f"with. Received: {file} of other content. Install the package again."
        )
    return keras.models.load_model(file, compile=False, safe_mode=True)
