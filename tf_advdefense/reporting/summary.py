"""What the numbers say, in a few sentences computed from them.

    sentences(results, per_example)   # ["4 models were scored ...", ...]

A model "gains" under an attack if it classifies more images than its reference and
exact McNemar on the common images gives p < 0.05, not corrected for the number of
attacks. Sentences whose models or attacks are absent are left out.
"""

from tf_advdefense.reporting import formats
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import tables
from tf_advdefense.reporting.formats import code

SIGNIFICANT = 0.05
_MOST_TOLD_APART = 4  # models; of more, those that gain equally often share a phrase
_ENSEMBLES = ("ensemble", "ensemble_at")


def sentences(results, per_example):
    """Plain sentences; `backticks` surround model names."""
    found = protocols.protocols(results)
    white_box = next((p for p in found if p.source is None), None)
    transfer = _main_transfer(results, [p for p in found if p.source is not None])
    spoken = [_scope(results, found)]
    if found:
        spoken.append(_clean_cost(results, per_example, found[0]))
    if white_box:
        spoken += [
            _gains(results, per_example, white_box),
            _overlooked(results, white_box),
            _distances(white_box),
        ]
    if transfer:
        spoken += [
            _gains(results, per_example, transfer),
            _control(results, per_example, transfer),
        ]
    return [sentence for sentence in spoken if sentence]


def _main_transfer(results, found):
    """The paper's, crafted on the baseline, or of a source that nobody trained on."""
    crafted_on_target = [
        p
        for p in found
        if p.source in results["models"]
        and protocols.role(results, p.source) == "target"
        and protocols.undefended(results, p.source)
    ]
    held_out = [
        p
        for p in found
        if not any(protocols.seen(results, p, model) for model in p.models)
    ]
    return (crafted_on_target or held_out or found or [None])[0]


def _scope(results, found):
    models = {r["target"] for r in results["records"]}
    attacks = dict.fromkeys(c.label for p in found for c in p.attacked())
    counts = [r["num_examples"] for r in results["records"]]
    if not models:
        return "No model was scored."
    against = f" against {formats.listing(list(attacks))}" if attacks else ""
    low, high = formats.count(min(counts)), formats.count(max(counts))
    images = low if low == high else f"{low} to {high}"
    plural = "model was" if len(models) == 1 else "models were"
    return f"{len(models)} {plural} scored{against}, on {images} images a measurement."


def _defended(results, protocol):
    return [
        (m, protocols.baseline_of(results, m))
        for m in protocol.models
        if not protocols.undefended(results, m)
        and protocols.role(results, m) != "source"
    ]


def _clean_cost(results, per_example, protocol):
    clean = next((c for c in protocol.conditions if c.attack == protocols.CLEAN), None)
    pairs = [
        (m, b, tables.gain(per_example, protocol, m, b, clean))
        for m, b in _defended(results, protocol)
        if b and clean
    ]
    pairs = [(m, b, pair) for m, b, pair in pairs if pair]
    if not pairs:
        return ""
    changes = [
        f"{code(model)} {formats.points(pair.gain)} points ({formats.p_value(pair.p)})"
        for model, _, pair in pairs
    ]
    baseline = pairs[0][1]
    accuracy = formats.percent(protocol.cells[baseline, clean]["accuracy"])
    return (
        f"On clean images {code(baseline)} is right on {accuracy} %; "
        f"the difference to it is {formats.listing(changes)}."
    )


def _gains(results, per_example, protocol):
    found = [
        (model, baseline, _pairs(per_example, protocol, model, baseline))
        for model, baseline in _defended(results, protocol)
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
    """A minimal-norm attack fools every network in the end if it may look at it."""
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
    first, second = (protocol.cells[m, condition] for m in (model, baseline))
    overlap = (
        first["interval"][0] <= second["interval"][1]
        and second["interval"][0] <= first["interval"][1]
    )
    return (
        f"{formats.percent(first['accuracy'])} % against "
        f"{formats.percent(second['accuracy'])} % ({formats.points(pair.gain)} "
        f"points, intervals {'overlap' if overlap else 'apart'}, "
        f"{formats.p_value(pair.p)})"
    )


def _control(results, per_example, protocol):
    """The comparison the paper lacks: is the gain more than another network's?"""
    controls = [m for m in protocol.models if protocols.role(results, m) == "control"]
    defended = [m for m, _ in _defended(results, protocol)]
    ensembles = [m for m in defended if results["models"][m]["defense"] in _ENSEMBLES]
    if not defended:
        return ""
    model = (ensembles or defended)[0]
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


def _overlooked(results, white_box):
    """Where an attacker who overlooks a defence makes it look best."""
    cells = protocols.oblivious(results, white_box)
    phrases = []
    for model in dict.fromkeys(model for model, _ in cells):
        own = {
            c: (record["accuracy"], white_box.cells[model, c]["accuracy"])
            for (name, c), record in cells.items()
            if name == model
        }
        condition = max(own, key=lambda c: own[c][0] - own[c][1])
        before, after = map(formats.percent, own[condition])
        phrases.append(
            f"{code(model)} from {before} to {after} % under "
            f"{white_box.title_of(condition)}"
        )
    if not phrases:
        return ""
    return (
        "Attacks that take the defence into account, beside those that overlook "
        f"it: {'; '.join(phrases)}."
    )


def _distances(protocol):
    attack = next(
        (c for c in protocol.attacked() if c.goal == protocols.MINIMAL_NORM), None
    )
    records = [
        (m, protocol.cells[m, attack])
        for m in protocol.models
        if (m, attack) in protocol.cells
    ]
    norm = (attack.norm or "2") if attack else ""
    lengths = [(m, r, r.get(f"mean_l{norm}")) for m, r in records if r["clean_correct"]]
    lengths = sorted((x for x in lengths if x[2] is not None), key=lambda x: x[2])
    if not lengths:
        return ""
    least = min(r["fooled"] / r["clean_correct"] for _, r, _ in lengths)
    phrases = [f"{formats.distance(length)} for {code(m)}" for m, _, length in lengths]
    share = "all" if least == 1 else f"at least {formats.percent(least)} % of the"
    return (
        f"White-box {attack.label} fools {share} images that a model classifies "
        "correctly; the mean "
        f"{formats.norm(norm)} distance that it needs is "
        f"{formats.listing(phrases)}."
    )
