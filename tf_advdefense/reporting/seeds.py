"""One row for networks that differ by their seed: mean and spread over them.

seeds_table(results, board)     # None without groups

The intervals of the other tables are those of the images; they say nothing of what
another training would have given. This table does.
"""

from collections.abc import Sequence
import statistics

from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import tables
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Table
from tf_advdefense.reporting.standings import Standings


def seeds_table(results: Results, board: Standings) -> Table | None:
    """A row for each group of `results["groups"]`: clean, and every threat model."""
    header = [Cell("Networks"), Cell("Seeds"), Cell("Clean", "mean ± sd")]
    header += [Cell(formats.threat(threat), "mean ± sd") for threat in board.threats]
    rows = [
        _row(board, group, members)
        for group, members in (results.get("groups") or {}).items()
    ]
    note = (
        "Accuracy in %: the mean over networks that were trained alike from other "
        "seeds, and the standard deviation of one of them (n - 1)."
    )
    return Table("Over seeds", header, rows, note=note) if rows else None


def _row(board, group, members):
    found = [row for row in board.rows if row.model in members]
    worst = [
        _mean([row.worst[i].accuracy for row in found if row.worst[i]])
        for i in range(len(board.threats))
    ]
    clean = [row.clean_accuracy for row in found if row.clean_accuracy is not None]
    return [
        Cell(formats.code(group)),
        Cell(formats.count(len(found))),
        _mean(clean),
        *worst,
    ]


def _mean(shares: Sequence[float]) -> Cell:
    """Mean and standard deviation; a dash without any, no spread of one alone."""
    if not shares:
        return tables.NONE
    mean = formats.percent(statistics.fmean(shares))
    if len(shares) == 1:
        return Cell(mean)
    return Cell(f"{mean} ± {formats.percent(statistics.stdev(shares))}")
