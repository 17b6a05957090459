"""The tables of a report, as blocks of `document`.

    accuracy_table(results, protocol)           # models x conditions: Figure 4
    gain_table(results, per_example, protocol)  # the same cells against a baseline

Every number is a record's, or is counted from the per-example arrays. A table that
would be empty is None.
"""

from tf_advdefense.evaluation import statistics
from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Table

NONE = Cell(formats.NONE)
TRAINED_ON = "trained on"


def accuracy_table(results: Results, protocol: protocols.Protocol) -> Table | None:
    """Accuracy of every model under every condition, with intervals and counts."""
    if not protocol.attacked():
        return None
    rows = [
        [model_cell(results, model)]
        + [accuracy_cell(results, protocol, model, c) for c in protocol.conditions]
        for model in protocol.models
    ]
    header = _header(protocol, protocol.conditions)
    caption = protocol.title + (", in transfer" if protocol.source else ", white-box")
    return Table(caption, header, rows, note=_accuracy_note(results, protocol))


def _accuracy_note(results, protocol):
    images = "Source and target are the same model in every attacked cell."
    if protocol.source:
        images = f"All examples were crafted on {formats.code(protocol.source)}"
        images += (
            ": its own cells are marked white-box, all others are transfer."
            if any(protocol.is_own(*cell) for cell in protocol.cells)
            else ", so all is transfer."
        )
        if any(protocols.seen(results, protocol, model) for model in protocol.models):
            images += (
                f" Models marked {TRAINED_ON} saw examples of that source in "
                "training; for all others it is held out."
            )
    return (
        f"Accuracy in %, with the 95 % interval and the number of images. {images} "
        "An attacked image counts if its clean copy is classified correctly too; "
        "where fewer images were attacked, their own clean accuracy stands below."
    )


def _header(protocol, conditions):
    return [Cell("Model")] + [Cell(c.label, budget(protocol, c)) for c in conditions]


def budget(protocol: protocols.Protocol, condition: protocols.Condition) -> str:
    """The smaller line of a column's heading."""
    return protocol.budget(condition) or formats.NORMS.get(condition.norm, "")


def model_cell(results: Results, name: str) -> Cell:
    """A row's heading: the model, its role if it is no target, its defence."""
    model = results["models"].get(name)
    return Cell(formats.code(name), _nature(model) if model else "")


def _nature(model):
    if model.get("adapted") is not None:  # Of its training nothing is known.
        return "from elsewhere"
    role = model.get("role", "target")
    what = [] if role == "target" else [role]
    return ", ".join([*what, formats.defense(model.get("defense"))])


def heat_cell(
    results: Results,
    protocol: protocols.Protocol,
    model: str,
    condition: protocols.Condition,
) -> Cell:
    """Accuracy alone, shaded; marked where it is not what its column says."""
    record = protocol.cells.get((model, condition))
    if record is None:
        return NONE
    mark = _mark(results, protocol, model, condition)
    return Cell(formats.percent(record["accuracy"]), "", mark, record["accuracy"])


def accuracy_cell(
    results: Results,
    protocol: protocols.Protocol,
    model: str,
    condition: protocols.Condition,
) -> Cell:
    """Accuracy, interval and number of images; a dash where nothing was measured."""
    record = protocol.cells.get((model, condition))
    mark = _mark(results, protocol, model, condition)
    return _scored(record, mark, _number_clean(protocol, model))


def _mark(results, protocol, model, condition):
    """Says that a cell of a transfer table is not held out."""
    if protocol.is_own(model, condition):
        return protocols.WHITE_BOX
    attacked = condition.attack != protocols.CLEAN
    return TRAINED_ON * (attacked and protocols.seen(results, protocol, model))


def _number_clean(protocol, model):
    """How many images the model's clean accuracy is of."""
    clean = (
        record
        for (name, condition), record in protocol.cells.items()
        if name == model and condition.attack == protocols.CLEAN and record is not None
    )
    return next((record["num_examples"] for record in clean), None)


def _scored(record, mark="", number_clean=None):
    """The cell; with what was right clean where that is of other images than above."""
    if record is None:
        return NONE
    count = record["num_examples"]
    lines = [formats.interval(record["interval"]), f"n = {formats.count(count)}"]
    if number_clean not in (None, count):
        lines.append(f"of {formats.percent(record['clean_correct'] / count)} clean")
    text = formats.percent(record["accuracy"])
    return Cell(text, "\n".join(lines), mark, record["accuracy"])


