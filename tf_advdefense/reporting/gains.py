"""Which models are right more often than others, and whether that is their defence's.

    told_gains(results, per_example, protocol)    # "Attacked white-box, ..."
    told_control(results, per_example, protocol)  # "The control ..."

A model "gains" under an attack if it classifies more images than its reference and
exact McNemar on the common images gives p < 0.05, not corrected for the number of
attacks.
"""

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import tables
from tf_advdefense.reporting.formats import code
from tf_advdefense.reporting.standings import SIGNIFICANT

_MOST_TOLD_APART = 4  # models; of more, those that gain equally often share a phrase
_ENSEMBLES = ("ensemble", "ensemble_at")


def defended(
    results: Results, protocol: protocols.Protocol
) -> list[tuple[str, str | None]]:
    """The defended models, each with the baseline that it is compared with, or None."""
    return [
        (m, protocols.baseline_of(results, m))
        for m in protocol.models
        if not protocols.undefended(results, m)
        and protocols.role(results, m) != "source"
    ]


def told_gains(
    results: Results, per_example: PerExample, protocol: protocols.Protocol
) -> str:
    """Under how many attacks each defended model gains; empty without a baseline."""
    found = [
        (model, baseline, _pairs(per_example, protocol, model, baseline))
        for model, baseline in defended(results, protocol)
        if baseline
    ]
    found = [gains for gains in found if gains[2]]
    if not found:
        return ""
    told = (
        _told_together(protocol, found)
        if len(found) > _MOST_TOLD_APART
        else [_told_apart(protocol, *gains) for gains in found]
    )
    if protocol.source is None:
        return f"Attacked white-box, {'; '.join(told)}."
    source = code(protocol.source)
    if protocol.source in protocol.models:
        source += f" (white-box for {source} itself)"
    return f"On examples crafted on {source}, {'; '.join(told)}."


def _comparable(protocol):
    """A minimal-norm attack fools every network in the end if it may ask it."""
    return [
        c
        for c in protocol.attacked()
        if protocol.source or c.goal != protocols.MINIMAL_NORM
    ]


def _pairs(per_example, protocol, first, second):
    found = {
        c: tables.gain(per_example, protocol, first, second, c)
        for c in _comparable(protocol)
    }
    return {condition: pair for condition, pair in found.items() if pair}


def _better(pairs, sign=1):
    return sum(sign * pair.gain > 0 and pair.p < SIGNIFICANT for pair in pairs.values())


def _told_apart(protocol, model, baseline, pairs):
    """How often one model gains, and where most."""
    condition = _best(pairs)
    return (
        f"{_told([model], baseline, _counts(pairs))}, best under "
        f"{protocol.title_of(condition)}: "
        f"{_evidence(protocol, model, baseline, condition, pairs[condition])}"
    )


def _told_together(protocol, found):
    """Models that gain equally often in one phrase, and the largest gain of all."""
    groups = {}
    for model, baseline, pairs in found:
        groups.setdefault((baseline, _counts(pairs)), []).append(model)
    ranked = sorted(groups.items(), key=lambda group: group[0][1], reverse=True)
    model, baseline, pairs = max(found, key=lambda gains: _largest(gains[2]))
    condition = _best(pairs)
    return [_told(models, *group) for group, models in ranked] + [
        f"the largest gain is that of {code(model)} under "
        f"{protocol.title_of(condition)}, "
        f"{_evidence(protocol, model, baseline, condition, pairs[condition])}"
    ]


def _told(models, baseline, counts):
    gained, lost, attacks = counts
    verb = "s" * (len(models) == 1)
    losing = f" and lose{verb} on {-lost}" if lost else ""
    return (
        f"{formats.listing([code(model) for model in models])} gain{verb} over "
        f"{code(baseline)} on {_of(gained, attacks)}{losing}"
    )


def _counts(pairs):
    """(attacks under which a model gains, minus those under which it loses, all)."""
    return _better(pairs), -_better(pairs, sign=-1), len(pairs)


def _best(pairs):
    return max(pairs, key=lambda condition: pairs[condition].gain)


def _largest(pairs):
    return pairs[_best(pairs)].gain


def _of(number, attacks):
    return f"{number or 'none'} of {attacks} attack{'s' if attacks > 1 else ''}"


def _evidence(protocol, model, baseline, condition, pair):
    """Both accuracies, of the same images."""
    first, second = ((count / pair.n, wilson(count, pair.n)) for count in pair.correct)
    overlap = first[1][0] <= second[1][1] and second[1][0] <= first[1][1]
    numbers = {protocol.cells[m, condition]["num_examples"] for m in (model, baseline)}
    shared = "" if numbers == {pair.n} else f"on the {pair.n} images of both, "
    return (
        f"{shared}{formats.percent(first[0])} % against "
        f"{formats.percent(second[0])} % ({formats.points(pair.gain)} "
        f"points, intervals {'overlap' if overlap else 'apart'}, "
        f"{formats.p_value(pair.p)})"
    )


def told_control(
    results: Results, per_example: PerExample, protocol: protocols.Protocol
) -> str:
    """The comparison the paper lacks: is the gain more than another network's?"""
    controls = [m for m in protocol.models if protocols.role(results, m) == "control"]
    models = [m for m, _ in defended(results, protocol)]
    ensembles = [m for m in models if results["models"][m]["defense"] in _ENSEMBLES]
    if not models:
        return ""
    model = (ensembles or models)[0]
    if not controls:
        return (
            "No second undefended network was scored on these examples, so the "
            f"gain of {code(model)} cannot be told from that of any other network."
        )
    return _against_control(results, per_example, protocol, model, controls[0])


def _against_control(results, per_example, protocol, model, control):
    head = _pairs(per_example, protocol, model, control)
    baseline = protocols.baseline_of(results, control)
    own = _pairs(per_example, protocol, control, baseline)
    if not head:
        return ""
    also = (
        f" gains on {_of(_better(own), len(own))}{' too' * bool(_better(own))}, "
        "without any defence."
        if own
        else " has no defence either."
    )
    better, worse = _better(head), _better(head, sign=-1)
    return (
        f"The control {code(control)}{also} Against it {code(model)} is better on "
        f"{_of(better, len(head))}, worse on {worse} and not distinguishable on "
        f"{len(head) - better - worse}: {_verdict(better, len(head))}"
    )


def _verdict(better, attacks):
    if better == 0:
        return "nothing here tells its gain from that of just another network."
    if better == attacks:
        return "its gain is everywhere more than that of just another network."
    return "only where it is better is the gain more than that of just another network."
