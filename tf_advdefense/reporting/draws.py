"""Models that draw at random: how often an image is right, over draws of their own.

draws_table(results)     # None where no model draws

All other tables score such a model once, on the draws of its own seed.
"""

from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import formats
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Table


def draws_table(results: Results) -> Table | None:
    """A row for each measurement of a random model under attack."""
    drawn = [r for r in results["records"] if (r.get("signs") or {}).get("draws")]
    header = [
        Cell("Model"),
        Cell("Attack"),
        Cell("Once"),
        Cell("Over draws", "95 % interval"),
        Cell("Draws"),
        Cell("Images"),
    ]
    rows = [_row(record) for record in drawn]
    note = (
        "Accuracy in %: once, on the draws of the model's own seed, and the mean over "
        "images of the share of draws on which both copies, clean and attacked, are "
        "right. The interval is of the images."
    )
    return Table("Over draws", header, rows, note=note) if rows else None


def _row(record):
    signs = record["signs"]
    source = record["source"] if record["source"] != record["target"] else ""
    oblivious = "oblivious" if record["setting"] == "oblivious" else ""
    detail = " ".join(filter(None, [formats.eps(record), source, oblivious]))
    return [
        Cell(formats.code(record["target"])),
        Cell(formats.attack(record), detail),
        Cell(formats.percent(record["accuracy"])),
        Cell(
            formats.percent(signs["right_share"]),
            formats.interval(signs["right_interval"]),
        ),
        Cell(formats.count(signs["draws"])),
        Cell(formats.count(record["num_examples"])),
    ]
