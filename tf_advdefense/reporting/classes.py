"""Robustness of each class: an average over classes may hide one that always falls.

class_table(results, per_example, board)    # None where no record says the classes
"""

import numpy as np

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import tables
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Table
from tf_advdefense.reporting.formats import code
from tf_advdefense.reporting.standings import Standings

_MOST = 20  # Classes; of more no table is read.


def class_table(
    results: Results, per_example: PerExample, board: Standings
) -> Table | None:
    """Worst case of every model on every class, and below it clean accuracy."""
    judged = {row.model: _judged(per_example, row) for row in board.rows}
    judged = {model: found for model, found in judged.items() if found}
    classes = sorted({int(c) for label, *_ in judged.values() for c in label})
    if not judged or len(classes) > _MOST:
        return None
    rows = [
        [Cell(code(model)), *(_cell(*found, c) for c in classes)]
        for model, found in judged.items()
    ]
    counts = [int((label == c).sum()) for label, *_ in judged.values() for c in classes]
    attacked = any(worst is not None for _, _, worst in judged.values())
    what = "under every attack tried" if attacked else "on clean images"
    note = f"Accuracy in %, {what}" + ", and below it clean, of the same images" * (
        attacked
    )
    return Table(
        "Robustness of each class" if attacked else "Accuracy of each class",
        [Cell("Model"), *(Cell(_name(results, c)) for c in classes)],
        rows,
        layout="heat",
        note=f"{note}. {formats.numbers(counts, 'images of a class')}",
    )


def _judged(per_example, row):
    """(label, right when clean, right in the worst case or None), image by image."""
    key = row.clean and row.clean["key"]
    if not all(f"{key}/{name}" in per_example for name in ("index", "label")):
        return None
    index, label = (per_example[f"{key}/{name}"] for name in ("index", "label"))
    if row.headline is None:
        known = f"{key}/ok" in per_example
        return (label, per_example[f"{key}/ok"], None) if known else None
    shared, here, there = np.intersect1d(index, row.headline.index, return_indices=True)
    if not len(shared):
        return None
    return label[here], row.headline.clean_ok[there], row.headline.ok[there]


def _cell(label, clean_ok, worst, which):
    chosen = label == which
    if not chosen.any():
        return tables.NONE
    clean = float(clean_ok[chosen].mean())
    if worst is None:
        return Cell(formats.percent(clean), shade=clean)
    robust = float(worst[chosen].mean())
    return Cell(formats.percent(robust), formats.percent(clean), shade=robust)


def _name(results, which):
    names = results.get("dataset", {}).get("class_names") or []
    return str(names[which]) if which < len(names) else str(which)
