"""The tables of a report, as blocks of `document`, and `results.csv`.

    accuracy_table(results, protocol)          # models x conditions, the paper's Figure 4
    gain_table(results, per_example, protocol) # the same cells against a baseline

Every number is a record's, or is counted from the per-example arrays. A table that
would be empty is None.
"""

import csv
import io
import json

from tf_advdefense.reporting import formats, protocols, statistics
from tf_advdefense.reporting.document import Cell, Table

WHITE_BOX = "white-box"
_NONE = Cell(formats.NONE)


def accuracy_table(results, protocol):
    """Accuracy of every model under every condition, with intervals and counts."""
    if not protocol.attacked():
        return None
    rows = [[_model_cell(results, model)]
            + [_accuracy_cell(protocol, model, c) for c in protocol.conditions]
            for model in protocol.models]
    return Table(_accuracy_caption(protocol), _header(protocol, protocol.conditions),
                 rows)


def _accuracy_caption(protocol):
    images = ("All examples were crafted on "
              f"{formats.code(protocol.source)}: its own row is marked {WHITE_BOX}, "
              "all other rows are transfer." if protocol.source else
              "Source and target are the same model in every attacked cell.")
    return (f"Accuracy in %, with the 95 % interval and the number of images. {images} "
            "An attacked image counts if its clean copy is classified correctly too.")


def _header(protocol, conditions):
    return [Cell("Model")] + [
        Cell(c.label, _budget(c, protocol.conditions)) for c in conditions]


def _budget(condition, conditions):
    """The eps or the norm, and what else tells this column from its neighbours."""
    twins = [c for c in conditions if c != condition and
             (c.attack, c.norm, c.eps) == (condition.attack, condition.norm,
                                           condition.eps)]
    settings = condition.settings()
    differing = {name: settings.get(name, formats.NONE)
                 for name in {n for c in twins for n in (*c.settings(), *settings)}
                 if any(c.settings().get(name) != settings.get(name) for c in twins)}
    same_norm = all(c.norm == condition.norm or c.attack != condition.attack
                    for c in conditions)
    parts = [condition.budget, formats.params(differing)]
    if condition.eps_label and not same_norm:
        parts.append(formats.norm(condition.norm or None))
    if twins and not differing:
        parts.append(condition.adv_set)
    return ", ".join(filter(None, parts)) if condition.attack != "clean" else ""


def _model_cell(results, name):
    model = results["models"].get(name, {})
    role = model.get("role", "target")
    what = [] if role == "target" else [role]
    return Cell(formats.code(name), ", ".join(
        [*what, formats.defense(model.get("defense"))]) if model else "")


def _accuracy_cell(protocol, model, condition):
    record = protocol.cells.get((model, condition))
    if record is None:
        return _NONE
    detail = (f"{formats.interval(record['interval'])}\n"
              f"n = {formats.count(record['num_examples'])}")
    mark = WHITE_BOX if protocol.reference(model, condition) else ""
    return Cell(formats.percent(record["accuracy"]), detail, mark, record["accuracy"])


def gain_table(results, per_example, protocol):
    """Paired differences to the baseline, and of defended models to the control."""
    rows = [[Cell(formats.code(first), f"against {formats.code(second)}")]
            + [_gain_cell(per_example, protocol, first, second, c)
               for c in protocol.conditions]
            for first, second in comparisons(results, protocol)]
    rows = [row for row in rows if any(cell != _NONE for cell in row[1:])]
    caption = (
        "Difference in accuracy, in points, on the images that both models were scored "
        "on; below it the images that only the first and only the second model gets "
        "right, and the exact McNemar p-value.")
    return Table(caption, _header(protocol, protocol.conditions), rows) if rows else None


def comparisons(results, protocol):
    """(model, reference) pairs worth a row; the reference is a baseline or control."""
    models = protocols.challengers(results, protocol.models)
    controls = [m for m in models if protocols.role(results, m) == "control"]
    pairs = [(m, protocols.baseline_of(results, m)) for m in models]
    pairs += [(m, c) for m in models for c in controls if m not in controls]
    return [(first, second) for first, second in pairs if second in protocol.models]


def gain(per_example, protocol, first, second, condition):
    """`statistics.Pair` of two models under one condition, or None."""
    keys = [protocol.cells.get((model, condition), {}).get("key")
            for model in (first, second)]
    return None if None in keys else statistics.paired(per_example, *keys)


def _gain_cell(per_example, protocol, first, second, condition):
    pair = gain(per_example, protocol, first, second, condition)
    if pair is None:
        return _NONE
    detail = f"{pair.only_first} : {pair.only_second}\n{formats.p_value(pair.p)}"
    return Cell(formats.points(pair.gain), detail)


