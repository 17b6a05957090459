"""From results to `report.md`, `report.html`, `results.csv` and `figures/*.svg`."""

from collections.abc import Sequence
import pathlib
from typing import Any

from tf_advdefense.artifacts import files
from tf_advdefense.evaluation.records import Path
from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import html
from tf_advdefense.reporting import listings
from tf_advdefense.reporting import markdown
from tf_advdefense.reporting.contents import build_report
from tf_advdefense.reporting.latex import latex_tables

_TEXTS = {
    "markdown": "report.md",
    "html": "report.html",
    "csv": "results.csv",
    "latex": "report.tex",
}


def check_place(directory: Path) -> None:
    """Refuses a directory whose files would be taken for those of a former report.

    Raises:
      FileExistsError: it holds files by the names of a report's, and no report.
    """
    names = ("results.json", "figures", *_TEXTS.values())
    files.check_mark(directory, "per_example.npz", names)


def write_report(
    directory: Path,
    results: Results,
    per_example: PerExample,
    examples: Sequence[dict[str, Any]] = (),
    latex: bool = False,
) -> dict[str, Any]:
    """Writes the report's files, each under a temporary name that is then renamed.

    The same input gives the same bytes: nothing of the time or place is written.

    Args:
      directory: where to; made if absent.
      results: the content of `results.json` (see `evaluation.records`), with
        optional "flags": [{"flag", "where", "detail", "remedy"}] to warn of, and
        "threat_models": [{"norm", "eps", "eps_text", "knowledge"}], the headline
        first.
      per_example: the arrays of `per_example.npz`; worst cases, comparisons and
        curves are left out where arrays are missing.
      examples: image grids, [{"attack", "title", "eps_text", "source", "clean" and
        "adversarial": float32 [n, h, w, c] in [0, 1], "label", "clean_prediction" and
        "prediction": int [n], "class_names"}].
      latex: whether `report.tex` is written, too: tables to input into a paper.

    Returns:
      {"markdown", "html", "csv": path, "figures": [path, ...]} of `pathlib.Path`, and
      "latex" if it was asked for.
    """
    directory = pathlib.Path(directory)
    report = build_report(results, per_example, examples)
    paths: dict[str, Any] = {
        "figures": [
            _write(directory / "figures" / f"{figure.name}.svg", figure.svg)
            for figure in report.figures
        ]
    }
    texts = {
        "markdown": markdown.render(report),
        "html": html.render(report),
        "csv": listings.records_csv(results),
    }
    if latex:
        texts["latex"] = latex_tables(results, per_example)
    for kind, text in texts.items():
        paths[kind] = _write(directory / _TEXTS[kind], text.encode())
    return paths


def _write(path, data):
    files.write_bytes(path, data)
    return path
