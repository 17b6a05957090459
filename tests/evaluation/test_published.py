"""Networks of others have the robustness that is published, and the page says so."""

import pathlib

import pytest

from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.statistics import wilson

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "results" / "published"


def right(directory, attack):
    """Which images are classified rightly, clean and under an attack, bool `[n]`."""
    results, arrays = records.load_results(PAGE / directory)
    (key,) = (r["key"] for r in results["records"] if r["attack"] == attack)
    return arrays[f"{key}/clean_ok"], arrays[f"{key}/ok"]


def row(*words):
    """The measured number of the page's one row that has all these words."""
    lines = (PAGE / "README.md").read_text().splitlines()
    (line,) = (line for line in lines if all(word in line for word in words))
    return line.split("|")[-2].strip()


@pytest.mark.parametrize(
    "directory, attack, published, words",
    [
        ("certified", "clean", 1.8, ["clean error"]),
        ("certified", "fgsm", 3.9, ["FGSM at 0.1"]),
        ("certified", "pgd", 4.1, ["PGD at 0.1"]),
        ("trades", "clean", 99.48, ["TRADES", "clean accuracy"]),
        ("example", "clean", 97.74, ["example", "clean accuracy"]),
    ],
)
def test_numbers_of_all_images_are_the_published_ones(
    directory, attack, published, words
):
    _, ok = right(directory, attack)
    accuracy = 100 * ok.mean()
    number = accuracy if "clean accuracy" in words else 100 - accuracy
    assert len(ok) == 10_000 and number == pytest.approx(published, abs=0.05)
    assert row(*words) == f"{number:.2f} %"


def test_autoattack_lies_between_pgd_and_the_certificate():
    _, pgd = right("certified", "pgd")
    _, ok = right("certified", "autoattack")
    assert len(ok) == 10_000 and ok.sum() <= pgd.sum() and 1 - ok.mean() <= 0.058
    assert row("AutoAttack (standard) at 0.1") == f"{100 * (1 - ok.mean()):.2f} %"


def test_the_published_accuracy_lies_in_the_interval():
    _, ok = right("trades", "autoattack")
    low, high = wilson(ok.sum(), len(ok))
    assert len(ok) == 512 and low < 0.9281 < high
    shown = f"{100 * ok.mean():.1f} % ({100 * low:.1f}–{100 * high:.1f})"
    assert row("AutoAttack (standard) at 0.3") == shown


def test_of_the_first_right_images_so_many_are_fooled():
    clean, ok = right("example", "apgd_ce")
    assert row("APGD-CE at 0.3") == str(1000 - ok[clean][:1000].sum())
