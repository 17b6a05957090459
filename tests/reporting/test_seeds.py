"""Groups of networks that differ by their seed: mean and spread, by hand."""

import numpy as np
import pytest
from reporting.synthetic import one_attack
from reporting.synthetic import sections


@pytest.mark.quick
def test_a_group_is_one_row_with_mean_spread_and_number():
    right = {"resnet50": 20, "resnet50-b": 50, "resnet50-ensemble": 65}
    results, arrays = one_attack(right, own=True)
    results["groups"] = {"resnet50-*": ["resnet50-b", "resnet50-ensemble"]}
    _, table = sections(results, arrays)["Who holds out"]
    (row,) = table.rows
    shares = np.array([50, 65]) / 200
    expected = f"{100 * shares.mean():.1f} ± {100 * shares.std(ddof=1):.1f}"
    assert [cell.text for cell in row] == [
        "`resnet50-*`",
        "2",
        "100.0 ± 0.0",
        expected,
    ]


@pytest.mark.quick
def test_without_groups_there_is_no_such_table():
    (table,) = sections(*one_attack({"resnet50": 20}, own=True))["Who holds out"]
    assert table.caption != "Over seeds"
