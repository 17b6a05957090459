"""The first thing a report says: how robust the model is, or which model is most so.

    found = verdict(results, board)
    found.before + found.number + found.after
    spoken(results, per_example)                 # the same as a line of text
    of_model(results, per_example, "mine")       # of one model of several

It speaks of worst cases if a ball was attacked, else of the distances that attacks
needed, and without any attack of clean accuracy.
"""

from dataclasses import dataclass

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.threat_models import KNOWLEDGE
from tf_advdefense.evaluation.threat_models import knowledge_of
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import reference
from tf_advdefense.reporting.formats import code
from tf_advdefense.reporting.standings import Standings
from tf_advdefense.reporting.standings import completed
from tf_advdefense.reporting.standings import standings

_NAMED = 3  # attacks; more are "every attack tried"


@dataclass(frozen=True)
class Verdict:
    """A sentence around the number that counts, and sentences that support it."""

    before: str
    number: str = ""
    after: str = ""
    support: tuple[str, ...] = ()


def verdict(results: Results, board: Standings) -> Verdict:
    """The verdict on one model, or on several."""
    if not board.rows:
        return Verdict("No model was measured.")
    if board.threats and board.rows[0].headline:
        speak = _one_robust if len(board.rows) == 1 else _best_robust
    elif board.rows[0].distance is not None:
        speak = _furthest
    else:
        speak = _clean
    return speak(results, board)


def of_model(results: Results, per_example: PerExample, name: str) -> str:
    """The verdict on one model of several, as a line of text."""
    records = [r for r in results["records"] if r["target"] == name]
    models = {name: results["models"][name]}
    return spoken({**results, "records": records, "models": models}, per_example)


def spoken(results: Results, per_example: PerExample) -> str:
    """The verdict on all models, as a line of text."""
    results = completed(results)
    found = verdict(results, standings(results, per_example))
    sentence = found.before + found.number + found.after
    return " ".join([sentence, *found.support]).replace("`", "")


def kicker(results: Results, board: Standings) -> list[str]:
    """Of what the verdict is: data, models, and what the attacker may do."""
    data = results.get("dataset", {})
    number = len(board.rows)
    said = ["Robustness report", data.get("name"), (data.get("note") or "").rstrip(".")]
    said.append(f"{number} model{'s' * (number != 1)}")
    if board.threats:
        threat = board.threats[0]
        adaptive = ", adaptive" * (threat.knowledge == "white-box")
        said += [formats.threat(threat), f"{threat.knowledge}{adaptive}"]
    return [str(part) for part in said if part]


def _one_robust(results, board):
    (row,) = board.rows
    worst, threat = row.headline, board.threats[0]
    return Verdict(
        f"Of {formats.count(worst.num_examples)} images {code(row.model)} classifies "
        f"{formats.percent(worst.clean_accuracy)} % correctly; under "
        f"{_attacks(results, worst)} at {formats.ball(threat)} it keeps ",
        f"{formats.percent(worst.accuracy)} %",
        f" ({formats.interval(worst.interval)}).",
        tuple(
            filter(
                None,
                (
                    _attacked_less(results, board),
                    _other_balls(board, row),
                    _whole_split(row),
                    *reference.sentences(results, row.model)[:1],
                ),
            )
        ),
    )


def _best_robust(results, board):
    best = board.rows[0]
    worst = best.headline
    number = f"{formats.percent(worst.accuracy)} %"
    under = f"under {_attacks(results, worst)}"
    if not worst.correct:
        return Verdict(
            f"No model holds out: {under} at {formats.ball(board.threats[0])} each "
            "is right on ",
            number,
            f" of its images, the best one of {formats.count(worst.num_examples)}.",
        )
    alike = _tied(board)
    names = formats.listing([code(row.model) for row in alike])
    holds, it = ("holds", "it") if len(alike) == 1 else ("hold", "each")
    support = [
        f"95 % interval {formats.interval(worst.interval)} %.",
        _attacked_less(results, board),
        _whole_split(best),
        _not_told_apart(board),
        _beside(results, board),
        _other_balls(board, best),
    ]
    return Verdict(
        f"{names} {holds} out best: {under} {it} is right on ",
        number,
        f" of {formats.count(worst.num_examples)} images, left alone on "
        f"{formats.percent(worst.clean_accuracy)} % of them.",
        tuple(filter(None, support)),
    )


