"""How a model stands to the networks that come with the package.

sentences(results)     # ["`mine` is more robust than 4 of the 6 networks ..."]
reference_tables(results)
"""

from tf_advdefense.evaluation.placement import Placement
from tf_advdefense.evaluation.records import Record
from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import formats
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Table
from tf_advdefense.reporting.formats import code

_TESTS = {True: "McNemar's exact test", False: "Fisher's exact test"}


def sentences(results: Results, target: str | None = None) -> list[str]:
    """A sentence for each model, or for one, and ball that the zoo knows, too."""
    return [
        _sentence(placement, _record(results, placement))
        for placement in results.get("reference") or []
        if target in (None, placement["target"])
    ]


def reference_tables(results: Results) -> list[Table]:
    """A table for each: the zoo's networks, the best first, and the model's lead."""
    return [
        _table(placement, _record(results, placement))
        for placement in results.get("reference") or []
    ]


def _record(results: Results, placement: Placement) -> Record:
    return next(r for r in results["records"] if r["key"] == placement["key"])


def _sentence(placement, record):
    number = {
        stands: sum(each["stands"] == stands for each in placement["networks"])
        for stands in ("above", "alike", "below")
    }
    total = len(placement["networks"])
    said = f"{code(placement['target'])} is more robust than {number['above']} of the "
    said += f"{total} networks of the zoo under {_under(record)}"
    if number["alike"]:
        said += f", not told apart from {number['alike']}"
    if number["below"]:
        said += f", less robust than {number['below']}"
    where = "the same" if placement["same_images"] else "other"
    return f"{said} ({_TESTS[placement['same_images']]}, {where} images)."


def _under(record):
    radius = record["eps_text"] or format(record["eps"], "g")
    return f"{formats.attack(record)} at {formats.norm(record['norm'])} {radius}"


def _table(placement, record):
    header = [
        Cell("Network of the zoo"),
        Cell("Robust", "%"),
        Cell(f"Lead of {code(placement['target'])}", "points"),
        Cell("p"),
        Cell("Images"),
    ]
    rows = [
        [
            Cell(code(each["name"])),
            Cell(formats.percent(each["accuracy"])),
            Cell(formats.points(each["gain"])),
            Cell(formats.p_value(each["p"]).removeprefix("p = ").removeprefix("p ")),
            Cell(formats.count(each["num_examples"])),
        ]
        for each in placement["networks"]
    ]
    caption = f"{code(placement['target'])} beside them, under {_under(record)}"
    images = (
        "Of the images of both." if placement["same_images"] else "Of other images."
    )
    note = f"{images} p is that of {_TESTS[placement['same_images']]}, uncorrected."
    return Table(caption, header, rows, note=note)
