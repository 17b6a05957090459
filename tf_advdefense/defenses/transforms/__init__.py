"""Input transformations as Keras layers inside the model, and attacks adapted to them.

    transforms = parse_transforms("jpeg:quality=75,bit_depth:bits=3")
    model = with_transforms(classifier, transforms)     # images -> logits, trainable

Parameters that are not given have their published values. To add a transformation,
write its layer in a file here (see `transform`) and add a line to
`registry.TRANSFORMS`. All but the names loads TensorFlow when it is first used; Keras
reads files of models with these layers once `layers` is imported.
"""

import importlib
from typing import Any

from tf_advdefense.defenses.transforms.registry import TRANSFORMS

_MODULES = {
    "Transform": "transform",
    "parameters": "transform",
    "Transformed": "transformed",
    "transforms_of": "transformed",
    "with_transforms": "transformed",
    "without_transforms": "transformed",
    "parse_transforms": "specification",
    "describe": "specification",
    "names": "specification",
}
__all__ = ["TRANSFORMS", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    importlib.import_module(f"{__name__}.layers")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
