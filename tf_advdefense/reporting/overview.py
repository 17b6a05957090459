"""Every model under every attack at one radius, in one table, and the worst of them.

    overview_table(results, per_example)

Of an attack that was run at several radii the one nearest 8/255 stands here; the other
tables have all of them. White-box cells are adaptive.
"""

import dataclasses

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.evaluation.statistics import worst_case
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import tables
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Table

_RADIUS = 8 / 255


def overview_table(results: Results, per_example: PerExample) -> Table | None:
    """Clean, white-box, worst case and transfer; None where one table has it all."""
    found = protocols.protocols(results)
    white_box = next((p for p in found if p.source is None), None)
    if white_box is None:
        return None
    shown, transfer = _at_one_radius(white_box), [p for p in found if p.source]
    joined = _joined(shown)
    if len(joined) < 2 and not transfer:
        return None
    columns = [
        _column(results, white_box, c)
        for c in white_box.conditions
        if c.attack == protocols.CLEAN or c in shown
    ]
    if len(joined) > 1:
        columns.append(_worst_column(per_example, white_box, joined))
    columns += [_column(results, p, c) for p in transfer for c in _at_one_radius(p)]
    names = {r["target"] for r in results["records"]}
    rows = [
        [tables.model_cell(results, model), *(cell(model) for _, cell in columns)]
        for model in protocols.ordered_models(results, names)
    ]
    return Table(
        _caption(white_box, joined),
        [Cell("Model"), *(h for h, _ in columns)],
        rows,
        layout="wide",
    )


def _caption(white_box, joined):
    labels = formats.listing([white_box.title_of(c) for c in joined]) if joined else ""
    worst = f" Worst case: right under all of {labels}." if len(joined) > 1 else ""
    return (
        "Accuracy in %, with the 95 % interval and the number of images. Each model "
        "attacked itself, its defence included, unless the heading names the "
        f"source.{worst} Minimal-norm attacks have no bound: how far they must go "
        "stands below their accuracy."
    )


def _at_one_radius(protocol):
    """Of each attack the condition whose radius is nearest 8/255."""
    nearest = {}
    for condition in protocol.attacked():
        best = nearest.setdefault(condition.series, condition)
        if abs(condition.eps - _RADIUS) < abs(best.eps - _RADIUS):
            nearest[condition.series] = condition
    return list(nearest.values())


def _joined(shown):
    """The L-inf attacks of one and the same radius, of which there is a worst case."""
    bounded = [c for c in shown if c.norm == "inf" and c.goal == protocols.FIXED_EPS]
    radius = min((c.eps for c in bounded), key=lambda e: abs(e - _RADIUS), default=None)
    return [c for c in bounded if c.eps == radius]


def _column(results, protocol, condition):
    """(heading, function from a model to its cell)."""
    detail = tables.budget(protocol, condition)
    if protocol.source and condition.attack != protocols.CLEAN:
        detail = "\n".join(
            filter(None, [detail, f"from {formats.code(protocol.source)}"])
        )

    def cell(model):
        own = tables.accuracy_cell(results, protocol, model, condition)
        return dataclasses.replace(
            own,
            detail=own.detail
            + _length(protocol.cells.get((model, condition)), condition),
        )

    return Cell(condition.label, detail), cell


def _length(record, condition):
    """The mean distance of a minimal-norm attack, a line of its own."""
    norm = condition.norm or "2"
    mean = record and record.get(f"mean_l{norm}")
    if condition.goal != protocols.MINIMAL_NORM or mean is None:
        return ""
    return f"\n{formats.norm(norm)} {formats.distance(mean)}"


def _worst_column(per_example, protocol, joined):
    def cell(model):
        keys = [protocol.cells.get((model, c), {}).get("key") for c in joined]
        ok = worst_case(per_example, keys)
        if ok is None:
            return tables.NONE
        interval = formats.interval(wilson(int(ok.sum()), len(ok)))
        return Cell(
            formats.percent(ok.mean()),
            f"{interval}\nn = {formats.count(len(ok))}",
            shade=float(ok.mean()),
        )

    return Cell("Worst case", joined[0].eps_label), cell
