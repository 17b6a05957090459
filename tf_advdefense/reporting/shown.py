"""Small tables for a terminal and a notebook.

table = Shown(("model", "clean, %"), [("mine", "87.3")])
print(table)             # aligned text; a notebook shows an HTML table
"""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
from html import escape
from typing import Any

from tf_advdefense.evaluation.records import Flag
from tf_advdefense.evaluation.records import Record
from tf_advdefense.reporting import formats


@dataclasses.dataclass(frozen=True)
class Shown:
    """A header and rows of texts; the first column is aligned to the left."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        rows = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join(
            "  ".join(
                [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
            ).rstrip()
            for row in rows
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(text)}</th>" for text in self.header)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def measurements(records: Iterable[Record]) -> Shown:
    """A row per measurement of one model."""
    header = ("attack", "norm", "eps", "images", "right, %", "95 %", "fooled", "mean")
    return Shown(header, [_measurement(record) for record in records])


def _measurement(record: Record) -> tuple[str, ...]:
    norm = record["norm"]
    mean: Any = record.get(f"mean_l{norm}") if norm else None
    source = f" of {record['source']}" if record["setting"] == "transfer" else ""
    oblivious = " (oblivious)" * (record["setting"] == "oblivious")
    return (
        formats.attack(record) + source + oblivious,
        formats.norm(norm) if norm else "",
        record["eps_text"] or "",
        formats.count(record["num_examples"]),
        formats.percent(record["accuracy"]),
        formats.interval(record["interval"]),
        formats.count(record["fooled"]),
        "" if mean is None else formats.distance(mean),
    )


def differences(found: Iterable[Any]) -> Shown:
    """A row per `outcome.Difference`: clean, and under each threat model."""
    header = ("models", "under", "images", "difference", "only first", "only second")
    return Shown(
        (*header, "p"),
        [
            (
                f"{each.first} - {each.second}",
                formats.threat(each.threat) if each.threat else "no attack",
                formats.count(each.pair.n),
                formats.points(each.pair.gain),
                formats.count(each.pair.only_first),
                formats.count(each.pair.only_second),
                formats.p_value(each.pair.p).removeprefix("p = ").removeprefix("p "),
            )
            for each in found
        ],
    )


def warnings(flags: Iterable[Flag]) -> list[str]:
    """A line for each red flag."""
    return [
        f"Red flag: {flag['flag']}, {flag['where']}: {flag['detail']}"
        + (f". {flag['remedy']}" if flag.get("remedy") else "")
        for flag in flags
    ]
