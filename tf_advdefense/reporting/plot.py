"""Accuracy against the radius as a matplotlib figure, for a notebook.

figure = robustness_plot(results, per_example)
figure.savefig("robustness.png")
"""

from matplotlib.figure import Figure
import numpy as np

from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.threat_models import NORMS
from tf_advdefense.evaluation.threat_models import curve
from tf_advdefense.reporting import formats


def robustness_plot(results: Results, per_example: PerExample) -> Figure:
    """A panel for each norm that was attacked, a staircase for each model.

    A step is at the smallest distance at which an image is known to be fooled; between
    two radii that were attacked the curve is an upper bound.
    """
    panels = {
        norm: found for norm in NORMS if (found := _curves(results, per_example, norm))
    }
    figure = Figure(figsize=(5 * max(len(panels), 1), 3.4), layout="constrained")
    if panels:
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (norm, found) in zip(grid, panels.items()):
            for name, (clean_ok, reach) in found.items():
                axes.step(*_staircase(clean_ok, reach), where="post", label=name)
            axes.set(
                xlabel=f"radius in {formats.norm(norm)}",
                ylabel="right, %",
                ylim=(0, 100),
            )
            axes.legend(frameon=False)
    return figure


def _curves(results, per_example, norm):
    found = {
        name: curve(results, per_example, name, norm) for name in results["models"]
    }
    return {name: reach for name, reach in found.items() if reach}


def _staircase(clean_ok, reach):
    """The places of the steps, from 0 on, and the accuracy after each."""
    stops = np.unique(reach[clean_ok & np.isfinite(reach)])
    right = [100 * np.mean(clean_ok & (reach > stop)) for stop in stops]
    furthest = 1.1 * stops[-1] if len(stops) else 1.0
    after = right[-1] if right else 100 * np.mean(clean_ok)
    return [0, *stops, furthest], [100 * np.mean(clean_ok), *right, after]
