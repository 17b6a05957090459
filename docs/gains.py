"""What each network of a report gains over one of them, on the same images.

    python docs/gains.py outputs/ingredients/report base

A table in Markdown: clean accuracy, and accuracy under the worst of the report's
attacks, with Wilson intervals; the gain of each in points, with the 95 % interval of
Wald for paired shares, and McNemar's exact p.
"""

import math
import sys

from tf_advdefense.evaluation import records
from tf_advdefense.evaluation import statistics

Right = dict[int, bool]

_HEAD = """\
| | clean | gain | robust | gain |
| --- | ---: | ---: | ---: | ---: |"""


def main() -> None:
    """Prints the table."""
    directory, base = sys.argv[1:]
    results, per_example = records.load_results(directory)
    right = {
        name: [_right(results, per_example, name, clean) for clean in (True, False)]
        for name in results["models"]
    }
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


def _right(results, per_example, name: str, clean: bool) -> Right:
    """Whether each image is right, clean or under all attacks."""
    each = [
        statistics.correct_by_index(per_example, record["key"]) or {}
        for record in results["records"]
        if record["target"] == name and (record["attack"] == "clean") == clean
    ]
    shared = set.intersection(*map(set, each))
    return {index: all(right[index] for right in each) for index in shared}


def _accuracy(right: Right) -> str:
    correct, total = sum(right.values()), len(right)
    low, high = statistics.wilson(correct, total)
    return f"{100 * (correct / total):.1f} ({100 * low:.1f}–{100 * high:.1f})"


def _gain(own: Right, of_base: Right) -> str:
    pair = statistics.paired_masks(own, of_base)
    if pair is None:
        raise ValueError("The networks were measured on different images.")
    differ = pair.only_first + pair.only_second
    half = 1.96 * math.sqrt(differ / pair.n - pair.gain**2) / math.sqrt(pair.n)
    low, high = 100 * (pair.gain - half), 100 * (pair.gain + half)
    p = f"p = {pair.p:.2g}" if pair.p >= 0.001 else "p < 0.001"
    return f"{100 * pair.gain:+.1f} ({low:+.1f} to {high:+.1f}), {p}"


if __name__ == "__main__":
    main()
