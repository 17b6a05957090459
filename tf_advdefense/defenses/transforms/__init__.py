"""Input transformations as Keras layers inside the model, and attacks adapted to them.

    transforms = parse_transforms("jpeg:quality=75,bit_depth:bits=3")
    model = with_transforms(classifier, transforms)     # images -> logits, trainable

Parameters that are not given have their published values. To add a transformation,
write its layer in a file here (see `transform`) and add a line to `TRANSFORMS`.
"""

import ast

from tf_advdefense.attacks.core.contract import nearest
from tf_advdefense.defenses.transforms.bit_depth import BitDepth
from tf_advdefense.defenses.transforms.crop_rescale import CropRescale
from tf_advdefense.defenses.transforms.jpeg import Jpeg
from tf_advdefense.defenses.transforms.quilting import Quilting
from tf_advdefense.defenses.transforms.total_variance import TotalVariance
from tf_advdefense.defenses.transforms.transform import Transform
from tf_advdefense.defenses.transforms.transform import check_parameters
from tf_advdefense.defenses.transforms.transform import parameters
from tf_advdefense.defenses.transforms.transformed import Transformed
from tf_advdefense.defenses.transforms.transformed import transforms_of
from tf_advdefense.defenses.transforms.transformed import with_transforms
from tf_advdefense.defenses.transforms.transformed import without_transforms

TRANSFORMS = {
    "bit_depth": BitDepth,
    "jpeg": Jpeg,
    "crop_rescale": CropRescale,
    "tv": TotalVariance,
    "quilting": Quilting,
}


def parse_transforms(text):
    """The layers of `jpeg:quality=75,tv:weight=0.03,keep=0.5`, the first applied first.

    A parameter belongs to the transformation before it; of the second and the next
    ones the name may be left out.

    Raises:
      ValueError: in one line, for an unknown transformation or parameter, or a value
        that it cannot take.
    """
    chosen = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, pair = part.partition(":")
        if not separator and "=" in part and chosen:
            pair = part
        else:
            chosen.append((_known(name), {}))
        if pair or separator:
            key, value = _pair(pair)
            chosen[-1][1][key] = value
    for name, values in chosen:
        check_parameters(name, TRANSFORMS[name], values)
    return [TRANSFORMS[name](**values) for name, values in chosen]


def describe(transforms):
    """The text that `parse_transforms` makes the same layers of, nothing left out."""
    names = {transform: name for name, transform in TRANSFORMS.items()}
    return ",".join(
        f"{names[type(each)]}:"
        + ",".join(f"{key}={value}" for key, value in each.parameters.items())
        for each in transforms
    )


def _known(name):
    if name not in TRANSFORMS:
        raise ValueError(
            f"Unknown transformation {name!r}. {nearest(name, TRANSFORMS)}"
            f"Known: {', '.join(TRANSFORMS)}."
        )
    return name


def _pair(text):
    key, separator, value = text.partition("=")
    if not separator:
        raise ValueError(
            "A transformation takes NAME:parameter=value,parameter=value. "
            f"Received: {text!r}."
        )
    try:
        return key.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return key.strip(), value  # which `check_parameters` refuses by name
