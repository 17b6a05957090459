"""Transformations as text, `jpeg:quality=75,bit_depth:bits=3`, and the other way."""

import ast
from collections.abc import Sequence

from tf_advdefense.defenses.transforms.registry import TRANSFORMS
from tf_advdefense.defenses.transforms.transform import Transform
from tf_advdefense.defenses.transforms.transform import check_parameters


def parse_transforms(text: str) -> list[Transform]:
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
            TRANSFORMS.check(name)
            chosen.append((name, {}))
        if pair or separator:
            key, value = _pair(pair)
            chosen[-1][1][key] = value
    for name, values in chosen:
        check_parameters(name, TRANSFORMS[name], values)
    return [TRANSFORMS[name](**values) for name, values in chosen]


def describe(transforms: Sequence[Transform]) -> str:
    """The text that `parse_transforms` makes the same layers of, nothing left out."""
    return ",".join(
        f"{name}:"
        + ",".join(f"{key}={value}" for key, value in each.parameters.items())
        for name, each in zip(names(transforms), transforms)
    )


def names(transforms: Sequence[Transform]) -> list[str]:
    """The layers' names in `TRANSFORMS`."""
    known = {transform: name for name, transform in TRANSFORMS.items()}
    return [known[type(each)] for each in transforms]


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
