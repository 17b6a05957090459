"""The leaderboard: every model's worst case beside its clean accuracy, as a block.

leaderboard(results, board)
"""

from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.threat_models import ThreatModel
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import tables
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Dots
from tf_advdefense.reporting.document import Table
from tf_advdefense.reporting.standings import Standing
from tf_advdefense.reporting.standings import Standings


def leaderboard(results: Results, board: Standings) -> Table | None:
    """A row for each model, best first: plot, worst cases, distance and clean."""
    columns = [
        (Cell("0|50|100 %"), _dots),
        *(
            (_heading(threat, len(board.threats)), _worst_of(i))
            for i, threat in enumerate(board.threats)
        ),
        *_distance_column(board),
        (Cell("Clean"), _clean),
    ]
    rows = [
        [tables.model_cell(results, row.model), *(cell(row) for _, cell in columns)]
        for row in board.rows
    ]
    header = [Cell("Model"), *(heading for heading, _ in columns)]
    return Table(_caption(board), header, rows, "board", _note(board)) if rows else None


def _caption(board):
    if not board.threats:
        return "Models by distance" if _distance_column(board) else "Models by accuracy"
    return f"Models by worst case, {formats.threat(board.threats[0])}"


def _note(board):
    if not board.threats:
        images = [row.clean["num_examples"] for row in board.rows if row.clean]
        return "Clean accuracy in %, with its 95 % interval. " + formats.numbers(images)
    return (
        "Worst case: the share, in %, of images that are right when clean and under "
        f"every attack tried, with its 95 % interval. {_attacked_images(board)}"
        f"{_clean_images(board)}"
    )


def _attacked_images(board):
    """How many images the worst cases are of, under each threat model."""
    told: dict[str, list[str]] = {}
    for i, threat in enumerate(board.threats):
        images = [row.worst[i].num_examples for row in board.rows if row.worst[i]]
        told.setdefault(formats.spread(images), []).append(formats.ball(threat))
    if len(told) == 1:
        return f"n = {next(iter(told))} images."
    parts = [f"{images} at {formats.listing(balls)}" for images, balls in told.items()]
    return f"n = {formats.listing(parts)}."


def _clean_images(board):
    images = [row.clean["num_examples"] for row in board.rows if row.clean]
    return f" Clean: of {formats.spread(images)}." if images else ""


def _heading(threat: ThreatModel, number: int) -> Cell:
    title = "Worst case" if number == 1 else formats.threat(threat)
    return Cell(title, "95 % interval")


def _worst_of(i):
    def cell(row: Standing) -> Cell:
        worst = row.worst[i]
        if worst is None:
            return tables.NONE
        interval = formats.interval(worst.interval)
        return Cell(formats.percent(worst.accuracy), interval)

    return cell


def _distance_column(board):
    """Only where there is no ball: else the table of attacks has the distances."""
    nearest = next((row.nearest for row in board.rows if row.nearest), None)
    if board.threats or nearest is None:
        return []
    norm = formats.norm(nearest["norm"] or "2")
    heading = Cell(f"{norm} distance", f"median, {formats.attack(nearest)}")
    return [(heading, lambda row: Cell(formats.distance(row.distance)))]


def _clean(row: Standing) -> Cell:
    return Cell(formats.percent(row.clean_accuracy))


def _dots(row: Standing) -> Cell:
    """Clean and worst case on one axis; both of a model, or what is known of it."""
    worst, clean = row.headline, row.clean_accuracy
    if worst is None and row.clean is None:
        return tables.NONE
    low, high = worst.interval if worst else row.clean["interval"]
    told = [f"{100 * clean:.0f} % clean"]
    if worst:
        told.append(
            f"{100 * worst.accuracy:.0f} % in the worst case, between "
            f"{100 * low:.0f} and {100 * high:.0f}"
        )
    text = f"{row.model}: {', '.join(told)}"
    return Cell("", dots=Dots(clean, worst and worst.accuracy, low, high, text))
