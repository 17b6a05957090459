"""What the numbers say, in sentences computed from them, for a report's sections.

    scope(results)                 # "4 models were scored against ..."
    tested(results, per_example)   # what the paired tests say

A sentence whose models or attacks are absent is empty. `gains` says what it takes to
gain.
"""

from collections.abc import Mapping

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import gains
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting import tables
from tf_advdefense.reporting.formats import code


def scope(results: Results) -> str:
    """How many models were scored, against what and on how many images."""
    models = {r["target"] for r in results["records"]}
    found = protocols.protocols(results)
    attacks = dict.fromkeys(c.label for p in found for c in p.attacked())
    counts = [r["num_examples"] for r in results["records"]]
    if not models:
        return "No model was scored."
    against = f" against {formats.listing(list(attacks))}" if attacks else ""
    plural = "model was" if len(models) == 1 else "models were"
    images = f"{formats.spread(counts)} images a measurement"
    return f"{len(models)} {plural} scored{against}, on {images}."


def tested(results: Results, per_example: PerExample) -> list[str]:
    """What the paired tests say: of clean accuracy, of attacks, and of the control."""
    found = protocols.protocols(results)
    white_box = next((p for p in found if p.source is None), None)
    transfer = _main_transfer(results, [p for p in found if p.source is not None])
    spoken = []
    if found:
        spoken.append(_clean_cost(results, per_example, found[0]))
    if white_box:
        spoken.append(gains.told_gains(results, per_example, white_box))
    if transfer:
        spoken += [
            gains.told_gains(results, per_example, transfer),
            gains.told_control(results, per_example, transfer),
        ]
    return [sentence for sentence in spoken if sentence]


def left_out(stale: Mapping[str, str]) -> str:
    """Of the sets that are stale (see `Results`) one sentence; empty without any."""
    if not stale:
        return ""
    listed = [f"{code(name)} (of {code(source)})" for name, source in stale.items()]
    return (
        f"Left out: {formats.listing(listed)}, crafted before the source was trained "
        "again. Craft anew what is to be compared."
    )


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


def _clean_cost(results, per_example, protocol):
    clean = next((c for c in protocol.conditions if c.attack == protocols.CLEAN), None)
    pairs = [
        (m, b, tables.gain(per_example, protocol, m, b, clean))
        for m, b in gains.defended(results, protocol)
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


def overlooked(results: Results, white_box: protocols.Protocol) -> str:
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


def distances(protocol: protocols.Protocol) -> str:
    """The mean distance that the minimal-norm attack needs, of every model."""
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
