"""Transfer as a matrix: which model's examples fool which model.

matrix_tables(results)    # [Table, ...], one for each attack with several sources
"""

from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import tables
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Table
from tf_advdefense.reporting.formats import code


def matrix_tables(results: Results, radius: float) -> list[Table]:
    """A heat table for each attack that was transferred from two sources or more."""
    found = protocols.protocols(results)
    white_box = next((p for p in found if p.source is None), None)
    columns = {}
    for protocol in found:
        if protocol.source:
            for condition in protocols.at_radius(protocol, radius):
                alike = condition.series, condition.eps
                columns.setdefault(alike, []).append((protocol, condition))
    return [
        _matrix(results, columns[alike], _own(white_box, alike))
        for alike in columns
        if len(columns[alike]) > 1
    ]


def _own(white_box, alike):
    """The same attack on each model itself, for comparison."""
    conditions = white_box.attacked() if white_box else []
    return [(white_box, c) for c in conditions if (c.series, c.eps) == alike][:1]


def _matrix(results, crossed, own):
    names = {model for protocol, _ in crossed for model in protocol.models}
    columns = [*crossed, *own]
    rows = [
        [Cell(code(model))]
        + [tables.heat_cell(results, p, model, c) for p, c in columns]
        for model in protocols.ordered_models(results, names)
    ]
    header = [Cell("Model"), *(Cell(code(p.source)) for p, _ in crossed)]
    header += [Cell("itself", "white-box") for _ in own]
    protocol, condition = crossed[0]
    label = ", ".join(filter(None, [condition.label, condition.eps_label]))
    return Table(
        f"{label}, from each source to each model",
        header,
        rows,
        layout="heat",
        note="Accuracy in %. A column's examples were crafted on the model that its "
        "heading names. "
        + formats.numbers(
            [cell["num_examples"] for p, c in columns for cell in p.column(c)]
        ),
    )
