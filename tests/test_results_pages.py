"""Numbers with intervals on the pages of results are those of the results there."""

import pathlib
import re

import pytest

from tf_advdefense.evaluation.records import load_results
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.evaluation.statistics import worst_case

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/results").rglob("README.md"))]
NUMBER = re.compile(r"(\d+\.\d) \((\d+\.\d)[–-](\d+\.\d)\)")  # 43.1 (40.1–46.2)


def _percent(share, interval):
    return tuple(f"{100 * value:.1f}" for value in (share, *interval))


def _measured(directory):
    """The accuracies of all records below, and of each model's worst case of all."""
    for path in directory.rglob("results.json"):
        results, arrays = load_results(path.parent)
        for record in results["records"]:
            if record["interval"]:
                yield _percent(record["accuracy"], record["interval"])
        for model in results["models"]:
            keys = [r["key"] for r in results["records"] if r["target"] == model]
            right = worst_case(arrays, keys)
            if right is not None:
                yield _percent(right.mean(), wilson(int(right.sum()), len(right)))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_numbers_are_those_of_the_results(page):
    is_readme = page.parent == ROOT
    known = set(_measured(ROOT / "docs/results" if is_readme else page.parent))
    said = NUMBER.findall(page.read_text())
    assert set(said) <= known, set(said) - known


def test_most_of_them_are_found():
    """Or the pattern has missed how the pages write them."""
    counts = {page.parent.name: len(NUMBER.findall(page.read_text())) for page in PAGES}
    assert counts["defences"] > 100
