"""What it takes to fool an image, as distributions: distance, and passes.

    distance_figures(results, per_example, protocol, lineup)
    effort_figures(per_example, protocol, lineup)

Each curve rises from 0 to the share of a model's correctly classified images that
the attack fools at all.
"""

import numpy as np

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.reporting import formats
from tf_advdefense.reporting import protocols
from tf_advdefense.reporting.curves import Lineup
from tf_advdefense.reporting.document import Figure
from tf_advdefense.reporting.document import slug
from tf_advdefense.reporting.formats import code
from tf_advdefense.reporting.lines import Line
from tf_advdefense.reporting.lines import line_plot

_TOLD = 3  # models in a description
_POINTS = 400  # of a curve; more are not seen
_RANGE = 50  # of passes, beyond which the axis is logarithmic
Amounts = dict[str, tuple[np.ndarray, int]]


def amounts(
    protocol: protocols.Protocol,
    condition: protocols.Condition,
    per_example: PerExample,
    part: str,
) -> Amounts:
    """{model: (what each fooled image took, rising; number attacked)}.

    Args:
      protocol, condition: whose cells.
      per_example: arrays by "KEY/NAME".
      part: the name of the array that says how much an image took.

    Returns:
      Only models with arrays, of which some image was fooled.
    """
    found = {}
    for model in protocol.models:
        key = protocol.cells.get((model, condition), {}).get("key")
        if all(f"{key}/{name}" in per_example for name in ("ok", "clean_ok", part)):
            clean_ok, ok, amount = (
                np.asarray(per_example[f"{key}/{name}"])
                for name in ("clean_ok", "ok", part)
            )
            if (clean_ok & ~ok).any():
                found[model] = np.sort(amount[clean_ok & ~ok]), int(clean_ok.sum())
    return found


def distance_figures(
    per_example: PerExample, protocol: protocols.Protocol, lineup: Lineup
) -> list[Figure]:
    """Of each minimal-norm attack: the share of images fooled within a distance."""
    drawn = []
    for condition in protocol.attacked():
        norm = condition.norm or "2"
        found = amounts(protocol, condition, per_example, f"l{norm}")
        found = {model: found[model] for model in lineup if model in found}
        if condition.goal == protocols.MINIMAL_NORM and found:
            title = protocol.title_of(condition)
            drawn.append(
                Figure(
                    f"distances-{slug(title)}",
                    f"{title}: images fooled within a distance, of those classified "
                    "correctly. The further to the right, the more robust.",
                    _distances_told(found, norm),
                    line_plot(
                        _lines(found, lineup),
                        f"{formats.norm(norm)} distance, images in [0, 1]",
                        "fooled, %",
                    ),
                )
            )
    return drawn


def effort_figures(
    per_example: PerExample, protocol: protocols.Protocol, lineup: Lineup
) -> list[Figure]:
    """Of each attack that stops at what it fools: the share fooled within passes.

    Of one that spends as much on every image there is nothing to draw.
    """
    drawn = []
    for condition in protocol.attacked():
        found = amounts(protocol, condition, per_example, "passes")
        found = {model: found[model] for model in lineup if model in found}
        if any(amount[0] < amount[-1] for amount, _ in found.values()):
            title = protocol.title_of(condition)
            most = max(amount[-1] for amount, _ in found.values())
            least = min(amount[0] for amount, _ in found.values())
            drawn.append(
                Figure(
                    f"passes-{slug(title)}",
                    f"{title}: images fooled within so many forward and backward "
                    "passes, of those classified correctly. The further to the "
                    "right, the more work it is.",
                    _passes_told(found),
                    line_plot(
                        _lines(found, lineup),
                        "passes through the model for an image",
                        "fooled, %",
                        logarithmic=bool(most > _RANGE * max(least, 1)),
                    ),
                )
            )
    return drawn


def _lines(found: Amounts, lineup: Lineup) -> list[Line]:
    """From nothing to a little beyond the largest amount of all."""
    furthest = 1.03 * max(float(amount[-1]) for amount, _ in found.values())
    return [
        Line(model, *_steps(amount, attacked, furthest), lineup[model], steps=True)
        for model, (amount, attacked) in found.items()
    ]


def _steps(amount, attacked, furthest):
    shown = np.unique(np.linspace(0, len(amount), _POINTS).round().astype(int))
    x = np.concatenate([[0.0], amount[shown[1:] - 1], [furthest]])
    return x, 100 * np.array([*shown, len(amount)]) / attacked


def _distances_told(found, norm):
    told = [
        f"half of the fooled images of {code(model)} are fooled within "
        f"{formats.norm(norm)} {formats.distance(float(np.median(amount)))}"
        for model, (amount, _) in found.items()
    ]
    return _listed(told)


def _passes_told(found):
    told = [
        f"{100 * len(amount) / attacked:.0f} % of {code(model)} are fooled, half of "
        f"them within {formats.count(round(float(np.median(amount))))} passes"
        for model, (amount, attacked) in found.items()
    ]
    return _listed(told)


def _listed(told):
    more = len(told) - _TOLD
    rest = [f"{more} more models are drawn"] if more > 0 else []
    text = formats.listing(told[:_TOLD] + rest)
    return f"{text[0].upper()}{text[1:]}."
