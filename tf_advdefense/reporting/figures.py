"""The plots of a report: PNG bytes, drawn on matplotlib's Agg canvas without pyplot.

    dot_plot(protocol, marks)                     # Figure 4 with interval whiskers
    accuracy_against_eps(found, series, marks)    # one panel for each protocol

A model keeps its colour (Okabe and Ito's colour-blind safe set) and marker through
all figures of a report; hollow markers are white-box cells in a transfer plot.
"""

from collections.abc import Sequence
import io
import math

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import numpy as np

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import protocols

Marks = dict[str, dict[str, str]]  # colour and marker of each model
Series = tuple[str, str, str]  # of `Condition.series`
Lengths = dict[str, tuple[np.ndarray, int]]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#555555")
_MARKERS = "osD^vPX<"
_INK, _FAINT = "#333333", "#dddddd"
# Names come from users: a dollar sign in one must not start a formula.
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eeeeee",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 144,
}


def styles(models: Sequence[str]) -> Marks:
    """Colour and marker of every model, by its place among all models."""
    return {
        model: {
            "color": _COLOURS[i % len(_COLOURS)],
            "marker": _MARKERS[i % len(_MARKERS)],
        }
        for i, model in enumerate(models)
    }


def png(figure: Figure) -> bytes:
    """The figure as bytes; no software version or date, so that they repeat."""
    data = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()


def _bare(marker, hollow):
    face = "white" if hollow else marker["color"]
    return {
        **marker,
        "linestyle": "none",
        "markersize": 6,
        "markerfacecolor": face,
        "markeredgewidth": 1.4,
    }


def _whiskers(records):
    """Distances from accuracy down to and up to the interval's ends, in %."""
    ends = [
        (r["accuracy"] - r["interval"][0], r["interval"][1] - r["accuracy"])
        for r in records
    ]
    return 100 * np.maximum(np.transpose(ends), 0)


def dot_plot(protocol: protocols.Protocol, marks: Marks) -> bytes:
    """One row for each condition and in it one dot for each model."""
    rows = protocol.conditions
    with matplotlib.rc_context(STYLE):
        height = 0.9 + len(rows) * (0.16 + 0.11 * len(protocol.models))
        figure = Figure(figsize=(7.2, height), layout="constrained")
        axes = figure.add_subplot()
        step = 0.72 / max(len(protocol.models), 1)
        for i, model in enumerate(protocol.models):
            for y, condition in enumerate(rows):
                record = protocol.cells.get((model, condition))
                if record:
                    place = y + step * (i - (len(protocol.models) - 1) / 2)
                    hollow = protocol.is_own(model, condition)
                    _dot(axes, record, place, _bare(marks[model], hollow))
        axes.set(xlim=(-2, 102), ylim=(len(rows) - 0.5, -0.5), xlabel="accuracy, %")
        axes.set_yticks(range(len(rows)), [protocol.title_of(c) for c in rows])
        axes.grid(False, axis="y")
        for y in range(1, len(rows)):
            axes.axhline(y - 0.5, color=_FAINT, linewidth=0.8)
        _legend(figure, marks, protocol.models)
        return png(figure)


def _dot(axes, record, place, marker):
    axes.errorbar(
        100 * record["accuracy"],
        place,
        xerr=_whiskers([record]),
        elinewidth=1.3,
        **marker,
    )


def _legend(figure, marks, models):
    for model in models:
        figure.axes[0].plot([], [], label=model, **_bare(marks[model], False))
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        handletextpad=0.2,
        ncols=min(len(models), max(1, int(84 / (8 + max(map(len, models)))))),
    )


def sweeps(found: list[protocols.Protocol]) -> list[Series]:
    """Series (an attack and its settings) that some protocol has at two eps or more."""
    series = dict.fromkeys(c.series for p in found for c in p.attacked())
    return [s for s in series if any(_lines(p, s) for p in found)]


