"""Models and measurements listed in full: two tables and `results.csv`.

records_table(results)     # rounded, for reading
records_csv(results)       # the same at full precision, for a spreadsheet
"""

import csv
import io
import json

from tf_advdefense.evaluation.records import RECORD
from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import tables
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Table


def models_table(results: Results) -> Table | None:
    header = [
        Cell(text)
        for text in (
            "Model",
            "Architecture",
            "Adversarial sets",
            "Seed",
            "Epochs",
            "Training images",
            "Parameters",
            "Validation %",
            "Test %",
        )
    ]
    names = protocols.ordered_models(results, results["models"])
    rows = [_model_row(results, name) for name in names]
    note = "Accuracy is on clean images, of the whole split."
    return (
        Table("What was measured", header, rows, "wide listing", note) if rows else None
    )


def _model_row(results, name):
    model = results["models"][name]
    sets = model.get("adv_data") or []
    sets = ", ".join([sets] if isinstance(sets, str) else sets)
    return [
        tables.model_cell(results, name),
        _text(model.get("model")),
        _text(sets or None),
        _text(model.get("seed")),
        _text(model.get("epochs")),
        Cell(formats.count(model.get("train_examples"))),
        Cell(formats.count(model.get("num_params"))),
        Cell(formats.percent(model.get("validation_accuracy"))),
        Cell(formats.percent(model.get("test_accuracy"))),
    ]


def _text(value):
    return tables.NONE if value is None else Cell(str(value))


def records_table(results: Results) -> Table | None:
    """Every record, one a row."""
    header = [
        Cell("Target", "source"),
        Cell("Attack", "parameters"),
        Cell("Images"),
        Cell("Accuracy", "95 % interval"),
        Cell("Fooled"),
    ]
    norms = [
        n
        for n in formats.NORMS
        if any(r.get(f"mean_l{n}") is not None for r in results["records"])
    ]
    header += [Cell(f"{formats.norm(n)} mean", "median") for n in norms]
    header += [Cell("Passes", "time")]
    rows = [_record_row(record, norms) for record in results["records"]]
    note = "Distances are over the fooled images, in units of images in [0, 1]."
    caption = "Every measurement with all its settings"
    return Table(caption, header, rows, "wide listing", note) if rows else None


def _record_row(record, norms):
    low_high = formats.interval(record["interval"])
    return [
        _target(record),
        _attack(record),
        Cell(formats.count(record["num_examples"])),
        Cell(formats.percent(record["accuracy"]), low_high),
        Cell(formats.count(record.get("fooled"))),
        *(_lengths(record, norm) for norm in norms),
        Cell(_passes(record), formats.seconds(record.get("seconds"))),
    ]


def _passes(record):
    """Forward and backward passes per image."""
    counts = (formats.count(record.get(key)) for key in ("forwards", "backwards"))
    return " / ".join(counts)


def _target(record):
    source = f"from {formats.code(record['source'])}" if record.get("source") else ""
    mark = protocols.WHITE_BOX if record["setting"] == protocols.WHITE_BOX else ""
    return Cell(formats.code(record["target"]), source, mark)


def _attack(record):
    norm = formats.norm(record["norm"]) if record.get("norm") else ""
    text = filter(None, [formats.attack(record), norm, formats.eps(record)])
    detail = [formats.params(record.get("params") or {}), record.get("adv_set") or ""]
    return Cell(", ".join(text), "\n".join(filter(None, detail)))


def _lengths(record, norm):
    mean, median = (
        formats.distance(record.get(f"{kind}_l{norm}")) for kind in ("mean", "median")
    )
    return Cell(mean, "" if median == formats.NONE else median)


CSV_COLUMNS = [
    *(name for name in RECORD if name != "interval"),
    "interval_low",
    "interval_high",
]


def records_csv(results: Results) -> str:
    """All records at full precision, one a line, parameters and signs as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    for record in results["records"]:
        low, high = record["interval"]
        writer.writerow(
            {
                **record,
                "interval_low": low,
                "interval_high": high,
                **{
                    key: json.dumps(record.get(key) or {}, sort_keys=True)
                    for key in ("params", "signs")
                },
            }
        )
    return text.getvalue()
