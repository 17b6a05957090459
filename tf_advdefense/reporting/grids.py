"""Image grids: clean, adversarial and magnified difference (the paper's Figures 1-3).

    figures(examples)      # [Figure, ...]
    image_grid(example)    # the SVG of one; a row for each image

The difference is signed: mid-grey means unchanged. One factor holds for all rows of a
grid, and the column's title says it.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
import numpy as np

from tf_advdefense.reporting import formats
from tf_advdefense.reporting import ink
from tf_advdefense.reporting.document import Figure
from tf_advdefense.reporting.document import slug
from tf_advdefense.reporting.formats import code

_SIDE, _GAP = 1.6, 0.08  # Inches, of an image and between two.
_TITLE, _HEADING = 0.24, 0.26
_COLUMNS = 3


def figures(examples: Sequence[dict[str, Any]]) -> list[Figure]:
    """A figure for each attack that has examples."""
    return [_figure(example) for example in examples if len(example["clean"])]


def _figure(example):
    title = formats.attack(example)
    if example.get("eps_text"):
        title += f" (ε = {example['eps_text']})"
    return Figure(
        f"examples-{slug(example['attack'])}",
        f"{title}, crafted on {code(example['source'])}. Above each image the class "
        "that was predicted, in colour and with a cross where it is wrong.",
        f"Images attacked by {title}: {_told(example)}.",
        image_grid(example),
    )


def _told(example):
    """Which class became which, of every row."""
    return formats.listing(
        [
            f"{_name(example, int(before))} is taken for {_name(example, int(after))}"
            for before, after in zip(example["clean_prediction"], example["prediction"])
        ]
    )


def magnification(difference: np.ndarray) -> int:
    """The largest of 1, 2, 5, 10, 20, ... that shows `difference` without clipping."""
    largest = float(np.max(np.abs(difference), initial=0.0))
    if largest == 0:
        return 1
    factors = [m * 10**e for e in range(5) for m in (1, 2, 5)]
    # One per cent over is not visible, and float32 rounds 0.1 up.
    return max([f for f in factors if f * largest <= 0.505] or [1])


def image_grid(example: dict[str, Any]) -> bytes:
    """Draws one attack's examples.

    Args:
      example: {"clean", "adversarial": float [n, h, w, c] in [0, 1], "label",
        "clean_prediction", "prediction": int [n], "class_names" (optional)}.

    Returns:
      The SVG file's bytes.
    """
    clean = np.asarray(example["clean"], np.float32)
    difference = np.asarray(example["adversarial"], np.float32) - clean
    factor = magnification(difference)
    shown = clean, clean + difference, 0.5 + factor * difference
    side = _SIDE * clean.shape[1] / clean.shape[2]
    with ink.drawing():
        axes = _canvas(len(clean), side)
        for column, (images, title) in enumerate(
            zip(shown, ("clean", "adversarial", f"difference × {factor}"))
        ):
            left = column * (_SIDE + _GAP)
            _write(axes, left, 0.15 - _HEADING, title, ink.SOFT, "bold")
            for row, image in enumerate(images):
                top = row * (side + _TITLE + _GAP) + _TITLE
                _draw(axes, image, (left, left + _SIDE, top + side, top))
                text, colour = _title(example, row, column, difference[row])
                _write(axes, left, top - 0.07, text, colour)
        return ink.svg(axes.figure)


def _canvas(rows: int, side: float) -> Axes:
    """One pair of axes over all, in inches, downwards from below the headings."""
    width = _COLUMNS * (_SIDE + _GAP) - _GAP
    height = rows * (side + _TITLE + _GAP) - _GAP
    figure = Canvas(figsize=(width, height + _HEADING))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, -_HEADING))
    axes.set_axis_off()
    axes.autoscale(False)
    return axes


def _draw(axes, image, extent):
    image = np.clip(image, 0, 1)
    grey = image.shape[-1] == 1
    axes.imshow(
        image[..., 0] if grey else image,
        cmap="gray" if grey else None,
        vmin=0,
        vmax=1,
        interpolation="none",
        aspect="auto",
        extent=extent,
    )


def _title(example, row, column, difference):
    """What stands above an image, and its colour."""
    if column == 2:
        return f"at most {np.abs(difference).max():.3g}", ink.SOFT
    predicted = int(example["prediction" if column else "clean_prediction"][row])
    name = _name(example, predicted)
    if predicted == int(example["label"][row]):
        return name, ink.INK
    return f"✗ {name}", ink.WARN


def _write(axes, left, bottom, text, colour, weight="normal"):
    axes.text(left, bottom, text, color=colour, fontsize=9, fontweight=weight)


def _name(example, index):
    names = example.get("class_names")
    return str(names[index]) if names is not None and index < len(names) else str(index)
