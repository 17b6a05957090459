"""The leaderboard and the table of attacks as LaTeX, to input into a paper.

    latex_tables(results, per_example)    # needs \\usepackage{booktabs}

Every text is escaped, since names of models and sets come from users.
"""

import re

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Table
from tf_advdefense.reporting.leaderboard import leaderboard
from tf_advdefense.reporting.overview import overview_table
from tf_advdefense.reporting.standings import completed
from tf_advdefense.reporting.standings import standings

_ESCAPED = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "∞": r"$\infty$",
    "ε": r"$\varepsilon$",
    "×": r"$\times$",
    "–": "--",
    "−": "$-$",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    "\n": " ",
}
_SPECIAL = re.compile("[" + re.escape("".join(_ESCAPED)) + "]")


def latex_tables(results: Results, per_example: PerExample) -> str:
    """Both tables, each a `table` with a `booktabs` tabular in it."""
    results = completed(results)
    board = standings(results, per_example)
    shown = leaderboard(results, board), overview_table(results, board)
    head = "% Needs \\usepackage{booktabs}; each table may be set in \\resizebox.\n"
    return head + "\n".join(_table(table) for table in shown if table)


def escape(text: str) -> str:
    """Plain text, with names in `backticks` set in a typewriter font."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return _plain("'".join(pieces))
    return "".join(
        f"\\texttt{{{_plain(piece)}}}" if i % 2 else _plain(piece)
        for i, piece in enumerate(pieces)
    )


def _plain(text):
    return _SPECIAL.sub(lambda found: _ESCAPED[found[0]], text)


def _table(table: Table) -> str:
    header, *rows = table.written
    # A model's detail is its defence, which would widen the first column.
    body = [_row([Cell(first.text), *rest]) for first, *rest in rows]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escape(table.caption)}. {escape(table.note)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            _heading(header),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _heading(header):
    """A line of titles, and below it as many as the details need."""
    lines = [[escape(cell.text) for cell in header]]
    details = [cell.detail.splitlines() for cell in header]
    for i in range(max(map(len, details))):
        lines.append([escape(d[i]) if i < len(d) else "" for d in details])
    return "\n".join(f"{' & '.join(line)} \\\\" for line in lines)


def _row(cells):
    return " & ".join(map(_cell, cells)) + r" \\"


def _cell(cell):
    detail = f" ({escape(cell.detail)})" if cell.detail else ""
    mark = f" ({escape(cell.mark)})" if cell.mark else ""
    return escape(cell.text) + detail + mark
