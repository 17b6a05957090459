"""What a report says, in which order: from results to `document.Report`.

build_report(results, per_example, examples)
"""

from collections.abc import Sequence
from typing import Any

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import classes
from tf_advdefense.reporting import curves
from tf_advdefense.reporting import definitions
from tf_advdefense.reporting import deployed
from tf_advdefense.reporting import distributions
from tf_advdefense.reporting import draws
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import grids
from tf_advdefense.reporting import leaderboard
from tf_advdefense.reporting import listings
from tf_advdefense.reporting import overview
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import reference
from tf_advdefense.reporting import seeds
from tf_advdefense.reporting import summary
from tf_advdefense.reporting import tables
from tf_advdefense.reporting import transfer
from tf_advdefense.reporting import verdict
from tf_advdefense.reporting.document import Bullets
from tf_advdefense.reporting.document import Code
from tf_advdefense.reporting.document import Figures
from tf_advdefense.reporting.document import Flags
from tf_advdefense.reporting.document import Prose
from tf_advdefense.reporting.document import Report
from tf_advdefense.reporting.document import Section
from tf_advdefense.reporting.document import with_unique_names
from tf_advdefense.reporting.ink import SERIES
from tf_advdefense.reporting.standings import Standings
from tf_advdefense.reporting.standings import completed
from tf_advdefense.reporting.standings import standings


def build_report(
    results: Results, per_example: PerExample, examples: Sequence[dict[str, Any]] = ()
) -> Report:
    """The report's content; sections without a block are left out."""
    results = completed(results)
    board = standings(results, per_example)
    spoken = verdict.verdict(results, board)
    sections = _sections(results, per_example, examples, board)
    sections = [
        Section(s.title, [b for b in s.blocks if _says_something(b)], s.folded)
        for s in sections
    ]
    return Report(
        title=_title(results),
        kicker=verdict.kicker(results, board),
        before=spoken.before,
        number=spoken.number,
        after=spoken.after,
        support=list(spoken.support),
        flags=_flags(results),
        sections=with_unique_names([s for s in sections if s.blocks]),
    )


def _title(results):
    name = results.get("dataset", {}).get("name")
    return f"Adversarial robustness on {name}" if name else "Adversarial robustness"


def _says_something(block):
    """Whether there is a block, and anything in it."""
    empty = isinstance(block, Prose) and not block.text
    return bool(block) and not empty and getattr(block, "items", True) != []


def _flags(results):
    """Those of one kind together, in the order in which the kinds appear."""
    kinds: dict[str, list[tuple[str, ...]]] = {}
    for flag in results.get("flags") or []:
        entry = tuple(str(flag.get(key, "")) for key in ("where", "detail", "remedy"))
        kinds.setdefault(str(flag["flag"]), []).append(entry)
    return [Flags(kind, entries) for kind, entries in kinds.items()]


def _sections(results, per_example, examples, board):
    found = protocols.protocols(results)
    lineup = lineup_of(results, board)
    white_box = next((p for p in found if p.source is None), None)
    radius = overview.radius_of(board)
    return [
        Section(
            "Who holds out",
            [
                leaderboard.leaderboard(results, board),
                seeds.seeds_table(results, board),
                draws.draws_table(results),
            ],
        ),
        Section(
            "Against what",
            [
                Prose(summary.scope(results)),
                overview.overview_table(results, board),
                Prose(summary.left_out(results.get("stale_sets") or {})),
            ],
        ),
        Section("Attackers who overlook the defence", _oblivious(results, white_box)),
        Section("Transfer", transfer.matrix_tables(results, radius)),
        Section(
            "Beside the networks of the zoo",
            [
                *map(Prose, reference.sentences(results)),
                *reference.reference_tables(results),
            ],
        ),
        Section("Deployed models and their parents", _deployed(results)),
        Section(
            "Accuracy against the radius",
            [
                Prose(_drawn(board, lineup)),
                Figures(curves.curves(results, per_example, lineup, board.threats)),
            ],
        ),
        *_white_box_sections(results, per_example, white_box, lineup),
        Section("Each class", [classes.class_table(results, per_example, board)]),
        Section("Examples", [Figures(grids.figures(examples))]),
        Section("Paired tests", _tests(results, per_example, found)),
        Section(
            "Every condition, with intervals",
            [tables.accuracy_table(results, p) for p in found],
        ),
        Section("Models", [listings.models_table(results)]),
        Section("All measurements", [listings.records_table(results)], folded=True),
        Section("How this was made", _making(results)),
        Section("Definitions", [Bullets(definitions.DEFINITIONS)]),
    ]


def lineup_of(results: Results, board: Standings) -> dict[str, int]:
    """The models that are drawn, each with its place among the series.

    Of more than can be told apart they are the best, and the undefended one beside.
    """
    names = [row.model for row in board.rows]
    chosen = names[:SERIES]
    beside = protocols.baseline_of(results, names[0]) if names else None
    if beside in names and beside not in chosen:
        chosen[-1] = beside
    return {name: place for place, name in enumerate(chosen)}


def _drawn(board, lineup):
    left = len(board.rows) - len(lineup)
    if not left:
        return ""
    return (
        f"The figures show {len(lineup)} of {len(board.rows)} models: those that hold "
        "out best, and the undefended one beside them. All are in the tables."
    )


def _deployed(results):
    return list(map(Prose, deployed.agreement(results["records"], formats.code)))


def _oblivious(results, white_box):
    if white_box is None:
        return []
    return [
        Prose(summary.overlooked(results, white_box)),
        tables.oblivious_table(results, white_box),
    ]


def _white_box_sections(results, per_example, white_box, lineup):
    if white_box is None:
        return []
    how_far = distributions.distance_figures(per_example, white_box, lineup)
    effort = distributions.effort_figures(per_example, white_box, lineup)
    return [
        Section(
            "How far an attack must go",
            [
                Prose(summary.distances(white_box)),
                Figures(how_far),
                tables.distance_table(results, white_box),
            ],
        ),
        Section("How much work an attack is", [Figures(effort)]),
    ]


def _tests(results, per_example, found):
    return [
        *map(Prose, summary.tested(results, per_example)),
        *(tables.gain_table(results, per_example, p) for p in found),
    ]


def _making(results):
    data = results.get("dataset", {})
    commands = results.get("commands") or []
    packages = [f"{k} {v}" for k, v in (results.get("versions") or {}).items()]
    facts = [
        f"{key.replace('_', ' ').capitalize()}: {value}"
        for key, value in data.items()
        if key != "note" and isinstance(value, (str, int, float))
    ]
    return [
        Prose(f"Data set: {data['note']}" if data.get("note") else ""),
        Bullets(facts),
        Code(commands) if commands else None,
        Prose(f"Versions: {formats.listing(packages)}." if packages else ""),
    ]