def distance_table(results, protocol):
    """Success rate and length of minimal-norm attacks, the smaller the easier."""
    attacks = [c for c in protocol.conditions if c.kind == protocols.MINIMAL_NORM]
    rows = [[_model_cell(results, model), Cell(condition.label, condition.budget)]
            + _distance_cells(protocol.cells[model, condition])
            for condition in attacks for model in protocol.models
            if (model, condition) in protocol.cells]
    caption = (
        "Attacks that look for the smallest change. Success is the share, in %, of "
        "correctly classified images that were fooled; distances are over those, in "
        "units of images in [0, 1].")
    header = [Cell("Model"), Cell("Attack"), Cell("Success", "95 % interval"),
              Cell("Mean distance"), Cell("Median distance")]
    return Table(caption, header, rows) if rows else None


def _distance_cells(record):
    fooled, attacked = record["fooled"], record["clean_correct"]
    success = _NONE
    if attacked:
        bounds = formats.interval(statistics.wilson(fooled, attacked))
        success = Cell(formats.percent(fooled / attacked),
                       f"{bounds}\n{formats.count(fooled)} of {formats.count(attacked)}")
    norm = record.get("norm") or "2"
    return [success] + [Cell(formats.distance(record.get(f"{kind}_l{norm}")))
                        for kind in ("mean", "median")]


def models_table(results):
    header = [Cell(text) for text in (
        "Model", "Architecture", "Adversarial sets", "Seed", "Epochs",
        "Training images", "Parameters", "Validation %", "Test %")]
    names = protocols.ordered_models(results, results["models"])
    rows = [_model_row(results, name) for name in names]
    caption = "Accuracy is on clean images, of the whole split."
    return Table(caption, header, rows, layout="wide") if rows else None


def _model_row(results, name):
    model = results["models"][name]
    sets = model.get("adv_data") or []
    sets = ", ".join([sets] if isinstance(sets, str) else sets)
    return [
        _model_cell(results, name), _text(model.get("model")), _text(sets or None),
        _text(model.get("seed")), _text(model.get("epochs")),
        Cell(formats.count(model.get("train_examples"))),
        Cell(formats.count(model.get("num_params"))),
        Cell(formats.percent(model.get("validation_accuracy"))),
        Cell(formats.percent(model.get("test_accuracy")))]


def _text(value):
    return _NONE if value is None else Cell(str(value))


def records_table(results):
    """Every record, one a row."""
    header = [Cell("Target", "source"), Cell("Attack", "parameters"), Cell("Images"),
              Cell("Accuracy", "95 % interval"), Cell("Fooled")]
    header += [Cell(f"{formats.norm(n)} mean", "median") for n in formats.NORMS]
    header += [Cell("Passes", "time")]
    rows = [_record_row(record) for record in results["records"]]
    caption = ("Every measurement with all its settings; distances are over the fooled "
               "images, in units of images in [0, 1].")
    return Table(caption, header, rows, layout="wide") if rows else None


def _record_row(record):
    source = f"from {formats.code(record['source'])}" if record.get("source") else ""
    attack = " ".join(filter(None, [
        formats.attack(record["attack"]), formats.norm(record.get("norm") or None)
        if record.get("norm") else "", formats.eps(record)]))
    row = [
        Cell(formats.code(record["target"]), source,
             WHITE_BOX if record["setting"] == WHITE_BOX else ""),
        Cell(attack, formats.params(record.get("params") or {})),
        Cell(formats.count(record["num_examples"])),
        Cell(formats.percent(record["accuracy"]), formats.interval(record["interval"])),
        Cell(formats.count(record.get("fooled")))]
    row += [_lengths(record, norm) for norm in formats.NORMS]
    time = record.get("seconds")
    return row + [Cell(formats.count(record.get("passes")),
                       formats.seconds(time) if time is not None else "")]


def _lengths(record, norm):
    mean, median = (record.get(f"{kind}_l{norm}") for kind in ("mean", "median"))
    return Cell(formats.distance(mean), formats.distance(median) if median is not None
                else "")


CSV_COLUMNS = (
    "key", "target", "source", "setting", "attack", "norm", "kind", "eps", "eps_text",
    "params", "adv_set", "num_examples", "clean_correct", "correct", "accuracy",
    "interval_low", "interval_high", "fooled", "mean_l0", "median_l0", "mean_l1",
    "median_l1", "mean_l2", "median_l2", "mean_linf", "median_linf", "passes",
    "seconds")


def records_csv(results):
    """All records at full precision, one a line, parameters as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore",
                            lineterminator="\n")
    writer.writeheader()
    for record in results["records"]:
        low, high = record["interval"]
        writer.writerow({
            **record, "interval_low": low, "interval_high": high,
            "params": json.dumps(record.get("params") or {}, sort_keys=True)})
    return text.getvalue()
