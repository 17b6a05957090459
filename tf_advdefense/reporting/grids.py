"""Image grids: clean, adversarial and magnified difference (the paper's Figures 1-3).

    image_grid(example)    # PNG bytes; one row for each image

The difference is signed: mid-grey means unchanged. One factor holds for all rows of a
grid, and the column's title says it.
"""

from typing import Any

import matplotlib
from matplotlib.figure import Figure
import numpy as np

from tf_advdefense.reporting import figures

_RIGHT, _WRONG = "#0072B2", "#D55E00"
_INCHES = 1.45


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
      The PNG file's bytes.
    """
    clean = np.asarray(example["clean"], np.float32)
    difference = np.asarray(example["adversarial"], np.float32) - clean
    factor = magnification(difference)
    shown = clean, clean + difference, 0.5 + factor * difference
    with matplotlib.rc_context({**figures.STYLE, "axes.grid": False}):
        figure = Figure(
            figsize=(3 * _INCHES, (_INCHES + 0.26) * len(clean) + 0.3),
            layout="constrained",
        )
        grid = figure.subplots(len(clean), 3, squeeze=False)
        for row, axes in enumerate(grid):
            for column, images in zip(axes, shown):
                _draw(column, images[row])
            _titles(axes, example, row, float(np.abs(difference[row]).max()))
        _heading(grid[0], factor)
        return figures.png(figure)


def _draw(axes, image):
    image = np.clip(image, 0, 1)
    grey = image.shape[-1] == 1
    axes.imshow(
        image[..., 0] if grey else image,
        cmap="gray" if grey else None,
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes.set_axis_off()


def _titles(axes, example, row, largest):
    label = int(example["label"][row])
    for column, which in zip(axes, ("clean_prediction", "prediction")):
        predicted = int(example[which][row])
        column.set_title(
            _name(example, predicted),
            fontsize=8.5,
            loc="center",
            color=_RIGHT if predicted == label else _WRONG,
        )
    axes[2].set_title(
        f"max {largest:.3g}", fontsize=8.5, loc="center", fontweight="normal"
    )


def _name(example, index):
    names = example.get("class_names")
    return str(names[index]) if names is not None and index < len(names) else str(index)


def _heading(axes, factor):
    for column, text in zip(axes, ("clean", "adversarial", f"difference × {factor}")):
        column.annotate(
            text,
            (0.5, 1),
            (0, 19),
            xycoords="axes fraction",
            ha="center",
            textcoords="offset points",
            fontsize=9,
        )
