"""The kinds of flags' values, and the groups that commands share.

    data = define_data(flags)
    data.value("attack_args", "", "nb_iter=40,norm=2.", parse=arguments)

A kind of value is a function from what was typed to the value, which raises ValueError
with the rule and what was received.
"""

import ast
import pathlib
from typing import Any

from absl.flags import FlagValues

from tf_advdefense.artifacts.files import named
from tf_advdefense.commands import names
from tf_advdefense.commands.group import Group
from tf_advdefense.radii import NORMS
from tf_advdefense.radii import number

# === Kinds of values ===


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = number(text)
    if not 0 <= value <= 1:
        raise ValueError(f"a number in [0, 1] is needed. Received: {text}")
    return value


def words(text: str) -> list[str]:
    """The parts between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def some_words(text: str) -> list[str]:
    """The same, at least one."""
    parts = words(text)
    if not parts:
        raise ValueError("a name is needed, or several between commas. Received: none")
    return parts


def name(text: str) -> str:
    """Of a directory that is made."""
    return named(pathlib.Path(), text).name


def radii(text: str) -> list[str]:
    """Numbers and fractions between commas, as they were typed: they name results."""
    typed = words(text)
    for each in typed or [text]:
        number(each)
    return typed


def threats(text: str) -> list[tuple[str, str]]:
    """(norm, radius) of `Linf:8/255,L2:0.5`, as they were typed."""
    typed = [each.partition(":") for each in words(text)]
    for norm, _, radius in typed:
        if norm not in NORMS or not radius or number(radius) <= 0:
            raise ValueError(
                f"NORM:RADIUS such as Linf:8/255 is needed, of {', '.join(NORMS)} and "
                f"above 0. Received: {text}"
            )
    return [(norm, radius) for norm, _, radius in typed]


def interval(text: str) -> tuple[float, float]:
    """(low, high) of `0,255`."""
    typed = words(text)
    if len(typed) != 2 or not number(typed[0]) < number(typed[1]):
        raise ValueError(f"LOW,HIGH such as 0,255 is needed. Received: {text}")
    return number(typed[0]), number(typed[1])


def attacks(text: str) -> list[str]:
    """Names of suites and of attacks between commas."""
    return [
        name if name in names.SUITES else names.attack(name) for name in words(text)
    ]


def arguments(text: str) -> dict[str, Any]:
    """`{"k": value}` of `k=v,...`; values are Python literals, fractions or names."""
    result = {}
    for pair in words(text):
        key, separator, value = pair.partition("=")
        if not separator:
            raise ValueError(f"name=value pairs are needed. Received: {pair}")
        if key.strip() in result:
            raise ValueError(f"each name once is needed. Received: {key.strip()} twice")
        result[key.strip()] = _literal(value.strip())
    return result


def _literal(text: str) -> Any:
    if "/" in text:
        return number(text)
    if text == "inf":
        return float(text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _batch_size(text: str) -> int | str:
    """A number of images, or auto."""
    if text == "auto":
        return text
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError(
            f"a whole number of at least 1, or auto, is needed. Received: {text}"
        )
    return int(text)


# === Groups that commands share ===


def define_data(
    values: FlagValues, batch_size: int | None = 128, *, may_fit: bool = False
) -> Group:
    """What is read, and how; the group, for what a command adds to it.

    Args:
      values: the flags of a command.
      batch_size: where it is not given; None: as is right for the data set.
      may_fit: whether it may be auto, which the command then resolves.
    """
    data = Group(values, "Data")
    data.text("dataset", "cifar10", "A TFDS name, digits, folder:PATH, or npz:FILE.")
    define_data_dir(data)
    data.whole(
        "image_size", None, "Resize images to this side.", at_least=8, at_most=16_384
    )
    data.choice(
        "color",
        None,
        ("rgb", "grayscale"),
        "Channels of the images; default: as stored, of a folder rgb.",
    )
    data.switch(
        "center_crop",
        False,
        "Resize the shorter side to 8/7 of --image_size and cut out the centre; "
        "default: both sides are resized.",
    )
    data.choice(
        "in_memory",
        None,
        ("yes", "no"),
        "Decode all images once, or where they are needed; default: once, if they are "
        "at most 1 GiB.",
    )
    by_size = "Images per batch; default: 128, of a small data set fewer."
    about = "Images per batch." if batch_size else by_size
    if may_fit:
        about = "Images per batch; auto: what fits into memory, on a CPU 128 at most."
        data.value("batch_size", batch_size, about, parse=_batch_size)
    else:
        data.whole("batch_size", batch_size, about, at_least=1)
    data.whole(
        "seed", 0, "Determines every random draw.", at_least=0, at_most=2**31 - 1
    )
    return data


def define_foreign(models: Group, *of: str) -> None:
    """What a model from elsewhere takes, which --model_path, or a flag `of`, names."""
    models.value(
        "input_range",
        None,
        "Of the images that the model of --model_path takes: 0,255 or -1,1, say; "
        "default: found by which it classifies best in.",
        parse=interval,
    )
    models.text(
        "preprocess",
        None,
        "Or the module of keras.applications that prepares them: resnet50, say.",
    )
    for name in ("input_range", "preprocess"):
        models.only_with(name, "model_path", *of)


def define_data_dir(data: Group) -> None:
    """Where TFDS finds its sets."""
    data.text("data_dir", None, "TFDS directory; also TFDS_DATA_DIR.")


def define_output(values: FlagValues) -> Group:
    """Where results go; the group, for what a command adds to it."""
    output = Group(values, "Output")
    output.text("output_dir", "outputs", "Where runs, sets and reports lie.")
    return output


def define_resumable(output: Group) -> None:
    """What to do with a name that exists."""
    output.switch("resume", False, "Continue what was interrupted.")
    output.switch("overwrite", False, "Replace what has that name.")


def define_transforms(values: FlagValues) -> None:
    """Input transformations inside the model."""
    group = Group(values, "Input transformations")
    group.value(
        "transforms",
        "",
        "Inside the model, in order, as jpeg:quality=75,bit_depth:bits=3. Known: "
        f"{', '.join(names.TRANSFORMS)}; `bin/list` names their parameters.",
        parse=names.transforms,
    )
    group.whole(
        "eot_draws",
        20,
        "Draws of random transformations over which attacks on the model take the "
        "mean.",
        at_least=1,
    )
    group.only_with("eot_draws", "transforms")