def _lines(protocol, series):
    """{model: {eps: record}} by rising eps, of the models with two eps or more."""
    lines = {model: {} for model in protocol.models}
    for condition in protocol.attacked():
        if condition.series == series and condition.eps >= 0:
            for model in protocol.models:
                if (model, condition) in protocol.cells:
                    record = protocol.cells[model, condition]
                    lines[model].setdefault(condition.eps, record)
    return {model: line for model, line in lines.items() if len(line) > 1}


def accuracy_against_eps(
    found: list[protocols.Protocol], series: Series, marks: Marks
) -> bytes:
    """Panels of accuracy against eps on a logarithmic axis that begins at clean."""
    panels = [(p, _lines(p, series)) for p in found if _lines(p, series)]
    with matplotlib.rc_context(STYLE):
        columns = min(2, len(panels))
        rows = math.ceil(len(panels) / columns)
        figure = Figure(figsize=(7.2, 0.5 + 2.7 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axes, (protocol, lines) in zip(grid, panels):
            _panel(axes, protocol, lines, marks)
        for axes in grid[len(panels) :]:
            axes.remove()
        for axes in grid[::columns]:
            axes.set_ylabel("accuracy, %")
        drawn = {model for _, lines in panels for model in lines}
        _legend(figure, marks, [m for m in marks if m in drawn])
        return png(figure)


def _panel(axes, protocol, lines, marks):
    clean = {m: r for (m, c), r in protocol.cells.items() if c.attack == "clean"}
    for model, line in lines.items():
        line = {0: clean[model], **line} if model in clean else line
        hollow = any(protocol.is_own(model, c) for c in protocol.conditions)
        axes.errorbar(
            list(line),
            [100 * r["accuracy"] for r in line.values()],
            yerr=_whiskers(line.values()),
            elinewidth=1,
            **{
                **_bare(marks[model], hollow),
                "markersize": 5,
                "linestyle": "--" if hollow else "-",
            },
        )
    _eps_axis(axes, {eps: r for line in lines.values() for eps, r in line.items()})
    axes.set(ylim=(-3, 103), title=protocol.title.replace("`", ""))


def _eps_axis(axes, records):
    ticks = sorted(eps for eps in records if eps > 0)
    names = [formats.eps(records[eps]).removeprefix("ε = ") for eps in ticks]
    axes.set_xscale("symlog", linthresh=ticks[0], linscale=0.6)
    axes.set_xticks([0, *ticks], ["clean", *names])
    axes.minorticks_off()
    axes.set_xlabel("ε")


def distances(
    protocol: protocols.Protocol,
    condition: protocols.Condition,
    per_example: PerExample,
) -> Lengths:
    """{model: (sorted distances of the fooled, number attacked)} where arrays exist."""
    norm = "l" + (condition.norm or "2")
    found = {}
    for model in protocol.models:
        key = protocol.cells.get((model, condition), {}).get("key")
        if all(f"{key}/{part}" in per_example for part in ("ok", "clean_ok", norm)):
            clean_ok, ok, length = (
                np.asarray(per_example[f"{key}/{part}"])
                for part in ("clean_ok", "ok", norm)
            )
            if (clean_ok & ~ok).any():
                found[model] = np.sort(length[clean_ok & ~ok]), int(clean_ok.sum())
    return found


def distance_cdf(lengths: Lengths, norm: str, marks: Marks) -> bytes:
    """Share of the correctly classified images fooled within a distance."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        axes = figure.add_subplot()
        furthest = max(length[-1] for length, _ in lengths.values())
        for model, (length, attacked) in lengths.items():
            share = 100 * np.arange(len(length) + 1) / attacked
            axes.step(
                [0, *length, 1.04 * furthest],
                [*share, share[-1]],
                where="post",
                color=marks[model]["color"],
            )
            middle = np.searchsorted(share, share[-1] / 2)
            axes.plot(length[middle - 1], share[middle], **_bare(marks[model], False))
        axes.set(
            xlim=(0, 1.04 * furthest),
            ylim=(0, 103),
            xlabel=f"{formats.norm(norm)} distance, images in [0, 1]",
            ylabel="fooled within the distance, %",
        )
        _legend(figure, marks, list(lengths))
        return png(figure)
