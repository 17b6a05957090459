"""What each network of a report gains over one of them, on the same images.

    python docs/gains.py outputs/ingredients/report base

A table in Markdown: clean accuracy, and that in the worst case of the report's first
threat model, with Wilson intervals; the gain of each in points, with the 95 % interval
of Wald for paired shares, and McNemar's exact p.
"""

import math
import sys

from tf_advdefense.evaluation import records
from tf_advdefense.evaluation import statistics
from tf_advdefense.evaluation.baselines import clean_of
from tf_advdefense.evaluation.threat_models import robustness
from tf_advdefense.evaluation.threat_models import threat_models
from tf_advdefense.reporting import formats

Right = dict[int, bool]

_HEAD = """\
| | clean | gain | robust | gain |
| --- | ---: | ---: | ---: | ---: |"""


def main() -> None:
    """Prints the table."""
    directory, base = sys.argv[1:]
    results, per_example = records.load_results(directory)
    right = {name: _right(results, per_example, name) for name in results["models"]}
    if base not in right:
        raise SystemExit(f"The report has {', '.join(right)}. Received: {base}.")
    print(_HEAD)
    for name, both in right.items():
        cells = [
            cell
            for own, of_base in zip(both, right[base], strict=True)
            for cell in (_accuracy(own), _gain(own, of_base) if name != base else "")
        ]
        print(f"| `{name}` | {' | '.join(cells)} |")


def _right(results, per_example, name: str) -> tuple[Right, Right]:
    """Whether each image is right, clean and in the worst case."""
    robust = robustness(results, per_example, name, threat_models(results)[0])
    return clean_of(results, per_example, name) or {}, robust.right if robust else {}


def _accuracy(right: Right) -> str:
    correct, total = sum(right.values()), len(right)
    interval = formats.interval(statistics.wilson(correct, total))
    return f"{formats.percent(correct / total)} ({interval})"


def _gain(own: Right, of_base: Right) -> str:
    pair = statistics.paired_masks(own, of_base)
    if pair is None:
        raise ValueError("The networks were measured on different images.")
    differ = pair.only_first + pair.only_second
    half = 1.96 * math.sqrt(differ / pair.n - pair.gain**2) / math.sqrt(pair.n)
    low, gain, high = (formats.points(pair.gain + by) for by in (-half, 0, half))
    return f"{gain} ({low} to {high}), {formats.p_value(pair.p)}"


if __name__ == "__main__":
    main()
