"""The accuracy tables of a report as aligned text, for the end of a command.

print(render(results, per_example))
"""

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import tables
from tf_advdefense.reporting import verdict
from tf_advdefense.reporting.shown import Shown
from tf_advdefense.reporting.shown import warnings


def render(results: Results, per_example: PerExample) -> str:
    """The verdict, a line for each red flag, and a table per protocol.

    Tables have accuracy in % and its interval, `*` where white-box.
    """
    shown = [
        _table(protocol.title, tables.accuracy_table(results, protocol))
        for protocol in protocols.protocols(results)
    ]
    flags = warnings(results.get("flags") or [])
    spoken = verdict.spoken(results, per_example)
    return "\n\n".join(filter(None, [*shown, "\n".join(flags), spoken]))


def _table(title, table):
    header = [_header(cell) for cell in table.header]
    rows = [[row[0].text.strip("`"), *map(_cell, row[1:])] for row in table.rows]
    return f"{title.replace('`', '')}\n{Shown(header, rows)}"


def _header(cell):
    return " ".join([cell.text, *cell.detail.splitlines()]).replace("`", "")


def _cell(cell):
    """Accuracy, interval, and the clean accuracy of the same images if it differs."""
    first, *rest = cell.detail.splitlines() or [""]
    interval = f" ({first})" if first else ""
    clean = "".join(f" {line}" for line in rest if line.endswith("clean"))
    return cell.text + "*" * bool(cell.mark) + interval + clean
