"""Line plots of a few series, each labelled at its end instead of in a legend.

    line_plot([Line("pgd_at", radii, shares, place=0)], "radius", "accuracy, %")

A series keeps its colour, marker and dashes, which its `place` among at most
`ink.SERIES` says, in all figures of a report.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np
from scipy.optimize import isotonic_regression

from tf_advdefense.reporting import ink

_WIDTH, _HEIGHT = 5.0, 3.1  # Inches, of 96 pixels on a screen.
_LEFT, _BOTTOM, _TOP = 0.5, 0.48, 0.12
_LETTER, _LINE = 0.082, 0.165  # Inches at most, of a label's letters and lines.
_LONGEST = 20  # Letters of a label; a longer name loses its middle.
_MARKERS = "osD^vPX<>h"
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (9, 2)))


@dataclass(frozen=True)
class Line:
    """One series; `band` is (low, high) of its interval, `steps` of a distribution."""

    label: str
    x: np.ndarray
    y: np.ndarray
    place: int
    steps: bool = False
    band: tuple[np.ndarray, np.ndarray] | None = None


def line_plot(
    lines: Sequence[Line],
    xlabel: str,
    ylabel: str,
    *,
    ticks: Mapping[float, str] | None = None,
    logarithmic: bool = False,
    guide: tuple[float, str] | None = None,
) -> bytes:
    """The SVG of lines over a common axis.

    Args:
      lines: at most `ink.SERIES`, which all begin at the left and end at the right.
      xlabel, ylabel: of the axes.
      ticks: {place on the horizontal axis: its text}, instead of round numbers.
      logarithmic: whether that axis is.
      guide: (place, text) of one vertical line.
    """
    with ink.drawing():
        labels = [short(line.label) for line in lines]
        right = 0.36 + _LETTER * max(map(len, labels))
        box = (_LEFT, _BOTTOM, _WIDTH - _LEFT - right, _HEIGHT - _BOTTOM - _TOP)
        figure = Figure(figsize=(_WIDTH, _HEIGHT))
        scale = np.array([_WIDTH, _HEIGHT, _WIDTH, _HEIGHT])
        axes = figure.add_axes(tuple(box / scale))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        _fit(axes, lines, ticks, logarithmic)
        if guide:
            _guide(axes, *guide)
        for line in lines:
            _draw(axes, line)
        _label(axes, lines, labels, box[2:])
        return ink.svg(figure)


def short(name: str) -> str:
    """A name that fits beside a plot."""
    half = (_LONGEST - 1) // 2
    return name if len(name) <= _LONGEST else f"{name[:half]}…{name[-half:]}"


def _fit(axes: Axes, lines, ticks, logarithmic):
    """The axes span the data; the vertical one begins at nothing."""
    if logarithmic:
        _logarithmic(axes, lines)
    if ticks:
        axes.set_xticks(list(ticks), list(ticks.values()))
    highest = max(float(np.max(_highest(line))) for line in lines)
    furthest = max(float(line.x[-1]) for line in lines)
    axes.set(xlim=(0, furthest), ylim=(-0.015 * highest, 1.05 * max(highest, 1)))


def _logarithmic(axes, lines):
    """Powers of ten, written out, on an axis that begins at 0."""
    least = min(line.x[line.x > 0].min() for line in lines)
    most = max(line.x[-1] for line in lines)
    axes.set_xscale("symlog", linthresh=least, linscale=0.6)
    powers = 10.0 ** np.arange(np.ceil(np.log10(least)), np.log10(most))
    axes.set_xticks([0, *powers], ["0", *(f"{power:g}" for power in powers)])
    axes.minorticks_off()


def _highest(line):
    return line.band[1] if line.band else line.y


def _guide(axes, place, text):
    axes.axvline(place, color=ink.SOFT, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.text(
        place,
        axes.get_ylim()[1],
        f"{text} ",
        color=ink.SOFT,
        fontsize=8,
        ha="right",
        va="top",
    )


def _draw(axes, line):
    colour = ink.series(line.place)
    how = {"where": "post"} if line.steps else {}
    draw = axes.step if line.steps else axes.plot
    marked = {} if line.steps else _marker(line.place)
    dashes = _DASHES[line.place % len(_DASHES)]
    draw(line.x, line.y, color=colour, linestyle=dashes, **marked, **how)
    if line.band:
        step = "post" if line.steps else None
        axes.fill_between(line.x, *line.band, step=step, color=colour, alpha=0.14, lw=0)


def _marker(place):
    return {
        "marker": _MARKERS[place % len(_MARKERS)],
        "markersize": 5,
        "markeredgewidth": 0,
        "clip_on": False,
    }


def _label(axes, lines, labels, size):
    """Names beside the ends of the lines, moved apart, each tied to its end."""
    width, height = size
    low, high = axes.get_ylim()
    ends = np.array([(line.y[-1] - low) / (high - low) for line in lines])
    places = spread(ends, _LINE / height)
    for line, label, end, place in zip(lines, labels, ends, places):
        common = {"transform": axes.transAxes, "clip_on": False}
        colour = ink.series(line.place)
        thread = [1.0, 1 + 0.12 / width], [end, place]
        axes.plot(*thread, color=colour, linewidth=0.8, **common)
        mark = {**_marker(line.place), **common, "color": colour}
        axes.plot([1 + 0.19 / width], [place], **mark)
        at = 1 + 0.28 / width, place
        axes.text(*at, label, color=colour, va="center", fontsize=8.5, **common)


def spread(places: np.ndarray, gap: float) -> np.ndarray:
    """The nearest places that lie `gap` apart, in the same order, from 0 upwards."""
    # Of several at one place the first is the uppermost.
    order = np.lexsort((-np.arange(len(places)), places))
    steps = gap * np.arange(len(places))
    moved = isotonic_regression(places[order] - steps).x
    highest = max(1.0 - steps[-1], 0.0)
    apart = np.empty(len(places))
    apart[order] = np.clip(moved, 0.0, highest) + steps
    return apart
