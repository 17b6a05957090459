"""Figures as SVG that suits light pages, dark ones and paper: one file for all three.

    with ink.drawing():
        figure = Figure(figsize=(5, 3))
        figure.add_axes((0, 0, 1, 1)).plot([0, 1], color=ink.SOFT)
        svg = ink.svg(figure)

Matplotlib draws with the colours below, which stand for the variables of
`templates/theme.css`; in the finished file they are those variables, and the file has
that style sheet in it.
"""

from contextlib import AbstractContextManager
import functools
import importlib.resources
import io
import re

import matplotlib
from matplotlib.figure import Figure

SERIES = 10  # as many as can be told apart
_NAMES = ("ink", "soft", "line", "faint", "paper", "warn")
_VARIABLES = {
    **{f"#0102{i:02x}": name for i, name in enumerate(_NAMES)},
    **{f"#0103{i:02x}": f"s{i}" for i in range(SERIES)},
}
_COLOURS = {name: colour for colour, name in _VARIABLES.items()}
INK, SOFT, LINE, FAINT, PAPER, WARN = (_COLOURS[name] for name in _NAMES)
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    # Names come from users: a dollar sign in one must not start a formula.
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "axes.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.7,
    "svg.fonttype": "none",
    "svg.hashsalt": "tf_advdefense",
}
# Of the prolog and what names software, all that differs between machines; and the
# fonts of this machine, since the reader's are used.
_SUPERFLUOUS = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL
)
_FONTS = re.compile(r"font-family: [^;\"]*")


def drawing() -> AbstractContextManager:
    """The settings under which figures are drawn."""
    return matplotlib.rc_context(_STYLE)


def series(place: int) -> str:
    """The colour of one of `SERIES` series."""
    return _COLOURS[f"s{place % SERIES}"]


def svg(figure: Figure) -> bytes:
    """The figure as a file of its own; the same figure gives the same bytes."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True)
    bare = _SUPERFLUOUS.sub("", text.getvalue()).strip()
    bare = _FONTS.sub("font-family: var(--font)", bare)
    for colour, name in _VARIABLES.items():
        bare = bare.replace(colour, f"var(--{name})")
    head, rest = bare.split(">", 1)
    return f"{head}><style>{theme()}</style>{rest}\n".encode()


@functools.cache
def theme() -> str:
    """The style sheet that says what the variables are."""
    return template("theme.css")


def template(name: str) -> str:
    """The text of a file that is shipped beside this module."""
    folder = importlib.resources.files("tf_advdefense.reporting")
    return (folder / "templates" / name).read_text(encoding="utf-8")
