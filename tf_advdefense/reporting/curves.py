"""Accuracy against the radius, in every norm, from clean images on.

    curves(results, per_example, lineup, threats)    # [Figure, ...]

Where an attack looked for the smallest distance the curve is a staircase with a step
at each image's own; else it has a point at each radius that was attacked.
"""

from collections.abc import Sequence

import numpy as np

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.evaluation.threat_models import ThreatModel
from tf_advdefense.evaluation.threat_models import beyond
from tf_advdefense.evaluation.threat_models import curve
from tf_advdefense.evaluation.threat_models import knowledge_of
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting.document import Figure
from tf_advdefense.reporting.formats import code
from tf_advdefense.reporting.lines import Line
from tf_advdefense.reporting.lines import line_plot

_BANDED = 3  # Of more lines the intervals would cover each other.
_TOLD = 3  # models in a description
_POINTS = 400  # of a staircase
_RANGE = 16  # of radii, beyond which the axis is logarithmic
Lineup = dict[str, int]  # the models that are drawn, each with its place


def curves(
    results: Results,
    per_example: PerExample,
    lineup: Lineup,
    threats: Sequence[ThreatModel],
) -> list[Figure]:
    """A figure for each norm and each kind of attacker with measurements in it."""
    headline = {threat.norm: threat for threat in reversed(threats)}
    drawn = []
    for norm in formats.NORMS:
        threat = headline.get(norm)
        # By the examples of others alone, too, if at several radii: the matrix of
        # transfer has one.
        for knowledge in dict.fromkeys(
            (threat.knowledge if threat else "white-box", "transfer")
        ):
            attacked = _records(results, norm, knowledge)
            if knowledge != "transfer" or len(_radii(attacked)) > 1:
                found = {
                    model: curve(results, per_example, model, norm, knowledge)
                    for model in lineup
                }
                found = {model: reach for model, reach in found.items() if reach}
                drawn.append(_figure(found, lineup, attacked, threat, knowledge))
    return [figure for figure in drawn if figure]


def _figure(found, lineup, attacked, threat, knowledge):
    """Of what `curve` says of the models in one norm; None without two radii."""
    radii, steps = _radii(attacked), _searched(attacked)
    stops = _stops(found) if steps else np.array([0.0, *radii])
    if not found or len(stops) < 2:
        return None
    lines = [
        _line(model, *reach, stops, lineup[model], steps, len(found) <= _BANDED)
        for model, reach in found.items()
    ]
    norm = attacked[0]["norm"]
    within = steps and threat and threat.eps < stops[-1]
    svg = line_plot(
        lines,
        f"radius ε in {formats.norm(norm)}",
        "accuracy, %",
        ticks=None if steps else _ticks(radii),
        logarithmic=not steps and bool(stops[-1] > _RANGE * stops[1]),
        guide=(threat.eps, threat.eps_text) if within else None,
    )
    last = formats.distance(float(stops[-1])) if steps else list(radii.values())[-1]
    by_others = knowledge == "transfer"
    return Figure(
        f"accuracy-against-radius-{norm}{'-transfer' * by_others}",
        _caption(lines, formats.norm(norm), by_others, len(radii)),
        _told(lines, last),
        svg,
    )


def _caption(lines, norm, by_others, radii):
    whom = "the examples of other models" if by_others else "every attack tried"
    said = [f"{norm}: accuracy under {whom}, against the radius."]
    if lines[0].steps:
        said.append("Each step is an image's own distance.")
    elif radii > 1:
        said.append("Between two radii that were attacked it is an upper bound.")
    if lines[0].band:
        said.append("Shaded: 95 % intervals.")
    return " ".join(said)


def _records(results, norm, knowledge):
    return [
        r
        for r in results["records"]
        if r["norm"] == norm
        and (knowledge != "transfer" or knowledge_of(r) == "transfer")
    ]


def _radii(attacked):
    """{radius: its text}, rising, of the attacks at fixed radii."""
    found = {
        round(r["eps"], 9): r["eps_text"] or f"{r['eps']:g}"
        for r in attacked
        if r["goal"] == protocols.FIXED_EPS and r["eps"]
    }
    return dict(sorted(found.items()))


def _searched(attacked):
    return any(r["goal"] == protocols.MINIMAL_NORM for r in attacked)


def _stops(found):
    """From 0 to where nearly all images that are ever fooled are; as fine as pixels."""
    fooled = [reach[ok & np.isfinite(reach)] for ok, reach in found.values()]
    lengths = np.concatenate([[], *fooled])
    furthest = 1.02 * np.quantile(lengths, 0.98) if len(lengths) else 0
    return np.linspace(0, furthest, _POINTS) if furthest else np.array([0.0])


def _line(model, clean_ok, reach, places, place, steps, banded):
    right = [int((clean_ok & beyond(reach, eps)).sum()) for eps in places]
    shares = 100 * np.array(right) / len(clean_ok)
    band = None
    if banded:
        ends = {count: wilson(count, len(clean_ok)) for count in set(right)}
        ends = 100 * np.array([ends[count] for count in right])
        band = ends[:, 0], ends[:, 1]
    return Line(model, places, shares, place, steps, band)


def _ticks(radii):
    """The radii as they were written, where there is room for them."""
    furthest = max(radii)
    apart = np.diff([0, *radii]) > furthest / 12
    return {0.0: "0", **radii} if all(apart) else None


def _told(lines, last):
    """What the picture shows, of the first models and of the others together."""
    told = [
        f"{code(line.label)} falls from {line.y[0]:.0f} % at 0 to {line.y[-1]:.0f} % "
        f"at {last}"
        for line in lines[:_TOLD]
    ]
    rest = [line.y[-1] for line in lines[_TOLD:]]
    if rest:
        low, high = f"{min(rest):.0f}", f"{max(rest):.0f}"
        ends = f"{low} %" if low == high else f"{low} to {high} %"
        told.append(f"the other {len(rest)} end at {ends}")
    return f"{formats.listing(told)}."
