"""The accuracy tables of a report as aligned text, for the end of a command.

print(render(results))
"""

from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import tables


def render(results: Results) -> str:
    """One table per protocol: accuracy in % and its interval, `*` where white-box.

    Before them, a line for each red flag.
    """
    flags = [_flag(flag) for flag in results.get("flags") or []]
    shown = [
        _table(protocol.title, tables.accuracy_table(results, protocol))
        for protocol in protocols.protocols(results)
    ]
    return "\n\n".join([*(["\n".join(flags)] if flags else []), *shown])


def _flag(flag):
    remedy = f". {flag['remedy']}" if flag.get("remedy") else ""
    return f"Red flag: {flag['flag']}, {flag['where']}: {flag['detail']}{remedy}"


def _table(title, table):
    rows = [
        [_header(cell) for cell in table.header],
        *([row[0].text.strip("`"), *map(_cell, row[1:])] for row in table.rows),
    ]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
        for row in rows
    ]
    return "\n".join([title.replace("`", ""), *lines])


def _header(cell):
    return " ".join([cell.text, *cell.detail.splitlines()]).replace("`", "")


def _cell(cell):
    """Accuracy, interval, and the clean accuracy of the same images if it differs."""
    first, *rest = cell.detail.splitlines() or [""]
    interval = f" ({first})" if first else ""
    clean = "".join(f" {line}" for line in rest if line.endswith("clean"))
    return cell.text + "*" * bool(cell.mark) + interval + clean