def oblivious_table(results: Results, protocol: protocols.Protocol) -> Table | None:
    """Two rows for each model whose defence an attacker may overlook."""
    overlooked = protocols.oblivious(results, protocol)
    models = [m for m in protocol.models if any(m == model for model, _ in overlooked)]
    rows = []
    for model in models:
        for setting, cells in (("oblivious", overlooked), ("adaptive", protocol.cells)):
            rows.append(
                [Cell(formats.code(model), f"{setting} attacker")]
                + [_scored(cells.get((model, c))) for c in protocol.attacked()]
            )
    note = (
        "Accuracy in %, with the 95 % interval and the number of images, of the whole "
        "model, on examples of an attacker who overlooks its defence (oblivious) and "
        "of one who attacks through it (adaptive: the white-box row above). Only the "
        "adaptive row tells how robust the model is."
    )
    header = _header(protocol, protocol.attacked())
    caption = "Attacks that overlook the defence, and attacks through it"
    return Table(caption, header, rows, note=note) if rows else None


def gain_table(
    results: Results, per_example: PerExample, protocol: protocols.Protocol
) -> Table | None:
    """Paired differences to the baseline, and of defended models to the control."""
    rows = [
        [Cell(formats.code(first), f"against {formats.code(second)}")]
        + [
            _gain_cell(per_example, protocol, first, second, c)
            for c in protocol.conditions
        ]
        for first, second in comparisons(results, protocol)
    ]
    rows = [row for row in rows if any(cell != NONE for cell in row[1:])]
    note = (
        "Difference in accuracy, in points, on the images that both models were scored "
        "on; below it the images that only the first and only the second model gets "
        "right, and the exact McNemar p-value."
    )
    header = _header(protocol, protocol.conditions)
    caption = f"{protocol.title}: paired differences"
    return Table(caption, header, rows, note=note) if rows else None


def comparisons(
    results: Results, protocol: protocols.Protocol
) -> list[tuple[str, str]]:
    """(model, reference) pairs worth a row; the reference is a baseline or control."""
    models = protocols.challengers(results, protocol.models)
    controls = [m for m in models if protocols.role(results, m) == "control"]
    pairs = [(m, protocols.baseline_of(results, m)) for m in models]
    pairs += [(m, c) for m in models for c in controls if m not in controls]
    return [(first, second) for first, second in pairs if second in protocol.models]


def gain(
    per_example: PerExample,
    protocol: protocols.Protocol,
    first: str,
    second: str,
    condition: protocols.Condition,
) -> statistics.Pair | None:
    """`statistics.Pair` of two models under one condition, or None."""
    keys = [
        protocol.cells.get((model, condition), {}).get("key")
        for model in (first, second)
    ]
    return None if None in keys else statistics.paired(per_example, *keys)


def _gain_cell(per_example, protocol, first, second, condition):
    pair = gain(per_example, protocol, first, second, condition)
    if pair is None:
        return NONE
    detail = f"{pair.only_first} : {pair.only_second}\n{formats.p_value(pair.p)}"
    return Cell(formats.points(pair.gain), detail)


def distance_table(results: Results, protocol: protocols.Protocol) -> Table | None:
    """Success rate and length of minimal-norm attacks, the smaller the easier."""
    attacks = [c for c in protocol.conditions if c.goal == protocols.MINIMAL_NORM]
    rows = [
        [
            model_cell(results, model),
            Cell(attack.label, budget(protocol, attack)),
            *_distance_cells(protocol.cells[model, attack]),
        ]
        for attack in attacks
        for model in protocol.models
        if (model, attack) in protocol.cells
    ]
    note = (
        "Attacks that look for the smallest change. Success is the share, in %, of "
        "correctly classified images that were fooled; distances are over those, in "
        "units of images in [0, 1]."
    )
    header = [
        Cell("Model"),
        Cell("Attack"),
        Cell("Success", "95 % interval"),
        Cell("Mean distance"),
        Cell("Median distance"),
    ]
    caption = "Distances that white-box attacks need"
    return Table(caption, header, rows, note=note) if rows else None


def _distance_cells(record):
    fooled, attacked = record["fooled"], record["clean_correct"]
    success = NONE
    if attacked:
        bounds = formats.interval(wilson(fooled, attacked))
        counts = f"{formats.count(fooled)} of {formats.count(attacked)}"
        success = Cell(formats.percent(fooled / attacked), f"{bounds}\n{counts}")
    norm = record.get("norm") or "2"
    return [success] + [
        Cell(formats.distance(record.get(f"{kind}_l{norm}")))
        for kind in ("mean", "median")
    ]
