"""The page of a comparison of two result files: a table for terminals and Markdown.

    print(table(found))
    files = write("outputs/report", found, "old/results.json", "new/results.json")

`found` is what `evaluation.changes.changes` returns.
"""

import os
import pathlib
from typing import Any

from tf_advdefense.artifacts import files
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import markdown
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Report
from tf_advdefense.reporting.document import Section
from tf_advdefense.reporting.document import Table
from tf_advdefense.reporting.shown import Shown

_HEADER = ("model", "under", "images", "old, %", "new, %", "points")
_TESTED = ("only old", "only new", "p")


def table(found: Any) -> Shown:
    """A row per condition: both accuracies, their difference, and the exact test."""
    return Shown((*_HEADER, *_TESTED), [_row(change) for change in found.each])


def write(directory: str | os.PathLike[str], found: Any, old: str, new: str) -> str:
    """Writes `comparison.md` and `comparison.json`; returns the path of the former.

    Args:
      directory: path.
      found: changes.
      old, new: what was compared, as it is to be written.
    """
    directory = pathlib.Path(directory)
    files.check_mark(directory, "comparison.json", ["comparison.md"])
    about = {"old": old, "new": new}
    files.write_json(directory / "comparison.json", {**about, **found.as_json()})
    path = directory / "comparison.md"
    files.write_bytes(path, _page(found, old, new).encode())
    return str(path)


def _page(found: Any, old: str, new: str) -> str:
    shown = table(found)
    header, *rows = (
        [Cell(text) for text in row] for row in [shown.header, *shown.rows]
    )
    caption = "Accuracy on the common images, and McNemar's exact test (two-sided)"
    sections = [Section("What changed", [Table(caption, header, rows)])]
    between = [f"Old: `{old}`", f"new: `{new}`"]
    report = Report("Comparison", between, found.note, "", "", [], [], sections)
    return markdown.render(report)


def _row(change: Any) -> tuple[str, ...]:
    pair = change.pair
    new, old = pair.correct
    return (
        change.model,
        change.what,
        formats.count(pair.n),
        formats.percent(old / pair.n),
        formats.percent(new / pair.n),
        formats.points(pair.gain),
        formats.count(pair.only_second),
        formats.count(pair.only_first),
        formats.p_value(pair.p).removeprefix("p = ").removeprefix("p "),
    )