def _tied(board):
    """The models that are exactly as good as the first, on as many images."""
    first = board.rows[0].headline
    return [
        row
        for row in board.rows
        if row.headline
        and (row.headline.correct, row.headline.num_examples)
        == (first.correct, first.num_examples)
        and row.headline.clean_accuracy == first.clean_accuracy
    ]


def _attacks(results, worst):
    """The attacks at this radius if they are few."""
    labels = {
        formats.attack(record): None
        for record in results["records"]
        if record["key"] in worst.keys
    }
    if 0 < len(labels) <= _NAMED:
        return formats.listing(list(labels))
    return "every attack tried"


def _attacked_less(results, board):
    """Says so if no attacker at this radius knew as much as the threat model grants."""
    best, threat = board.rows[0], board.threats[0]
    known = {
        knowledge_of(record)
        for record in results["records"]
        if record["key"] in best.headline.keys
    }
    if threat.knowledge in known or not known:
        return ""
    most = max(known, key=KNOWLEDGE.index)
    return (
        f"Beware: at this radius {code(best.model)} met no {threat.knowledge} attack, "
        f"only {most}."
    )


def _whole_split(row):
    clean = row.clean
    if not clean or clean["num_examples"] <= row.headline.num_examples:
        return ""
    images = formats.count(clean["num_examples"])
    return f"Clean: {formats.percent(clean['accuracy'])} % of all {images} images."


def _not_told_apart(board):
    if not board.rivals:
        return "Every other model is told apart from it by the exact McNemar test."
    names = formats.listing([code(name) for name in board.rivals])
    return f"Not told apart from it: {names}."


def _beside(results, board):
    """The undefended model, for comparison."""
    name = protocols.baseline_of(results, board.rows[0].model)
    row = board.of(name) if name else None
    if row is None or row.headline is None:
        return ""
    return (
        f"The undefended {code(name)} keeps "
        f"{formats.percent(row.headline.accuracy)} % of images, of "
        f"{formats.percent(row.headline.clean_accuracy)} % when left alone."
    )


def _other_balls(board, row):
    told = [
        f"{formats.percent(worst.accuracy)} % at {formats.ball(threat)}"
        for threat, worst in zip(board.threats[1:], row.worst[1:])
        if worst
    ]
    return f"Also: {formats.listing(told)}." if told else ""


def _furthest(results, board):
    best = board.rows[0]
    record = best.nearest
    norm, attack = formats.norm(record["norm"] or "2"), formats.attack(record)
    distance = formats.distance(best.distance)
    fooled = formats.percent(record["fooled"] / max(record["clean_correct"], 1))
    support = [
        f"It fools {fooled} % of the images that {code(best.model)} classifies "
        "correctly; the distance is the median over those, in units of images in "
        "[0, 1]."
    ]
    support.append(_unknown(results))
    baseline = protocols.baseline_of(results, best.model)
    other = board.of(baseline) if baseline else None
    if other and other.distance is not None:
        support.append(
            f"The undefended {code(baseline)} takes {formats.distance(other.distance)}."
        )
    if len(board.rows) == 1:
        before = f"To fool {code(best.model)} {attack} needs a distance of {norm} "
    else:
        before = f"{code(best.model)} is hardest to fool: {attack} needs {norm} "
    return Verdict(before, distance, ".", tuple(filter(None, support)))


def _unknown(results):
    """Where balls were attacked, and yet no worst case is known."""
    if not any(r["goal"] == protocols.FIXED_EPS for r in results["records"]):
        return ""
    return "Attacks were scored, but not image by image, so there is no worst case."


def _clean(results, board):
    best = max(board.rows, key=lambda row: row.clean_accuracy or 0)
    attacked = any(not protocols.is_clean(r) for r in results["records"])
    reason = _unknown(results) if attacked else "No attack was run."
    if best.clean is None:
        return Verdict("What was measured has no worst case.", support=(reason,))
    number = f"{formats.percent(best.clean['accuracy'])} %"
    images = formats.count(best.clean["num_examples"])
    most = "" if len(board.rows) == 1 else ", the most of all models"
    interval = f"95 % interval {formats.interval(best.clean['interval'])} %."
    support = tuple(filter(None, (interval, reason)))
    return Verdict(
        f"{code(best.model)} classifies ",
        number,
        f" of {images} clean images correctly{most}.",
        support,
    )
