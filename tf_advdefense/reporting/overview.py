"""Every model under every attack at one radius: a heat table.

    overview_table(results, board)

Of an attack that was run at several radii the one nearest the headline's stands here;
the tables of all conditions have the others, and the intervals.
"""

from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import tables
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Table
from tf_advdefense.reporting.formats import code
from tf_advdefense.reporting.standings import Standings

RADIUS = 8 / 255  # where no ball was attacked


def radius_of(board: Standings) -> float:
    """The radius at which attacks stand side by side."""
    return board.threats[0].eps if board.threats else RADIUS


def overview_table(results: Results, board: Standings) -> Table | None:
    """Clean, white-box, worst case and transfer; None without an attack."""
    found = protocols.protocols(results)
    attacked = [
        (p, c) for p in found[::-1] for c in protocols.at_radius(p, radius_of(board))
    ]
    if not attacked:
        return None
    columns = _columns(results, board, attacked)
    models = [row.model for row in board.rows]
    rows = [
        [Cell(code(model)), *(cell(model) for _, cell in columns)] for model in models
    ]
    header = [Cell("Model"), *(heading for heading, _ in columns)]
    return Table(
        "Models against attacks, at one radius",
        header,
        rows,
        layout="heat",
        note=_note(board, attacked),
    )


def _columns(results, board, attacked):
    """[(heading, function from a model to its cell)], the worst case after the ball."""
    own = [(p, c) for p, c in attacked if not p.source]
    ball = [pc for pc in own if _in_ball(board, pc[1])]
    others = [pc for pc in attacked if pc not in ball]
    columns = [(Cell("Clean"), lambda model: _share(_clean(board, model)))]
    columns += [_column(results, board, *pc) for pc in ball]
    if board.threats:
        heading = Cell("Worst case", formats.ball(board.threats[0]))
        columns.append((heading, lambda model: _share(_worst(board, model))))
    return columns + [_column(results, board, *pc) for pc in others]


def _in_ball(board, condition):
    headline = board.threats[:1]
    return any(condition.norm == t.norm and _same(condition.eps, t) for t in headline)


def _same(eps, threat):
    return abs(eps - threat.eps) <= 1e-6 * threat.eps


def _clean(board, model):
    return board.of(model).clean_accuracy


def _worst(board, model):
    worst = board.of(model).headline
    return worst and worst.accuracy


def _share(share):
    return tables.NONE if share is None else Cell(formats.percent(share), shade=share)


def _column(results, board, protocol, condition):
    details = [] if _in_ball(board, condition) else [tables.budget(protocol, condition)]
    if protocol.source:
        details.append(f"from {code(protocol.source)}")
    if condition.goal == protocols.MINIMAL_NORM and not protocol.source:
        norm = condition.norm or "2"
        details = [f"mean {formats.norm(norm)}"]
        return Cell(condition.label, "\n".join(details)), _length(
            protocol, condition, norm
        )
    if _in_ball(board, condition):
        details.append(_twin(protocol, condition))
    heading = Cell(condition.label, "\n".join(filter(None, details)))
    return heading, lambda m: tables.heat_cell(results, protocol, m, condition)


def _twin(protocol, condition):
    """What tells an attack from another of the same name in the ball."""
    return protocol.budget(condition).removeprefix(condition.eps_label).strip(", ")


def _length(protocol, condition, norm):
    def cell(model):
        record = protocol.cells.get((model, condition)) or {}
        return Cell(formats.distance(record.get(f"mean_l{norm}")))

    return cell


def _note(board, attacked):
    """What the headings leave out, and how many images the columns are of."""
    said = ["Accuracy in %. Each model attacked itself, its defence included."]
    if board.threats:
        said[0] = f"Accuracy in %, at {formats.ball(board.threats[0])} where no radius "
        said[0] += "stands. Each model attacked itself, its defence included."
    if any(p.source for p, _ in attacked):
        said.append("Under “from” the examples were crafted on the model named.")
    if any(c.goal == protocols.MINIMAL_NORM and not p.source for p, c in attacked):
        said.append("A minimal-norm attack has no bound: its column is the distance.")
    said += [_numbers(board, attacked), "The tables of every condition have intervals."]
    return " ".join(said)


def _numbers(board, attacked):
    """Labels by how many images they are of."""
    clean = [row.clean["num_examples"] for row in board.rows if row.clean]
    columns = [("Clean", clean)] * bool(clean)
    columns += [
        (
            c.label + " in transfer" * bool(p.source),
            [record["num_examples"] for record in p.column(c)],
        )
        for p, c in attacked
    ]
    labels: dict[str, dict[str, None]] = {}
    for label, counts in columns:
        labels.setdefault(formats.spread(counts), {})[label] = None
    told = [f"{n} of {formats.listing(list(of))}" for n, of in labels.items()]
    return f"Images: {next(iter(labels)) if len(labels) == 1 else '; '.join(told)}."
